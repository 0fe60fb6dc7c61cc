"""Whether the winner of a search becomes the champion of its registered model."""

from collections.abc import Collection
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.record.recorded import CHAMPION, VAL_ERROR, TrialRecord, errors_by_seed
from analysis.statistics.effects import ALPHA
from analysis.statistics.race import behind_p

SEARCH_KEY = "search_key"
"""Tag of a version: the key of its config as the race trained it."""
NO_SUCH_ALIAS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's answers where a registry has no model of a name, and where the model has no such alias."""


@dataclass(frozen=True)
class Promotion:
    """Whether the alias `CHAMPION` moves to the new winner."""

    moves: bool
    why: str
    """The decision and its reason, in one line."""


def decide_promotion(
    client: MlflowClient, name: str, key: str, trials: list[TrialRecord], searched: Collection[int], racers: int
) -> Promotion:
    """Decide for the registered model `name`, whose new winner has this `key` in the race. The seeds that were
    `searched` do not count.

    The alias moves only to a model that is better with confidence: on the same validation images, over the seeds of
    the race that both were trained for. The race of so many `racers` has chosen the winner by the same seeds, so p is
    multiplied by their number (Bonferroni's correction). A first winner that learned nothing does not get it.
    """
    ours = errors_by_seed(trials, key, VAL_ERROR)
    try:
        champion = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in NO_SUCH_ALIAS:
            raise
        if ours and min(ours.values()) >= next(trial.config.chance for trial in trials if trial.key == key):
            return Promotion(False, f"{name}: the winner learned nothing, so it does not become the {CHAMPION}")
        return Promotion(True, f"{name}: the winner is its first {CHAMPION}")
    holder = champion.tags.get(SEARCH_KEY, "")
    if holder == key:
        return Promotion(True, f"{name}: the winner is its {CHAMPION}, version {champion.version}")
    theirs = errors_by_seed(trials, holder, VAL_ERROR)
    shared = sorted((ours.keys() & theirs.keys()) - set(searched))
    p = behind_p(theirs, ours, shared)
    if p is None:
        why = f"the winner cannot be compared with it over {len(shared)} seeds that both have"
        return Promotion(False, f"{name}: version {champion.version} stays the {CHAMPION}: {why}")
    p = min(1.0, racers * p)
    compared = f"over {len(shared)} seeds that both have, p {p:.3f}"
    if p < ALPHA:
        why = f"the winner is the new {CHAMPION}, better than version {champion.version} {compared}"
        return Promotion(True, f"{name}: {why}")
    why = f"the winner is not surely better {compared}"
    return Promotion(False, f"{name}: version {champion.version} stays the {CHAMPION}: {why}")
