"""The built-in studies as a page: `python -m sweeps.studies.built_in > docs/built-in-studies.md`."""

import sys

from sweeps.studies.registry import STUDIES
from trainable.study import Study

HEAD = """# The built-in studies

Made by `python -m sweeps.studies.built_in`; do not edit. `python sweeps/full.py` runs `tables`, `corrections` and
`search`; `sweeps/search.py` runs `search`, and `sweeps/bn_study.py` runs `envelope`, `smoothness`, `surface` and `vgg`.
`--studies NAMES` chooses others. `--only NUMBERS` chooses among the tables whose rows are named here; those of a search
follow from its options. [Studies of your own](studies/README.md) have the same form.
"""


def page() -> str:
    """The page, in Markdown: the tables of each study with their rows, and what a search makes."""
    return HEAD + "".join(map(_study, STUDIES.values()))


def _study(study: Study) -> str:
    lines = [f"\n## `{study.name}`: {study.title}\n"]
    if study.tables:
        lines += ["| table | title | rows |", "|---|---|---|"]
        rows = [(table.number, table.title, "; ".join(row.name for row in table.rows)) for table in study.tables]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    if search := study.search:
        parameters = ", ".join(f"`{name}`" for name in search.space)
        lines += [
            f"It searches over {parameters}. Its tables:\n",
            "| table | made by | rows |",
            "|---|---|---|",
            f"| {search.calibration_number} | `--calibrate` | random configurations, trained to their end |",
            f"| {search.proof_number} | the search | its winner and what that is compared with, on the test split |",
            f"| {search.differences_number} | `--difference-seeds` | the winner with one of its changes undone |",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
