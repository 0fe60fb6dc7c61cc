"""Intervals that speak of new seeds and of new images: a study has a sample of each."""

from collections.abc import Mapping, Sequence
from math import hypot, sqrt

import numpy as np
from scipy.special import stdtrit

from analysis.statistics.intervals import CONFIDENCE

CorrectImages = Mapping[int, np.ndarray]
"""By seed, which of the N held-out images the last epoch classifies correctly, bool (N,)."""


def crossed_half_width(values_sn: np.ndarray, seeds_half: float) -> float:
    """Half the 95% interval of a mean over S seeds and N images, (S, N), each of which is a sample of more.

    `seeds_half` is half the interval of the mean over the seeds alone, which may be more than these S. The images' own
    is that of the mean over each image's S values; the two are added in squares. This is the crossed random-effects
    model of the pigeonhole bootstrap (Owen 2007, Ann. Appl. Stat. 1:386-411), which draws seeds and images again, each
    with replacement. The bootstrap's own percentiles are not used: of three seeds it draws too little spread, and has
    no Student's t to make up for it. What only one image of one seed varies by is in both parts, so that the interval
    is rather too wide, the more so the fewer of the seeds are among the S.
    """
    images = values_sn.shape[1]
    of_images = values_sn.mean(0).std(ddof=1) / sqrt(images)
    return hypot(seeds_half, float(stdtrit(images - 1, (1 + CONFIDENCE) / 2) * of_images))


def stacked(correct: CorrectImages, seeds: Sequence[int]) -> np.ndarray:
    """The values of these seeds, (S, N). Each must have some."""
    return np.stack([correct[seed] for seed in seeds]).astype(float)
