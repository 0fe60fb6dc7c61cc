"""A loss of one's own: mixup (Zhang et al. 2018, arXiv 1710.09412, section 2).

`loss` gets the `loss_arguments` of a study's rows, here those of methods.yaml.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn import functional as F


def loss(network: nn.Module, images_nchw: Tensor, labels_n: Tensor, alpha: float) -> Tensor:
    """Mix each image with another one of the batch. The loss is the mean of both labels' cross-entropies, with the
    weights of the mixture. One weight is drawn for the batch, from Beta(alpha, alpha)."""
    weight = Beta(alpha, alpha).sample()
    others_n = torch.randperm(len(images_nchw), device=images_nchw.device)
    scores_nk = network(weight * images_nchw + (1 - weight) * images_nchw[others_n])
    own_n = F.cross_entropy(scores_nk, labels_n, reduction="none")
    other_n = F.cross_entropy(scores_nk, labels_n[others_n], reduction="none")
    return weight * own_n + (1 - weight) * other_n
