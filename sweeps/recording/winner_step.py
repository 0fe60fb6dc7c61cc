"""What is written of the winner of a search: its files on the sweep's run, its version in the registry, its marks."""

import tempfile
from dataclasses import dataclass
from statistics import fmean

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.record.recorded import CHAMPION, PROVEN, VAL_ERROR, WINNER, WINNER_METRIC, TrialRecord
from sweeps.recording.model_card import Winner
from sweeps.recording.promotion import SEARCH_KEY
from sweeps.recording.tags import delete_tag

KEY = "key"
"""Tag of a version: the key of its config as the proof trained it."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What becomes of the registered model whose new version a winner is."""

    model: str
    """The name of the registered model."""
    champion: str | None
    """Run id of the trial whose weights become the model's champion; `None` where the champion stays."""
    former: tuple[str, ...]
    """Run ids of trials whose weights were the champion before."""
    why: str
    """What becomes of the champion, and why, in one line."""


@dataclass(frozen=True, kw_only=True)
class WinnerStep:
    """All that is written of a winner. It writes the same when it is repeated."""

    winner: Winner
    searched: TrialRecord
    """The search's trial of it."""
    proven_tag: str
    """The tag that marks it as recorded."""
    key: str
    """As it was proven."""
    registration: Registration | None
    """None for a training of the user's own, of which there is no model."""
    files: tempfile.TemporaryDirectory
    """What goes to the sweep's run. It lasts as long as the step, which may be written later than the sweep waits."""
    beaten: tuple[TrialRecord, ...]
    """Trials that had won this search before."""
    now: int

    def write(self, client: MlflowClient, run_id: str) -> None:
        """Write it on the sweep's run, in the registry and on the search's trial, whose tag `proven_tag` comes last."""
        winner, trial = self.winner, self.searched.run_id
        client.log_artifacts(run_id, self.files.name)
        client.log_metric(run_id, f"best_{VAL_ERROR}", fmean(winner.race.winning_errors), self.now)
        client.log_metric(run_id, WINNER_METRIC, winner.test_error, self.now)
        if self.registration:
            self._register(client, run_id, self.registration)
        for beaten in self.beaten:
            if not _other_proofs(beaten, self.proven_tag):
                delete_tag(client, beaten.run_id, WINNER)
            delete_tag(client, beaten.run_id, self.proven_tag)
        client.log_metric(trial, WINNER_METRIC, winner.test_error, self.now)
        client.set_tag(trial, WINNER, "yes")
        client.set_tag(trial, self.proven_tag, str(len(winner.test_errors)))

    def _register(self, client: MlflowClient, run_id: str, to: Registration) -> None:
        version = self._version(client, run_id, to.model)
        client.update_model_version(to.model, version, self.winner.as_card())
        if to.champion is not None:
            client.set_registered_model_alias(to.model, CHAMPION, version)
            for former in to.former:
                delete_tag(client, former, CHAMPION)
            client.set_tag(to.champion, CHAMPION, to.model)

    def _version(self, client: MlflowClient, run_id: str, model: str) -> str:
        """The winner's version of the registered model: the one that it has, or a new one."""
        try:
            client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in client.search_model_versions(f"name = '{model}'"):
            if version.tags.get(KEY) == self.key:
                return version.version
        source = f"{client.get_run(run_id).info.artifact_uri}/{self.winner.name}_model"
        tags = {KEY: self.key, SEARCH_KEY: self.searched.key}
        return client.create_model_version(model, source, run_id, tags=tags).version


def has_won(trial: TrialRecord, proven_tag: str) -> bool:
    """Whether a trial is marked as the winner of this search, be it by a step that was cut off."""
    return proven_tag in trial.tags or (WINNER in trial.tags and not _other_proofs(trial, proven_tag))


def _other_proofs(trial: TrialRecord, proven_tag: str) -> bool:
    """Whether a trial has won another search, too."""
    return any(tag.startswith(PROVEN) and tag != proven_tag for tag in trial.tags)
