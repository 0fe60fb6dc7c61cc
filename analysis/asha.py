"""ASHA's rungs (Li et al. 2020, arXiv 1810.05934, section 3): where a search compares its trials and stops the worst.

Pure, because the search sets its scheduler by it and the report draws it.
"""

REDUCTION = 3
"""One trial in so many goes on at each rung."""


def grace(epochs: int) -> int:
    """The first rung, in epochs: late enough to judge by."""
    return max(1, epochs // REDUCTION**2)


def rungs(epochs: int) -> list[int]:
    """The epochs after which trials of so many epochs are compared, the last one left out."""
    found = [grace(epochs)]
    while found[-1] * REDUCTION < epochs:
        found.append(found[-1] * REDUCTION)
    return found
