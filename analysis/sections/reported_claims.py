"""The course report's claims, each with its verdict and the figure that decides it."""

from collections.abc import Sequence

from analysis.learning_rates import errors_by_rate
from analysis.report_claims import Ruling, judge_claims
from analysis.report_data import ReportData
from analysis.writing.learning_rates_text import best_rates
from analysis.writing.page import Absent, Grid, Section, Text
from trainable.study import ResolvedTable

TITLE = "The course report's claims"
HEADER = ("the course report says", "verdict", "figure", "why")
ABOUT = (
    "A difference is that of the last epoch's test error, the mean over the seeds and half the width of its 95% "
    "interval; p is that of the paired t-test after Holm's correction over the "
    "changes of its study (see Effects of the changes)."
)
ABOUT_LIKELY = " Likely and unlikely mean that the interval excludes 0, but that p is not below 0.05."


def section(data: ReportData) -> Section | Absent:
    """The claims in a table. Without the course report's own tables there are none."""
    comparable = [reproduced.table for reproduced in data.reproduced if reproduced.comparable]
    claims = judge_claims(comparable, data.trainings, data.effects, _other_rates(data, comparable))
    if not claims:
        return Absent(TITLE, "no recorded table can be compared with one of the course report")
    rows = [
        (claim.sentence, f"{claim.ruling} {claim.scope}".strip(), claim.figure or "-", claim.evidence)
        for claim in claims
    ]
    is_likely = any(claim.ruling in (Ruling.LIKELY, Ruling.UNLIKELY) for claim in claims)
    return Section(TITLE, [Grid(HEADER, rows), Text(ABOUT + ABOUT_LIKELY * is_likely)])


def _other_rates(data: ReportData, tables: Sequence[ResolvedTable]) -> str:
    """What batch norm does to the tables' baseline where each network has its best learning rate; empty where that is
    not recorded."""
    baselines = {row.key for table in tables for row in table.rows if row.config.is_baseline}
    for comparison in data.envelopes:
        if baselines & {row.key for row in comparison.tables[0].rows}:
            errors = errors_by_rate(comparison.tables, data.tables, data.trainings)
            if errors and (difference := errors.best_difference.text):
                return f"At {best_rates(errors)}, the difference is {difference}."
    return ""
