"""The proof of a search's winner: its test error beside that of the config that it has to beat, and why it differs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.plots.class_predictions import draw_class_errors, draw_confusion, draw_reliability
from analysis.plots.effect_intervals import draw_effects
from analysis.proof import BINS, Predicted, Proof, WinnerAblation, calibration_error, mcnemar, proof_tables
from analysis.record.arrays import layers_of
from analysis.report_data import ReportData
from analysis.statistics.intervals import mean_text
from analysis.statistics.t_tests import p_text
from analysis.tables import HELD_OUT
from analysis.writing.config_text import config_text, train_again
from analysis.writing.effect_rows import HEADER, effect_rows
from analysis.writing.effect_variances import variances
from analysis.writing.kernel_pictures import kernel_pictures
from analysis.writing.page import Absent, Block, File, Grid, Picture, Section, Text
from analysis.writing.search_text import proof_text
from analysis.writing.words import counted, listed
from trainable.config import Config

TITLE = "The winner on the test split"
ABOUT = (
    "The winner of a search and the configuration that it has to beat are trained on the whole train split for the "
    "same seeds, and so is the winner with one difference taken back. Of a search, only these trainings see the test "
    "split. Their error on it is recorded after every epoch; the last one counts, and none is chosen by it. Where a "
    "seed was trained more than once, the training whose predictions are recorded counts, so that the reference may "
    "differ a little from the same row of a table. With test-time flips, the class probabilities of an image and of "
    "its mirror image are averaged."
)


def section(data: ReportData) -> Section | Absent:
    """The proofs that are recorded, a subsection each."""
    if not data.proofs:
        return Absent(TITLE, "no winner of a search is proven (python sweeps/search.py)")
    proven = {proof.table.number for proof in data.proofs}
    missing = [
        Text(f"Missing: {table.title}; not both of its configurations are trained.")
        for table in proof_tables(data.tables)
        if table.number not in proven
    ]
    parts = [Section(proof.table.title, _blocks(data, proof)) for proof in data.proofs]
    return Section(TITLE, [Text(ABOUT), *missing], parts)


def _blocks(data: ReportData, proof: Proof) -> list[Block]:
    pair = (proof.compared, proof.winner)
    blocks: list[Block] = [Text(said) for said in _earlier(data, proof)]
    if proof.unchanged:
        return [*blocks, Text(proof_text(proof)), _winner_file(data, proof)]
    blocks += [Grid(*_errors(proof)), Text(_different(proof)), _winner_file(data, proof)]
    if all(config.plain for config in pair):
        blocks += _predictions(data, proof)
    else:
        blocks.append(Text("Missing: what the trainings predict, for the tests on single images."))
    blocks += _differences(data, proof)
    for config in pair:
        if layers := layers_of(data.source, data.trainings[config.key]):
            blocks += kernel_pictures(layers, f"{proof.table.slug} {config.name}", data.folder)
        elif not config.config.has_own_network:
            blocks.append(Text(f"Missing: the record has no kernels of the {config.name} network."))
    return blocks


def _earlier(data: ReportData, proof: Proof) -> list[str]:
    """That it is the proof of an earlier winner, in a sentence; empty where it is not."""
    return [
        f"This is the proof of an earlier winner. That of the present one, {recorded.winner.name}, is not trained yet."
        for recorded in data.searches
        if recorded.winner and data.earlier_proof_of(recorded) is proof
    ]


def _different(proof: Proof) -> str:
    """The settings in which the two configs differ, in a sentence."""
    ours, theirs = (each.config.model_dump() for each in (proof.winner, proof.compared))
    different = [name for name, value in ours.items() if value != theirs[name]]
    return f"The two differ in {', '.join(different)}."


def _winner_file(data: ReportData, proof: Proof) -> File:
    """The winner's config as a file that trains it again."""
    name = f"{proof.table.slug}-winner"
    file = data.folder / f"{name}.yaml"
    about = f"Train it: {train_again(proof.winner.config, file.name, len(proof.winner.errors))}"
    file.write_text(config_text(name, proof.winner.config, about), "utf-8")
    return File(file, "The winner, as a file that trains it again (python sweeps/full.py --config FILE)")


def _errors(proof: Proof) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and rows: both configs' test errors, plain and with flips, and their paired differences."""
    plain, flipped = proof.difference, proof.flipped_difference
    rows = [
        *(
            (
                f"{config.name} ({config.config.setting})",
                _errors_text(config.errors),
                _errors_text(config.flipped_errors),
            )
            for config in (proof.compared, proof.winner)
        ),
        (
            "winner minus reference",
            *(mean_text(each.values, "+.4f") for each in (plain, flipped)),
        ),
        ("paired t-test, p", p_text(plain.p), p_text(flipped.p)),
        *_goal(proof),
    ]
    return ("", "test error", "with test-time flips"), rows


def _goal(proof: Proof) -> list[tuple[str, ...]]:
    """Rows: the goal and the winner's distance from it, plain and with flips."""
    if proof.goal is None:
        return []
    plain, flipped = proof.goal.test_error, proof.goal.test_error_with_flips
    return [
        ("goal", f"{plain:g}", f"{flipped:g}" if flipped else "-"),
        ("winner minus goal", *(mean_text(each, "+.4f") for each in (proof.over_goal, proof.flipped_over_goal))),
    ]


def _errors_text(errors: Mapping[int, float]) -> str:
    """The mean with its interval and the number of seeds."""
    seeds = counted(len(errors), "seed")
    return f"{mean_text(list(errors.values()))} ({seeds})" if errors else "-"


def _predictions(data: ReportData, proof: Proof) -> list[Block]:
    """The tests on single images and the pictures of what both configs predict."""
    compared, winner = proof.compared, proof.winner
    names, slug = winner.config.data.classes, proof.table.slug
    tests = [(str(test.seed), str(test.only_winner), str(test.only_compared), p_text(test.p))
             for test in mcnemar(winner.plain, compared.plain)]  # fmt: skip
    plain = {config.name: config.plain for config in (compared, winner)}
    return [
        Text(
            "McNemar's exact test (Dietterich 1998), for each seed: the images that one of the two classifies "
            "correctly and the other not. It asks whether these two networks differ; the t-test above asks it of the "
            "two configurations."
        ),
        Grid(("seed", "only the winner is right", "only the reference is right", "p"), tests),
        Picture(
            draw_confusion(winner.plain, names, f"{winner.name}, {len(winner.plain)} seeds",
                           data.folder / f"{slug}-confusion.png"),
            "What the winner takes each class for.",
        ),
        Picture(
            draw_class_errors(plain, names, data.folder / f"{slug}-classes.png"),
            "The error of each class: bars are means over the seeds, dots are seeds.",
        ),
        Text(
            "The expected calibration error (Guo et al. 2017) is the mean distance between a network's confidence and "
            f"how often it is right, over {BINS} bins of the confidence."
        ),
        Grid(("", "expected calibration error", "with test-time flips"), [
            (config.name, _calibration(config.plain), _calibration(config.flipped)) for config in (compared, winner)
        ]),
        Picture(
            draw_reliability(plain, data.folder / f"{slug}-reliability.png"),
            "How often predictions are right, by their confidence, over all seeds.",
        ),
    ]  # fmt: skip


def _calibration(predicted: Mapping[int, Predicted]) -> str:
    return mean_text([calibration_error(each) for each in predicted.values()])


def _differences(data: ReportData, proof: Proof) -> list[Block]:
    """What each difference of the winner is worth."""
    found = proof.ablation
    blocks: list[Block] = []
    if found is None or found.earlier:
        blocks.append(Text("Missing: what each of its differences is worth (--difference-seeds 5)."))
    if found is None:
        return blocks
    if found.earlier:
        blocks.append(
            Text(
                "The next picture and table are of an earlier winner, whose test error is "
                f"{mean_text(list(found.winner.values()))}."
            )
        )
    if found.missing:
        blocks.append(Text(f"Missing: no training is recorded of the winner {'; '.join(found.missing)}."))
    if not found.effects:
        return blocks
    error = f"{HELD_OUT[proof.winner.config.held_out]} on {proof.winner.config.data}"
    about = (
        "What the gain is made of: each row takes back one of the winner's differences, with what belongs to it, and "
        "keeps the others. Above 0 the error rises without it, so that it helps. The effects need not add up to the "
        "whole gain: where one difference makes up for another, taking back either alone shows less than both are "
        f"worth.{_overlap(proof, found)}{_optimizer(proof, found)} {variances(found.effects)}"
    )
    picture = draw_effects(found.effects, error, data.folder / f"{proof.table.slug}-differences.png")
    return [
        *blocks,
        Text(about),
        Picture(picture, "The winner with one difference taken back."),
        Grid(HEADER, effect_rows(found.effects)),
    ]


def _overlap(proof: Proof, found: WinnerAblation) -> str:
    """Which settings several rows take back, in a sentence; empty where there are none."""
    winner = proof.winner.config
    taken_back = [{name for name, value in winner if value != getattr(effect.config, name)} for effect in found.effects]
    counts = Counter(name for names in taken_back for name in names)
    shared = [name for name in Config.model_fields if counts[name] > 1]
    return f" More than one row takes back {listed(shared)}." if shared else ""


def _optimizer(proof: Proof, found: WinnerAblation) -> str:
    """What is taken back with the optimizer; empty where no row takes it back."""
    compared = proof.compared.config
    configs = [effect.config for effect in found.effects]
    back = [config for config in configs if config.optimizer == compared.optimizer]
    if not back or len(back) == len(configs):
        return ""
    if all(config.weight_decay == compared.weight_decay for config in back):
        return (
            " The optimizer is taken back with its weight decay. The reference's learning rate was not tuned for the "
            "rest of the winner's settings: this row compares two settings, and not two optimizers at their best."
        )
    return (
        " The row that takes back the optimizer keeps the winner's weight decay, which acts otherwise under "
        f"{compared.optimizer}: it mixes two changes."
    )
