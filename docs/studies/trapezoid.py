"""A learning-rate schedule of one's own: a constant rate with a cooldown (Hägele et al. 2024, arXiv 2405.18392, section
3).

`schedule` gets the `schedule_arguments` of a study's rows, here those of methods.yaml.
"""


def schedule(done: float, rise: float, fall: float) -> float:
    """What the learning rate is multiplied by when that share of the steps is done. `rise` and `fall` are the shares of
    the steps in which it rises and falls."""
    return min(1.0, done / rise, (1 - done) / fall)
