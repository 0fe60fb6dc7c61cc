"""Tables on digits of which a sweep asks for some seeds, for the tests of the live page."""

from tests.analysis_records import resolved_row
from trainable.config import Config
from trainable.study import ResolvedTable

EPOCHS = 4
PLAIN, HINGE, BIGGER = (
    Config(data="digits", epochs=EPOCHS, **change) for change in ({}, {"loss": "hinge"}, {"channels": (64, 128)})
)


def asked(number: str, seeds: int, **rows: Config) -> ResolvedTable:
    resolved = tuple(resolved_row(name, config) for name, config in rows.items())
    return ResolvedTable(
        study="tables", number=number, slug=number, title="T", varies="v", rows=resolved, seeds=seeds,
        reference=PLAIN.key("abc"),
    )  # fmt: skip
