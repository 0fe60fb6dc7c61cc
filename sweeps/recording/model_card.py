"""What stands beside a search's winner: its config as a file that trains it again, and its model card."""

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.statistics.intervals import mean_text
from analysis.statistics.race import Standing
from analysis.statistics.t_tests import p_text, paired_difference
from analysis.writing.config_text import config_text, train_again
from trainable.config import Config
from trainable.files import SERVED_SEED
from trainable.resolved_search import ResolvedSearch

MOST_NAMED = 20
"""Classes that a card names."""


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The winner of a search and its proof."""

    name: str
    """Of its files and its registered model."""
    search: ResolvedSearch
    race: Standing
    tried: int
    """How many configs the search chose from."""
    config: Config
    """As it was proven: on the whole train split."""
    test_errors: dict[int, float]
    """After the last epoch, by seed."""
    compared: Config
    """The config that it is compared with."""
    compared_errors: dict[int, float]
    """The same of the config that it is compared with."""

    @property
    def test_error(self) -> float:
        """The mean over the seeds."""
        return sum(self.test_errors.values()) / len(self.test_errors)

    @property
    def file(self) -> str:
        """The name of the file with its config."""
        return f"{self.name}.yaml"

    def as_yaml(self) -> str:
        """The config as a file that trains it again."""
        about = (
            f"The winner of the search {self.search.study!r} on {self.config.data}.\n"
            f"Test error {mean_text(list(self.test_errors.values()))}, seeds {_listed(self.test_errors)}.\n"
            f"Train it again: {self._train_again}"
        )
        return config_text(self.name, self.config, about)

    def as_card(self) -> str:
        """The model card, in Markdown."""
        paired = paired_difference(self.test_errors, self.compared_errors)
        difference = mean_text(paired.values, "+.4f") if paired.values else "missing: no seed in common"
        if paired.p is not None:
            difference += f", paired t-test p {p_text(paired.p)}"
        trained, size = self.config, self.config.data.size
        return f"""# {self.name}

The winner of the search "{self.search.title}". It classifies images of {trained.data}: {self._classes}.
{self._model}

| | |
|---|---|
| data | {trained.data}, fingerprint {self.search.fingerprint} |
| training | the whole train split, {trained.epochs} epochs, {trained.precision} |
| choice | the best of {self.tried} configs on protocol B (a tenth of the train split held out), then a race |
| validation error in the race | {mean_text(self.race.winning_errors)}, seeds {_listed(self.race.seeds)} |
| test error after the last epoch | {mean_text(list(self.test_errors.values()))}, seeds {_listed(self.test_errors)} |
| the config that it is compared with | {_described(self.compared)} |
| its test error | {mean_text(list(self.compared_errors.values()))}, seeds {_listed(self.compared_errors)} |
| difference, paired by seed | {difference} |

Intervals are 95% confidence intervals of the mean over the seeds (Student's t). The trainings of the search and of its
race did not read the test split. Test errors of other trainings may have been known before: those of the study's
tables, of the config that it is compared with, and of earlier winners, where the search was continued.

## Limits

The images are {size} by {size} pixels, cut and scaled as in {trained.data}. Images of other sources, other sizes or
other classes are outside of what was measured. The search tried only the space that its definition
names.{self._learned}

## To train it again

    {self._train_again}
"""

    @property
    def _model(self) -> str:
        if self.config.has_own_training:
            return f"Its training is the user's own ({self.config.training}), so that no model is registered."
        size = self.config.data.size
        return (
            f"The model takes uint8 images (N, {size}, {size}, 3) and returns class probabilities "
            f"(N, {len(self.config.data.classes)}). Its weights are those of seed {SERVED_SEED}."
        )

    @property
    def _train_again(self) -> str:
        return train_again(self.config, self.file, len(self.test_errors))

    @property
    def _learned(self) -> str:
        learned = self.test_error < self.config.chance
        return "" if learned else " It learned nothing: its error is that of one answer for all images."

    @property
    def _classes(self) -> str:
        """The names of the classes; of many only the first, because a registry allows 5,000 characters for a card."""
        names = self.config.data.classes
        return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED))


def _described(config: Config) -> str:
    changed = config.text(config.ablation)
    return f"the baseline{' with ' if changed else ''}{changed}, {config.epochs} epochs"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))
