"""The batch-norm study as data: what batch norm does to the loss in and around the trainings.

Networks are compared in pairs, without and with batch norm. A training that several studies share runs once.
"""

from typing import Any

from trainable.measures import LOSS_SURFACE, LOSSES, PROBE
from trainable.study import Row, Study, Table

RATES = ("1e-3", "2e-3", "1e-4", "5e-4")
VGG_NETWORK: dict[str, Any] = {"network": "vgg-a"}
NORM: dict[str, Any] = {"batch_norm": True}
NETWORKS: dict[str, dict[str, Any]] = {"plain": {}, "batch norm": NORM}
PAPER: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1}
"""The arm that is comparable with Santurkar et al. 2018: plain SGD."""
VGG_CPU_EPOCHS = 1
VGG_NOTE = "On a CPU the default is one epoch. It shows that the measurement runs; compare nothing with it."


def _envelope(number: str, slug: str, title: str, change: dict[str, Any], **more: Any) -> Table:
    rows = tuple(Row(name=rate, change={"lr": float(rate), **change}) for rate in RATES)
    return Table(
        number=number,
        slug=f"envelope-{slug}",
        title=f"Learning rates of the envelope, {title}",
        varies="learning rate",
        rows=rows,
        measure=LOSSES,
        **more,
    )


def _smoothness(number: str, slug: str, title: str, change: dict[str, Any], **more: Any) -> Table:
    arms: tuple[tuple[str, dict[str, Any]], ...] = (("SGD 0.1", PAPER), ("Adam 0.001", {}))
    rows = tuple(
        Row(name=f"{network}, {arm}", change={**change, **norm, **optimizer})
        for arm, optimizer in arms
        for network, norm in NETWORKS.items()
    )
    return Table(
        number=number,
        slug=f"smoothness-{slug}",
        title=f"Smoothness along the gradient, {title}",
        varies="batch norm",
        rows=rows,
        measure=PROBE,
        **more,
    )


ENVELOPE: Study = Study(
    name="envelope",
    title="The learning rates of the loss envelope",
    tables=(
        _envelope("9", "cnn", "baseline", {}),
        _envelope("9b", "cnn-batch-norm", "with batch norm", NORM),
    ),
)
SMOOTHNESS: Study = Study(
    name="smoothness",
    title="Smoothness of the loss along the gradient",
    tables=(_smoothness("10", "cnn", "the course report's network", {}),),
)
SURFACE: Study = Study(
    name="surface",
    title="The loss around the trained weights",
    tables=(
        Table(
            number="11",
            slug="surface",
            title="Loss surfaces",
            varies="batch norm",
            rows=(Row(name="baseline"), Row(name="batch norm", change=NORM)),
            measure=LOSS_SURFACE,
        ),
    ),
)
VGG: Study = Study(
    name="vgg",
    title="The same for VGG-A",
    tables=(
        _envelope("12", "vgg", "VGG-A", VGG_NETWORK, cpu_epochs=VGG_CPU_EPOCHS, note=VGG_NOTE),
        _envelope(
            "12b",
            "vgg-batch-norm",
            "VGG-A with batch norm",
            VGG_NETWORK | NORM,
            cpu_epochs=VGG_CPU_EPOCHS,
            note=VGG_NOTE,
        ),
        _smoothness("13", "vgg", "VGG-A", VGG_NETWORK, cpu_epochs=VGG_CPU_EPOCHS, note=VGG_NOTE),
    ),
)

BATCH_NORM_STUDIES = (ENVELOPE, SMOOTHNESS, SURFACE, VGG)
"""What `python sweeps/bn_study.py` runs."""
