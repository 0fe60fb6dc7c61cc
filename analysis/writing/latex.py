"""The report's tables as LaTeX, in the style of the package booktabs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.writing.page import Grid, Section

LATEX = "tables.tex"
LONGEST = 30
"""Characters of a cell that stand on one line; a column with a longer one breaks its lines."""
HEAD = "% Every table of the report. It needs \\usepackage{booktabs}, and pdfLaTeX, XeLaTeX or LuaLaTeX.\n"
_ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", "×": r"$\times$", '"': "''"}
)


def escape(text: str) -> str:
    """The text without any character that LaTeX would take for a command, on one line."""
    return " ".join(text.split()).translate(_ESCAPED)


def write_latex(sections: Sequence[Section], file: Path) -> Path:
    """Write each table of the sections and of their subsections, with its section's title as its caption. Returns
    `file`."""
    tables = [_table(title, f"{anchor}-{number}" if number > 1 else anchor, grid)
              for title, anchor, number, grid in _grids(sections)]  # fmt: skip
    file.write_text("\n".join([HEAD, *tables]), encoding="utf-8")
    return file


def _grids(sections: Sequence[Section]) -> Iterator[tuple[str, str, int, Grid]]:
    """Each table with its section's title and anchor, and its number in that section, from 1."""
    for section in sections:
        grids = [block for block in section.blocks if isinstance(block, Grid)]
        for number, grid in enumerate(grids, start=1):
            yield section.title, section.anchor, number, grid
        yield from _grids(section.subsections)


def _table(title: str, anchor: str, grid: Grid) -> str:
    columns = list(zip(*[grid.header, *grid.rows], strict=True))
    broken = sum(_is_long(column) for column in columns)
    width = f"p{{{0.7 / broken:.2f}\\linewidth}}" if broken else ""
    form = "".join(width if _is_long(column) else "l" for column in columns)
    head = [_row(grid.header), "\\midrule"] if any(grid.header) else []
    lines = ["\\begin{table}", f"\\caption{{{escape(title)}}}", f"\\label{{tab:{anchor}}}", "\\footnotesize",
             f"\\begin{{tabular}}{{{form}}}", "\\toprule", *head, *map(_row, grid.rows), "\\bottomrule",
             "\\end{tabular}", "\\end{table}", ""]  # fmt: skip
    return "\n".join(lines)


def _is_long(column: Sequence[str]) -> bool:
    return max(map(len, column)) > LONGEST


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
