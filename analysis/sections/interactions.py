"""Whether the effect of one change depends on another."""

from analysis.report_data import ReportData
from analysis.statistics.interactions import Interaction
from analysis.statistics.names import BASELINE_NAME
from analysis.statistics.t_tests import p_text
from analysis.tables import held_out_name
from analysis.writing.page import Absent, Grid, Section, Text

TITLE = "Interactions"
HEADER = ("a change", "its effect alone", "another change", "its effect there", "difference", "verdict", "p", "seeds")


def section(data: ReportData) -> Section | Absent:
    """Every two changes that are trained alone and together."""
    if not data.interactions:
        return Absent(TITLE, "no two changes are trained alone and together, for the same seed")
    error = held_out_name(each.reference for each in data.interactions)
    return Section(
        TITLE,
        [
            Text(
                f"Does a change have the same effect where another change is made, too? Here an effect is the {error} "
                "after the last epoch with a change, minus that without it. It is taken for each seed, with the other "
                "change and without it. The difference between the two is 0 where the effects add up, and the same if "
                "the two changes swap places. It is followed by half the width of its 95% interval (±). Two effects "
                "are called dependent by the paired t-test, and additive by the equivalence test with the margin "
                f"{data.margin:g}, each after Holm's correction for all rows of this table. p is that of the t-test. "
                "Nothing is tested where one of the four trainings ended at chance."
            ),
            Grid(HEADER, [_row(each) for each in data.interactions]),
        ],
    )


def _row(each: Interaction) -> tuple[str, ...]:
    half = f" ± {each.tests.interval.half_width:.4f}" if each.tests else ""
    against = "" if each.against == BASELINE_NAME else f" (against {each.against})"
    return (
        each.change + against,
        f"{each.alone:+.4f}",
        each.other,
        f"{each.with_other:+.4f}",
        f"{each.mean:+.4f}{half}",
        each.verdict,
        p_text(each.t_holm),
        str(len(each.seeds)),
    )
