"""What each change does to the error, and the course report's sentences against it."""

from collections.abc import Sequence

from scipy import stats

from analysis.claims import judge_claims
from analysis.effects import ALPHA, HEADER, Effect, effect_rows
from analysis.page import Block, Grid, Picture, Section, Text
from analysis.plots.effect_intervals import draw_effects
from analysis.report_data import ReportData
from analysis.tables import HELD_OUT

TITLE = "Effects and claims"
CLAIMS_NOTE = (
    "Likely and unlikely mean that the 95% interval excludes 0, but that the effect is not established after Holm's "
    "correction over the whole study."
)


def section(data: ReportData) -> Section:
    """The effects paired by seed, and the claims that they decide."""
    if not data.effects:
        return Section(TITLE, [Text("Missing: the record has nothing to compare.")])
    parts = [Section("Effects, paired by seed", _effects(data))]
    comparable = [reproduced.table for reproduced in data.reproduced if reproduced.comparable]
    if claims := judge_claims(comparable, data.trainings, data.effects):
        header = ("the course report says", "verdict", "the data say (differences of the last epoch's test error)")
        rows = [(claim.sentence, claim.verdict, claim.evidence) for claim in claims]
        parts.append(Section("The course report's claims against the data", [Text(CLAIMS_NOTE), Grid(header, rows)]))
    return Section(TITLE, [], parts)


def _effects(data: ReportData) -> list[Block]:
    error = HELD_OUT[data.effects[0].config.held_out]
    picture = draw_effects(data.effects, f"{error} on {data.data_set}", data.folder / "effects.png")
    studies = dict.fromkeys(effect.study for effect in data.effects)
    return [
        Text(
            f"An effect is the {error} after the last epoch with a change, minus that of its reference with the same "
            "seed. The largest gain comes first. Each 95% interval is that of one effect, not corrected for their "
            "number. The p values are also given with Holm's correction over the tested changes of a study. With one "
            "seed there is no interval and no test; Wilcoxon's test cannot go below p = 0.25 with three seeds, or 0.06 "
            "with five."
        ),
        *(Text(_decided(study, [e for e in data.effects if e.study == study])) for study in studies),
        Picture(picture, "The effect of each change."),
        Grid(HEADER, effect_rows(data.effects)),
    ]


def _decided(study: str, family: Sequence[Effect]) -> str:
    """Which effects of a study are established, and what it would take to establish one."""
    tested = [effect for effect in family if effect.t_holm is not None]
    if not tested:
        return f"Study {study}: none of {len(family)} changes has seeds enough for a test."
    raised, lowered = (
        ", ".join(f"{each.name} ({each.mean:+.4f})" for each in tested if each.established and (each.mean < 0) == lower)
        for lower in (False, True)
    )
    seeds = min(len(effect.differences) for effect in tested)
    least_t = stats.t.isf(ALPHA / 2 / len(tested), seeds - 1)
    undecided = sum(not effect.established for effect in tested)
    return (
        f"Study {study}, {len(tested)} of {len(family)} changes tested (paired t-test, p < {ALPHA} after Holm's "
        f"correction): the error is raised by {raised or 'none'}; lowered by {lowered or 'none'}. {undecided} stay "
        f"undecided, which is not the same as without effect: with {seeds} seeds the strongest of {len(tested)} has to "
        f"reach |t| = {least_t:.1f}."
    )
