"""How much each parameter of a search matters, weighed by Optuna."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial
from scipy import stats

from analysis.searches import RecordedSearch

LEAST_TRIALS = 15
"""With fewer trials the parameters are not weighed: one trial would decide."""
BEST_SHARE, LEAST_BEST = 0.1, 5
"""The share of the trials that count as the best ones, and the fewest that do."""


def can_weigh_parameters(recorded: RecordedSearch) -> bool:
    """Whether enough trials reached the first rung, with different parameters and different errors."""
    trials = recorded.at_first_rung
    differ = any(len({recorded.value(trial, name) for trial in trials}) > 1 for name in recorded.varied)
    return len(trials) >= LEAST_TRIALS and differ and len(set(map(recorded.first_rung_error, trials))) > 1


@dataclass(frozen=True)
class FirstRung:
    """A search's trials at ASHA's first rung, as Optuna has them. All of them have an error there, so that they can be
    compared."""

    recorded: RecordedSearch

    @cached_property
    def study(self) -> optuna.Study:
        """The trials with their ranks by the error at the first rung."""
        study, space, trials = optuna.create_study(), self.recorded.varied, self.recorded.at_first_rung
        ranks = stats.rankdata(list(map(self.recorded.first_rung_error, trials)))
        for trial, rank in zip(trials, ranks.tolist(), strict=True):
            params = {name: value for name in space if (value := self.recorded.value(trial, name)) is not None}
            distributions = {name: space[name] for name in params}
            told = create_trial(state=TrialState.COMPLETE, value=rank, params=params, distributions=distributions)
            study.add_trial(told)
        return study

    @cached_property
    def importances(self) -> dict[str, float]:
        """The weight of each parameter, the largest first.

        The weights are those of PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), as Optuna has it: how far a
        parameter's values in the best trials differ from those in all. They sum to 1. Only the order of the errors
        counts, so that a trial which failed to learn does not outweigh the rest, and parameters with conditions are
        weighed, too.
        """
        best = min(0.5, max(BEST_SHARE, LEAST_BEST / len(self.recorded.at_first_rung)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is experimental, and warns of values that few trials have
            found = get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best))
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))  # Optuna orders equals by chance


def by_importance(recorded: RecordedSearch) -> list[str]:
    """The parameters in which the trials differ, the most important first; in the space's order where they cannot be
    weighed."""
    return list(FirstRung(recorded).importances if can_weigh_parameters(recorded) else recorded.varied)
