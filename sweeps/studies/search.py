"""The search for the best batch-norm configuration, as data."""

from trainable.search_space import Choice, Range, SearchDefinition, StartPoint
from trainable.study import Study

SEARCH = Study(
    name="search",
    title="The search for the best batch-norm configuration",
    search=SearchDefinition(
        winner="best_bn",
        fixed={"batch_norm": True},
        space={
            "optimizer": Choice(choices=("adam", "adamw")),
            "lr": Range(low=1e-4, high=3e-2, log=True),
            "weight_decay": Range(low=1e-6, high=1e-1, log=True),
            "schedule": Choice(choices=("constant", "cosine", "one_cycle")),
            "batch_size": Choice(choices=(64, 128, 256)),
            "label_smoothing": Range(low=0.0, high=0.2),
            "dropout": Range(low=0.0, high=0.3),
            "bn_momentum": Range(low=0.01, high=0.5, log=True),
            "flip": Choice(choices=(False, True)),
            "shift": Range(low=0, high=4),
        },
        start=(
            StartPoint(
                values={"weight_decay": 1e-6},
                source="the report's own batch-norm config; its decay of 0 is the space's least, next to none",
                reference=True,
            ),
        ),
    ),
)
