"""How early the end of a training can be foretold: random configs of a search's space, each trained to its end, and for
a third and for half of the epochs. It shows where the rungs of a search should be."""

from fractions import Fraction
from typing import Any

from trainable.change import combine
from trainable.config import Config
from trainable.measures import RUNGS
from trainable.own_code.code_file import ARGUMENTS
from trainable.search_definition import PROTOCOL, calibration_name
from trainable.search_space import config_fields, sample
from trainable.study import Row, Study, Table

SHORTER = {"a third": Fraction(1, 3), "a half": Fraction(1, 2)}
"""Trainings of so much of the epochs, each with its whole schedule."""
SEED = 0
"""Seeds the random configs: the first N of them are the same for every N."""


def calibration_study(study: Study, count: int, epochs: int) -> Study:
    """The calibration of a study's search, with `count` random configs, in a sweep of `epochs` epochs."""
    search = study.required_search
    epochs *= search.epochs_factor
    rows = []
    # not validated here but with its rows, which get the other arguments of code of one's own from the sweep's baseline
    no_arguments: dict[str, Any] = {arguments: {} for arguments in ARGUMENTS.values()}
    base = Config().model_copy(update={**study.changed_baseline(search.fixed), **no_arguments})
    for number, values in enumerate(sample(search.space, count, SEED), start=1):
        change = combine({**PROTOCOL, **search.fixed}, config_fields(search.space, values, base))
        rows.append(Row(name=f"config {number}", change={**change, "epochs": epochs}))
        rows += [
            Row(name=f"config {number}, {name}", change={**change, "epochs": max(1, round(epochs * share))})
            for name, share in SHORTER.items()
        ]
    name = calibration_name(study.name)
    table = Table(
        number=search.calibration_number,
        slug=name,
        title=f"Calibration of the search in study {study.name}",
        varies="config",
        rows=tuple(rows),
        measure=RUNGS,
    )
    return Study(name=name, title=table.title, baseline=study.baseline, tables=(table,))
