"""A search of conditional parameters on the digits, and what Tune has of its trials."""

from sweeps.planning.search_plan import SearchPlan, plan_search
from trainable.search_definition import SearchDefinition, StartPoint
from trainable.search_space import Choice, Range
from trainable.study import Study
from trainable.trial import Epoch, TrialReport
from trainable.tune_trainable import tune_result

DEFINITION = SearchDefinition(
    space={
        "optimizer": Choice(choices=("adamw", "momentum")),
        "adamw_lr": Range(low=1e-3, high=3e-2, log=True, field="lr", when={"optimizer": ("adamw",)}),
        "sgd_lr": Range(low=0.01, high=1.0, log=True, field="lr", when={"optimizer": ("momentum",)}),
        "momentum": Range(low=0.5, high=0.99, when={"optimizer": ("momentum",)}),
        "dropout": Range(low=0.0, high=0.3),
    },
    start=(StartPoint(values={"optimizer": "momentum", "sgd_lr": 0.1}),),
)
STUDY = Study(name="two-optimizers", title="Two optimizers", search=DEFINITION)


def result(error: float, *epochs: int) -> dict:
    """What Tune has of a trial's report of these epochs, which took a second each."""
    return tune_result(TrialReport(epochs=tuple(Epoch(e, 1.0, {"val_error": [error]}) for e in epochs), done=False))


def search(samples: int = 8) -> SearchPlan:
    return plan_search(STUDY, base={"data": "digits", "epochs": 2}, samples=samples, fingerprint="f", trials=())
