"""A learning-rate schedule of one's own: it rises, stays, and falls to zero (Zhai et al. 2022, arXiv 2106.04560, section
3.5).

`schedule` gets the `schedule_arguments` of a study's rows, here those of methods.yaml.
"""


def schedule(done: float, rise: float, fall: float) -> float:
    """What the learning rate is multiplied by when that share of the steps is done. `rise` and `fall` are the shares of
    the steps in which it rises and falls."""
    return min(1.0, done / rise, (1 - done) / fall)
