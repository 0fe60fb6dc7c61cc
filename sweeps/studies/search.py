"""The searches for the best batch-norm configuration, as data.

Every schedule anneals to zero. The start points are settings that are known to be good; the search has to beat them.
`search` trains for the sweep's epochs, as the course report did; `search-long` trains for five times as many and has a
shorter race. Nothing in their space changes the network and its 285,770 parameters. `search-wide` also searches the
widths.
"""

from trainable.search_definition import DEFAULT_WINNER, Goal, Race, Scheduler, SearchDefinition, StartPoint
from trainable.search_space import Choice, Range
from trainable.study import Study

ADAMW, MUON, SGD = {"optimizer": ("adamw",)}, {"optimizer": ("muon",)}, {"optimizer": ("momentum",)}

GUESS = {
    "decay_norm_and_bias": False, "label_smoothing": 0.1, "batch_size": 256, "flip": True, "shift": 2,
    "ema_decay": 0.998,
}  # fmt: skip
"""What start points that were guessed have in common."""

SEARCH = Study(
    name="search",
    title="The search for the best batch-norm configuration",
    search=SearchDefinition(
        winner=DEFAULT_WINNER,
        number=15,
        compared_with={"batch_norm": True},
        goal=Goal(test_error=0.19, test_error_with_flips=0.18),
        fixed={"batch_norm": True, "schedule": "one_cycle"},
        space={
            "optimizer": Choice(choices=("adamw", "muon", "momentum")),
            "adamw_lr": Range(field="lr", low=1e-3, high=5e-2, log=True, when=ADAMW),
            "adamw_decay": Range(field="weight_decay", low=1e-4, high=0.3, log=True, when=ADAMW),
            "muon_lr": Range(field="lr", low=3e-3, high=0.1, log=True, when=MUON),
            "muon_decay": Range(field="weight_decay", low=1e-3, high=0.3, log=True, when=MUON),
            "sgd_lr": Range(field="lr", low=1e-2, high=1.0, log=True, when=SGD),
            "sgd_decay": Range(field="weight_decay", low=1e-5, high=1e-2, log=True, when=SGD),
            "nesterov": Choice(choices=(True,), when=SGD),
            "decay_norm_and_bias": Choice(choices=(True, False)),
            "bn_bias_lr_factor": Choice(choices=(1.0, 4.0, 16.0, 64.0)),
            "bn_momentum": Range(low=0.01, high=0.5, log=True),
            "warmup": Range(low=0.05, high=0.5),
            "batch_size": Choice(choices=(128, 256, 512)),
            "ema_decay": Choice(choices=(0.9, 0.99, 0.995, 0.998, 0.999)),
            "label_smoothing": Range(low=0.0, high=0.2),
            "dropout": Range(low=0.0, high=0.3),
            "flip": Choice(choices=(False, True)),
            "flip_mode": Choice(choices=("random", "alternating"), when={"flip": (True,)}),
            "shift": Range(low=0, high=4),
            "cutout": Choice(choices=(0, 4, 8, 12)),
        },
        start=(
            StartPoint(
                values={"optimizer": "adamw", "adamw_lr": 1e-3, "adamw_decay": 1e-4, "ema_decay": 0.9},
                source="the course report's batch-norm config with its rate annealed and next to no decay or averaging",
                reference=True,
            ),
            StartPoint(
                values={"optimizer": "adamw", "adamw_lr": 0.01, "adamw_decay": 0.03, **GUESS},
                source="a guess from experience",
            ),
            StartPoint(
                values={
                    "optimizer": "momentum", "sgd_lr": 0.1, "sgd_decay": 5e-4, "nesterov": True, "flip": True,
                    "shift": 4, "ema_decay": 0.9,
                },
                source="Zagoruyko & Komodakis 2016, arXiv 1605.07146, section 3",
            ),
            StartPoint(
                values={
                    "optimizer": "momentum", "sgd_lr": 0.1, "sgd_decay": 5e-4, "nesterov": True, "flip": True,
                    "shift": 2, "ema_decay": 0.99,
                },
                source="the same with a longer average, and with smaller shifts for a small network",
            ),
            StartPoint(
                values={
                    "optimizer": "momentum", "sgd_lr": 0.3, "sgd_decay": 5e-4, "nesterov": True, "batch_size": 512,
                    "decay_norm_and_bias": False, "bn_bias_lr_factor": 64.0, "label_smoothing": 0.2, "flip": True,
                    "flip_mode": "alternating", "shift": 2, "cutout": 12, "warmup": 0.25, "ema_decay": 0.995,
                },
                source="after Jordan 2024, arXiv 2404.00498, section 3, whose rate is of another batch size",
            ),
            StartPoint(
                values={"optimizer": "muon", "muon_lr": 0.01, "muon_decay": 0.03, **GUESS},
                source="the guess with Muon at AdamW's rate, as Liu et al. 2025, arXiv 2502.16982, section 2.2",
            ),
            StartPoint(
                values={"optimizer": "muon", "muon_lr": 0.02, "muon_decay": 0.03, **GUESS},
                source="the guess with Muon at twice that rate, which was better where it was tried by hand",
            ),
        ),
    ),
)  # fmt: skip

_definition = SEARCH.required_search

STRONGER = GUESS | {"flip_mode": "alternating", "shift": 3, "cutout": 8, "ema_decay": 0.999}
"""With five times the epochs the guess over-fits: its train error falls to .02 and its validation error rises."""
SEARCH_LONG = Study(
    name="search-long",
    title="The search for the best batch-norm configuration, trained five times as long",
    search=_definition.change(
        epochs_factor=5,
        # an earlier rung misleads: of three configurations on CIFAR-10, the one that was best after 100 epochs had
        # been the worst after 25, 50 and 75, and the others over-fitted
        scheduler=Scheduler(share=0.9),
        race=Race(candidates=2, first_test=3, seeds=3),
        goal=Goal(epochs=100, test_error=0.17),
        number=18,
        winner="best_bn_long",
        start=(
            StartPoint(
                values={"optimizer": "muon", "muon_lr": 0.01, "muon_decay": 0.1, **STRONGER},
                source="the guess with Muon, stronger augmentation and more decay for a long training",
            ),
            StartPoint(
                values={"optimizer": "adamw", "adamw_lr": 0.01, "adamw_decay": 0.1, **STRONGER},
                source="the same with AdamW",
            ),
            *_definition.start,
        ),
    ),
)

WIDTHS = {
    "channels[0]": Range(low=16, high=64, log=True),
    "channels[1]": Range(low=32, high=128, log=True),
    "hidden[0]": Range(low=128, high=512, log=True),
    "hidden[1]": Range(low=128, high=512, log=True),
}
"""From the course report's network to its bigger one."""
SEARCH_WIDE = Study(
    name="search-wide",
    title="The search for the best batch-norm configuration and widths",
    search=_definition.change(
        number=21,
        winner="best_bn_wide",
        goal=None,
        space=_definition.space | WIDTHS,
        start=(
            *_definition.start,
            StartPoint(
                values=_definition.start[-1].values | {name: width.high for name, width in WIDTHS.items()},
                source="the course report's bigger network with the guess, for Muon at twice AdamW's rate",
            ),
        ),
    ),
)
