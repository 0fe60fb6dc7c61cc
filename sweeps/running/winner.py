"""The winner of a search, recorded: its config and its model card on the sweep's run, its model in the registry.

All of it is one step, repeated whole where it fails, and its last write marks it as done.
"""

import tempfile
from functools import partial
from pathlib import Path

from analysis.record.mlflow_record import Record
from analysis.record.recorded import (
    ARRAYS_FOLDER,
    CHAMPION,
    TrialRecord,
    errors_by_seed,
)
from sweeps.planning.search_plan import SearchPlan
from sweeps.recording.model_card import Winner
from sweeps.recording.model_package import save_model
from sweeps.recording.promotion import decide_promotion
from sweeps.recording.recorder import Recorder
from sweeps.recording.trial_runs import now_ms
from sweeps.recording.winner_step import Registration, WinnerStep, has_won
from trainable.errors import UsageError
from trainable.files import PREDICTIONS, SERVED_SEED, WEIGHTS
from trainable.search_definition import COMPARED_ROW, WINNER_ROW, model_name
from trainable.study import ResolvedTable


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
        test_errors=_test_errors(trials, winner_row.key),
        compared=compared_row.config,
        compared_errors=_test_errors(trials, compared_row.key),
    )
    files = tempfile.TemporaryDirectory()
    (Path(files.name) / winner.file).write_text(winner.as_yaml(), encoding="utf-8")
    (Path(files.name) / f"{winner.name}_card.md").write_text(winner.as_card(), encoding="utf-8")
    registration = None
    if not winner.config.has_own_training:
        registration = _registration(winner, winner_row.key, searched, trials, record, Path(files.name))
    step = WinnerStep(
        winner=winner,
        searched=searched,
        proven_tag=plan.proven_tag,
        key=winner_row.key,
        registration=registration,
        files=files,
        beaten=tuple(t for t in plan.known if t.key != searched.key and has_won(t, plan.proven_tag)),
        now=now_ms(),
    )
    recorder.act(partial(step.write, run_id=recorder.run_id))
    recorder.flush()
    return registration.why if registration else f"{winner.name}: no model is registered of a training of one's own"


def _registration(
    winner: Winner, key: str, searched: TrialRecord, trials: list[TrialRecord], record: Record, folder: Path
) -> Registration:
    """What becomes of the registered model; the winner's own is saved in the folder. `key` is that of its proof."""
    proven = (trial for trial in trials if trial.complete and trial.key == key)
    trained = next((trial for trial in proven if SERVED_SEED in trial.seeds and trial.has(WEIGHTS)), None)
    if trained is None:
        raise UsageError(
            f"the record has no weights of the winner {searched.name}: export it with --models where it was trained, "
            "and import that"
        )
    model, racers = model_name(record.experiment, winner.name), len(winner.race.racers)
    promotion = decide_promotion(record.client, model, searched.key, trials, winner.search.seeds, racers)
    with tempfile.TemporaryDirectory() as downloads:
        weights = Path(record.client.download_artifacts(trained.run_id, f"{ARRAYS_FOLDER}/{WEIGHTS}", downloads))
        save_model(winner.config, weights, folder / f"{winner.name}_model")
    return Registration(
        model=model,
        champion=trained.run_id if promotion.moves else None,
        former=tuple(t.run_id for t in trials if t.tags.get(CHAMPION) == model and t.run_id != trained.run_id),
        why=promotion.why,
    )


def _test_errors(trials: list[TrialRecord], key: str) -> dict[int, float]:
    """The test error after the last epoch by seed, of the trainings whose predictions are recorded: the report's proof
    is of these. They may be more than this sweep asks for."""
    return errors_by_seed((trial for trial in trials if trial.has(PREDICTIONS)), key, "test_error")
