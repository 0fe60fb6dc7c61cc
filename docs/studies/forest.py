"""A random forest in place of the network and its training: each epoch adds some trees.

It saves no state, so a training that is interrupted starts again.
"""

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor


class Forest:
    """A forest that grows by so many trees an epoch. A leaf has so many train images at least."""

    def __init__(self, images_nchw: Tensor, labels_n: Tensor, seed: int, trees: int, leaf: int) -> None:
        self._pixels_nf, self._labels_n, self._trees = _pixels(images_nchw), labels_n.cpu().numpy(), trees
        self._forest = RandomForestClassifier(0, min_samples_leaf=leaf, warm_start=True, random_state=seed)

    def train_epoch(self, epoch: int) -> None:
        """Grow the trees of an epoch."""
        self._forest.set_params(n_estimators=self._trees * epoch).fit(self._pixels_nf, self._labels_n)

    def predict(self, images_nchw: Tensor) -> np.ndarray:
        """The class probabilities (N, K) of images (N, 3, P, P)."""
        return self._forest.predict_proba(_pixels(images_nchw))


def training(images, labels, seed, epochs, device, trees, leaf) -> Forest:
    """The forest, before its first tree."""
    return Forest(images, labels, seed, trees, leaf)


def _pixels(images_nchw: Tensor) -> np.ndarray:
    return images_nchw.flatten(1).cpu().numpy()
