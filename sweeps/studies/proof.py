"""The proof of a search's winner, as a study: the winner beside the config that it has to beat, and what each of its
differences is worth. All are trained on the whole train split, and only here the test split is read."""

from typing import Any

from trainable.config import OF_BUILT_IN, Config
from trainable.measures import DIFFERENCES, PREDICTED_CLASSES
from trainable.search_definition import COMPARED_ROW, WINNER_ROW, proof_name
from trainable.study import Row, Study, Table

RATE, DECAY = ("lr", "momentum", "nesterov"), ("weight_decay", "decay_norm_and_bias")
TOGETHER = (RATE, DECAY, ("schedule", "schedule_arguments", "warmup"), ("flip", "flip_mode"))
"""Fields that are taken back together, because one of them alone means something else or nothing. All other fields are
taken back alone."""
SWITCHES = {
    "optimizer": ("optimizer_arguments", *RATE, *DECAY),
    "batch_norm": ("bn_momentum", "bn_bias_lr_factor"),
    "loss": ("loss_arguments", "label_smoothing"),
    "network": ("channels", "hidden", "network_arguments"),
    "training": ("training_arguments",),
}
"""Fields that, where they differ, take others back with them: without them these mean something else or nothing."""
OF_ONE_KIND = ("network", "channels", "hidden", "network_arguments", *OF_BUILT_IN, "bn_momentum", "bn_bias_lr_factor")
"""Fields that are taken back together where one network is built in and the other one's own."""
OF_TRAINING = tuple(name for name in Config.model_fields if name not in ("data", "protocol", "epochs"))
"""Fields that are taken back together where one training is built in and the other one the user's own."""
LONGEST_VALUES = 90
"""Bytes of a row's name beside `without`."""


def proof_study(study: Study, compared: Config, winner: Config | None, seeds: int, difference_seeds: int) -> Study:
    """The proof of the `winner` of a study's search against the config that it is `compared` with, both of protocol A.

    Before there is a winner it is the compared config alone. With `difference_seeds` above 0, the winner's differences
    are a table of their own.
    """
    search = study.required_search
    rows = (Row(name=COMPARED_ROW, change=_change(compared)),)
    proof = Table(
        number=search.proof_number,
        slug=f"{study.name}-proof",
        title=f"Proof: {study.title}",
        varies="config",
        rows=(*rows, Row(name=WINNER_ROW, change=_change(winner))) if winner else rows,
        reference=_change(compared),
        measure=PREDICTED_CLASSES,
        seeds=seeds,
    )
    made = Study(name=proof_name(study.name), title=proof.title, tables=(proof,))
    if winner is None or not difference_seeds:
        return made
    differences = Table(
        number=search.differences_number,
        slug=f"{study.name}-differences",
        title=f"What the gain is made of: {study.title}",
        varies="taken back",
        rows=(Row(name=WINNER_ROW, change=_change(winner)), *_taken_back(winner, compared)),
        reference=_change(winner),
        measure=DIFFERENCES,
        seeds=difference_seeds,
    )
    return made.model_copy(update={"tables": (proof, differences)})


def _taken_back(winner: Config, compared: Config) -> list[Row]:
    """The winner with one difference after the other as in the compared config. Fields that mean nothing apart go
    back together: with another optimizer go its rate and its decay. The decay also has a row of its own."""
    grouped: dict[str, tuple[str, ...]] = {field: group for group in TOGETHER for field in group}
    for switch, others in SWITCHES.items():
        if getattr(winner, switch) != getattr(compared, switch):
            alone = (field for field in others if field not in DECAY)  # the decay is taken back by itself, too
            grouped |= dict.fromkeys((switch, *alone), (switch, *others))
    if winner.has_own_training != compared.has_own_training:
        grouped = dict.fromkeys(OF_TRAINING, OF_TRAINING)
    elif winner.has_own_network != compared.has_own_network:
        grouped |= dict.fromkeys(OF_ONE_KIND, OF_ONE_KIND)
    groups = dict.fromkeys(grouped.get(field, (field,)) for field in Config.model_fields)
    rows = []
    for group in groups:
        different = [field for field in group if getattr(winner, field) != getattr(compared, field)]
        if different:
            changed = winner.change(**{field: getattr(compared, field) for field in group})
            rows.append(Row(name=f"without {_values(winner, different)}", change=_change(changed)))
    return rows


def _values(config: Config, fields: list[str]) -> str:
    """The fields with their values, or without where those take too long a name."""
    shown = config.text(fields, digits=3)
    return shown if len(shown.encode()) <= LONGEST_VALUES else ", ".join(fields)


def _change(config: Config) -> dict[str, Any]:
    """The whole config as a change, so that nothing that the sweep changes in the baseline reaches it."""
    return config.model_dump(mode="json")
