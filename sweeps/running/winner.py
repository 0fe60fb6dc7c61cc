"""The winner of a search, recorded: its config and its model card on the sweep's run, its model in the registry.

All of it is one step, repeated whole where it fails, and its last write marks it as done.
"""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.record.mlflow_record import Record
from analysis.record.recorded import (
    ARRAYS_FOLDER,
    CHAMPION,
    PROVEN,
    VAL_ERROR,
    WINNER,
    WINNER_METRIC,
    TrialRecord,
    errors_by_seed,
)
from sweeps.planning.search_plan import SearchPlan
from sweeps.recording.model_card import Winner
from sweeps.recording.model_package import save_model
from sweeps.recording.recorder import Recorder
from sweeps.recording.tags import delete_tag
from sweeps.recording.trial_runs import now_ms
from sweeps.running.promotion import SEARCH_KEY, decide_promotion
from trainable.errors import UsageError
from trainable.files import PREDICTIONS, SERVED_SEED, WEIGHTS
from trainable.search_definition import COMPARED_ROW, WINNER_ROW, model_name
from trainable.study import ResolvedTable

KEY = "key"
"""Tag of a version: the key of its config as the proof trained it."""


def record_winner(plan: SearchPlan, proof: ResolvedTable, record: Record, recorder: Recorder) -> str:
    """Hand the winner's config, figures and registered model to the recorder. Returns a line on the champion.

    `proof` is the table of its proof. Raises `UsageError` where that was imported without the weights.
    """
    trials, searched = record.trials(), plan.winner
    assert searched is not None, "the race is not decided"
    compared_row, winner_row = proof.row(COMPARED_ROW), proof.row(WINNER_ROW)
    winner = Winner(
        name=plan.search.winner,
        search=plan.search,
        race=plan.race,
        tried=len(plan.judged),
        config=winner_row.config,
        test_errors=_test_errors(trials, winner_row.key, plan.proof_seeds),
        compared=compared_row.config,
        compared_errors=_test_errors(trials, compared_row.key, plan.proof_seeds),
    )
    proven = (trial for trial in trials if trial.complete and trial.key == winner_row.key)
    trained = next((trial for trial in proven if SERVED_SEED in trial.seeds and trial.has(WEIGHTS)), None)
    if trained is None:
        raise UsageError(
            f"the record has no weights of the winner {searched.name}: export it with --models where it was trained, "
            "and import that"
        )
    model = model_name(record.experiment, winner.name)
    promotion = decide_promotion(record.client, model, searched.key, trials, plan.search.seeds, len(plan.race.racers))
    files = tempfile.TemporaryDirectory()
    (Path(files.name) / winner.file).write_text(winner.as_yaml(), encoding="utf-8")
    (Path(files.name) / f"{winner.name}_card.md").write_text(winner.as_card(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(record.client.download_artifacts(trained.run_id, f"{ARRAYS_FOLDER}/{WEIGHTS}", folder))
        save_model(winner.config, weights, Path(files.name) / f"{winner.name}_model")
    former = tuple(t.run_id for t in trials if t.tags.get(CHAMPION) == model and t.run_id != trained.run_id)
    step = _Step(
        winner=winner,
        searched=searched,
        proven_tag=plan.proven_tag,
        key=winner_row.key,
        model=model,
        files=files,
        champion=trained.run_id if promotion.moves else None,
        former=former,
        beaten=tuple(t for t in plan.known if t.key != searched.key and _has_won(t, plan.proven_tag)),
        now=now_ms(),
    )
    recorder.act(partial(step.write, run_id=recorder.run_id))
    recorder.flush()
    return promotion.why


@dataclass(frozen=True, kw_only=True)
class _Step:
    """All that is written of a winner. It writes the same when it is repeated."""

    winner: Winner
    searched: TrialRecord
    """The search's trial of it."""
    proven_tag: str
    """The tag that marks it as recorded."""
    key: str
    """As it was proven."""
    model: str
    """The name of the registered model."""
    files: tempfile.TemporaryDirectory
    """What goes to the sweep's run. It lasts as long as the step, which may be written later than the sweep waits."""
    champion: str | None
    """Run id of the trial whose weights become the model's champion; `None` where the champion stays."""
    former: tuple[str, ...]
    """Run ids of trials whose weights were the champion before."""
    beaten: tuple[TrialRecord, ...]
    """Trials that had won this search before."""
    now: int

    def write(self, client: MlflowClient, run_id: str) -> None:
        """Write it on the sweep's run, in the registry and on the search's trial, whose tag `proven_tag` comes last."""
        winner, trial = self.winner, self.searched.run_id
        client.log_artifacts(run_id, self.files.name)
        client.log_metric(run_id, f"best_{VAL_ERROR}", fmean(winner.race.winning_errors), self.now)
        client.log_metric(run_id, WINNER_METRIC, winner.test_error, self.now)
        version = self._version(client, run_id)
        client.update_model_version(self.model, version, winner.as_card())
        if self.champion is not None:
            client.set_registered_model_alias(self.model, CHAMPION, version)
            for former in self.former:
                delete_tag(client, former, CHAMPION)
            client.set_tag(self.champion, CHAMPION, self.model)
        for beaten in self.beaten:
            if not _other_proofs(beaten, self.proven_tag):
                delete_tag(client, beaten.run_id, WINNER)
            delete_tag(client, beaten.run_id, self.proven_tag)
        client.log_metric(trial, WINNER_METRIC, winner.test_error, self.now)
        client.set_tag(trial, WINNER, "yes")
        client.set_tag(trial, self.proven_tag, str(len(winner.test_errors)))

    def _version(self, client: MlflowClient, run_id: str) -> str:
        """The winner's version of the registered model: the one that it has, or a new one."""
        try:
            client.create_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in client.search_model_versions(f"name = '{self.model}'"):
            if version.tags.get(KEY) == self.key:
                return version.version
        source = f"{client.get_run(run_id).info.artifact_uri}/{self.winner.name}_model"
        tags = {KEY: self.key, SEARCH_KEY: self.searched.key}
        return client.create_model_version(self.model, source, run_id, tags=tags).version


def _has_won(trial: TrialRecord, proven_tag: str) -> bool:
    """Whether a trial is marked as the winner of this search, be it by a step that was cut off."""
    return proven_tag in trial.tags or (WINNER in trial.tags and not _other_proofs(trial, proven_tag))


def _other_proofs(trial: TrialRecord, proven_tag: str) -> bool:
    """Whether a trial has won another search, too."""
    return any(tag.startswith(PROVEN) and tag != proven_tag for tag in trial.tags)


def _test_errors(trials: list[TrialRecord], key: str, seeds: int) -> dict[int, float]:
    """The test error after the last epoch of each of the first seeds, of the trainings whose predictions are recorded:
    the report's proof is of these."""
    predicted = [trial for trial in trials if trial.has(PREDICTIONS)]
    return {seed: error for seed, error in errors_by_seed(predicted, key, "test_error").items() if seed < seeds}
