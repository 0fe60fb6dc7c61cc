"""The loss envelope: how much the loss depends on the learning rate, without and with batch norm (the course report's
sections 1.3.2 and 2)."""

from math import floor

from analysis.envelope import EnvelopeComparison, gap_rows, gaps_header, ranges, varies_the_rate
from analysis.learning_rates import errors_by_rate
from analysis.plots.envelope_bands import draw_envelopes
from analysis.report_data import ReportData
from analysis.statistics.intervals import mean_text
from analysis.statistics.t_tests import p_text
from analysis.writing.csv_file import write_csv
from analysis.writing.learning_rates_text import best_rates_text, choice_text, next_best_text, spans_text
from analysis.writing.page import Absent, Block, Grid, Picture, Section, Text
from trainable.measures import LOSSES

TITLE = "Loss envelope: sensitivity to the learning rate"
ABOUT = (
    "One network is trained at each learning rate with the same batches. At every step the band reaches from the "
    "smallest to the largest of their losses on that mini-batch. A narrow band means that the learning rate matters "
    "little. A band is also narrow where the losses themselves are small; the ratio of the largest to the smallest "
    "loss does not depend on that."
)
UNLIKE = "its rows differ in more than the learning rate, so that their losses make no envelope"
CSV_HEADER = ("network", "seed", "first epoch", "last epoch", "mean height")


def section(data: ReportData) -> Section | Absent:
    """The bands of networks that were trained alike, a subsection each, and their heights by range of epochs."""
    tables = [table for table in data.tables if table.measure == LOSSES]
    if not tables:
        return Absent(TITLE, "no sweep with the study `envelope` is recorded")
    made = Section(TITLE, [Text(ABOUT)])
    recorded = {table.number for comparison in data.envelopes for table in comparison.tables}
    made.blocks += [
        Text(f"Missing: {table.title}; {'its trainings are not all recorded' if varies_the_rate(table) else UNLIKE}.")
        for table in tables
        if table.number not in recorded
    ]
    made.subsections = [_comparison(data, comparison) for comparison in data.envelopes]
    return made


def _comparison(data: ReportData, comparison: EnvelopeComparison) -> Section:
    bands = comparison.envelopes
    heights = [
        (band.name, seed, first, last, height)
        for band in bands
        for (first, last), by_seed in zip(ranges(band.epochs), band.gaps(), strict=True)
        for seed, height in by_seed.items()
    ]
    write_csv(data.folder / f"{comparison.slug}-gaps.csv", CSV_HEADER, heights)
    worst = "; ".join(
        f"{band.name}, {rate} at {floor(1000 * share) / 10:g}% of the steps"  # never rounded up to 100%
        for band in bands
        for rate, share in [band.worst]
    )
    names = " and ".join(band.name for band in bands)
    picture = draw_envelopes(bands, comparison.setting, data.folder / f"{comparison.slug}.png")
    return Section(
        f"Envelope: {names}, {comparison.setting}",
        [
            Picture(picture, f"The loss envelope: {names}, {comparison.setting}."),
            Text(
                f"The learning rate that most often has the largest loss: {worst}. The table has the band's height "
                "over ranges of epochs, the mean over the seeds and half the width of its 95% interval."
            ),
            Grid(gaps_header(bands[0].epochs), gap_rows(bands)),
            *_errors(data, comparison),
            *(Text(note) for note in dict.fromkeys(table.note for table in comparison.tables) if note),
        ],
    )


def _errors(data: ReportData, comparison: EnvelopeComparison) -> list[Block]:
    """The last errors at each learning rate, without and with batch norm; empty where `errors_by_rate` has none."""
    errors = errors_by_rate(comparison.tables, data.tables, data.trainings)
    if errors is None:
        return []
    plain, normed = (band.name for band in comparison.envelopes)
    rows = [
        (
            f"{rate:g}",
            *(mean_text(list(each.errors.get(rate, {}).values())) for each in (errors.plain, errors.normed)),
            mean_text(difference.values, "+.4f"),
            p_text(difference.p),
            str(len(difference.values)),
        )
        for rate in errors.rates
        for difference in [errors.difference(rate, rate)]
    ]
    conclusions = (
        f"{best_rates_text(errors, comparison.error)} {next_best_text(errors)}".strip(),
        choice_text(errors, data.margin),
        spans_text(errors, comparison.error),
    )
    return [
        Text(
            f"The {comparison.error} after the last epoch, of these trainings and of those in other tables that differ "
            "from them in the learning rate alone. The difference is paired by seed; p is that of the paired t-test "
            "of one learning rate, not corrected for their number."
        ),
        Grid(("learning rate", plain, normed, "difference", "p, not corrected", "seeds that both have"), rows),
        *(Text(said) for said in conclusions if said),
    ]
