"""The files with all numbers and all tables, for other programs."""

from analysis.report_data import ReportData
from analysis.writing.all_trials import EVERYTHING, write_everything
from analysis.writing.latex import LATEX
from analysis.writing.page import File, Section, Text

TITLE = "For other programs"
ABOUT = "Each picture and each table of errors also has a CSV file of its own beside this page."


def section(data: ReportData) -> Section:
    """Every trial and seed as CSV, and every table of the page as LaTeX."""
    everything = write_everything(data.tables, data.all_trials, data.sweeps, data.folder / EVERYTHING)
    return Section(
        TITLE,
        [
            File(everything, "Every trial and seed, a line each"),
            File(
                data.folder / LATEX, "Every table of this page as LaTeX, for the packages array, booktabs and longtable"
            ),
            Text(ABOUT),
        ],
    )
