"""What each change does to the error, and how that is decided."""

from collections.abc import Mapping, Sequence

from analysis.report_data import ReportData
from analysis.statistics.effects import ALPHA, Effect, holm
from analysis.statistics.t_tests import p_text
from analysis.tables import held_out_name
from analysis.writing.effect_rows import HEADER, effect_rows
from analysis.writing.effect_variances import variances
from analysis.writing.page import Absent, Block, Grid, Section, Text
from analysis.writing.shared_pictures import EFFECTS, effects_picture
from analysis.writing.words import listed

TITLE = "Effects of the changes"


def section(data: ReportData) -> Section | Absent:
    """The effects paired by seed, and as a subsection the methods behind the verdicts."""
    if not data.effects:
        return Absent(TITLE, "no change is trained for the same seed as its reference")
    studies: dict[str, list[Effect]] = {}
    for effect in data.effects:
        studies.setdefault(effect.study, []).append(effect)
    return Section(TITLE, _effects(data, studies), [Section("How the verdicts are reached", _methods(data, studies))])


def _effects(data: ReportData, studies: Mapping[str, Sequence[Effect]]) -> list[Block]:
    error = held_out_name(effect.config for effect in data.effects)
    return [
        Text(
            f"An effect is the {error} after the last epoch with a change, minus that of its reference with the same "
            f"seed.{_which(data.effects)} It is followed by half the width of its 95% interval (±), which is that of "
            "one effect, not corrected for their number. The largest gain comes first. With one seed there is no "
            "interval and no test."
        ),
        effects_picture(data.effects, data.data_set, data.folder),
        Grid(HEADER, effect_rows(data.effects)),
        Text(
            "The p values are those after Holm's correction. Where pooled stands beside the seeds, interval and tests "
            "rest on one variance of several rows of the study, which have the same reference. Else they rest on that "
            f"of the row's own differences. {EFFECTS}.csv has all that was computed of each effect."
        ),
        *(Text(said) for study, family in studies.items() if (said := _untested(study, family))),
    ]


def _which(effects: Sequence[Effect]) -> str:
    """Which error is meant where it is not the same one of all effects; else empty."""
    if len({effect.config.held_out for effect in effects}) == 1:
        return ""
    return " It is the test error under protocol A, and the validation error under protocol B."


def _methods(data: ReportData, studies: Mapping[str, Sequence[Effect]]) -> list[Block]:
    return [
        Text(
            "Two tests give the verdicts. An error is called lower or higher by the paired t-test, which asks whether "
            "there is any difference. A change is called without effect beyond the margin by the equivalence test "
            f"(two one-sided t-tests), which asks whether the difference is smaller than {data.margin:g}. Each "
            f"decides where its p is below {ALPHA} after Holm's correction over the tested changes of a study. What "
            "neither decides is undecided. An undecided change may still have an effect: few seeds find only large "
            f"ones. {EFFECTS}.csv also has Wilcoxon's test, which gives no verdict: it cannot go below p = 0.25 with "
            "three seeds, or 0.06 with five."
        ),
        *(Text(f"Study {study}: {said}") for study, family in studies.items() if (said := variances(family))),
        *(Text(said) for said in _as_one_family(data.effects)),
        Text(_images(data.effects)),
        Text(
            f"{EFFECTS}.csv also counts the seeds whose error is lower with the change, and gives the 95% interval of "
            "the chance that one new training has the lower error."
        ),
    ]


def _as_one_family(effects: Sequence[Effect]) -> list[str]:
    """What the verdicts would be if the changes of all studies were corrected together; empty for one study."""
    if len({effect.study for effect in effects}) < 2 or not any(effect.established for effect in effects):
        return []
    together = zip(effects, holm([effect.t_p for effect in effects]), strict=True)
    lost = [f"{effect.name} (p {p_text(p)})" for effect, p in together if effect.established and p and p >= ALPHA]
    found = "each change that is found to raise or lower the error would still be found to"
    if lost:
        found = f"these would no longer be found to change the error: {', '.join(lost)}"
    return [f"With Holm's correction over the changes of all studies together, {found}."]


def _images(effects: Sequence[Effect]) -> str:
    """What the intervals say of other images."""
    tested = [each for each in effects if each.tests]
    crossed = [each for each in tested if each.new_images_interval]
    said = (
        "The intervals and the verdicts speak of new seeds on the same images. A second interval, of new seeds "
        f"and new images, stands in {EFFECTS}.csv for {len(crossed)} of {len(tested)} tested changes"
        + ("; of the others the record lacks which images the seeds get right." if len(crossed) < len(tested) else ".")
    )
    if any(each.image_seeds < len(each.seeds) for each in crossed):
        said += (
            " Where the record has these images of some seeds only, the images' part of the interval is computed from "
            "these seeds, which makes it wider than it need be."
        )
    if found := [each for each in crossed if each.established]:
        lost = [each.name for each in found if each.new_images_interval and each.new_images_interval.contains(0)]
        said += (
            f" Of the {len(found)} changes among them that are found to raise or lower the error, "
            f"{len(found) - len(lost)} do so over new images as well: the second interval, which is not corrected for "
            "their number, excludes 0" + (f". It does not for {', '.join(lost)}." if lost else ".")
        )
    return said


def _untested(study: str, family: Sequence[Effect]) -> str:
    """Which of a study's effects are not tested, and why, in sentences; empty where all are."""
    at_chance = [effect.name for effect in family if effect.ended_at_chance]
    others = [effect.name for effect in family if not (effect.tests or effect.ended_at_chance)]
    said = []
    if at_chance:
        said.append(f"{listed(at_chance)}, because a training ended at chance")
    if others:
        said.append(f"{listed(others)}, because that takes two seeds or more, which do not all differ by the same")
    return f"Not tested in study {study}: {'; '.join(said)}." if said else ""
