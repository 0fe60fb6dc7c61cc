"""The report's tables as LaTeX, in the style of the package booktabs."""

import re
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

from analysis.writing.page import Grid, Section

LATEX = "tables.tex"
LINE = 76
"""Characters of small print on a line between the margins of an article."""
GAP = 2
"""Characters that the space between two columns takes of it."""
LINES = 40
"""A table of more lines breaks across pages."""
HEAD = f"""\
% Every table of the report. It needs \\usepackage{{array,booktabs,longtable}}, and pdfLaTeX, XeLaTeX or LuaLaTeX.
% A table of more than {LINES} lines is a longtable, because a floating table does not break across pages.
"""
_ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", "×": r"$\times$", '"': "''"}
    | {"[": "{[}", "*": "{*}"}  # else the first of a row would belong to the line break before it
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
    longest = [max(map(len, column)) for column in zip(grid.header, *grid.rows, strict=True)]
    widths = _widths(longest)
    broken = [width < need for width, need in zip(widths, longest, strict=True)]
    form = "".join(
        f">{{\\raggedright\\arraybackslash\\hspace{{0pt}}}}p{{{width / LINE:.4f}\\linewidth}}" if breaks else "l"
        for width, breaks in zip(widths, broken, strict=True)
    )
    head = [_row(grid.header, broken), "\\midrule"] if any(grid.header) else []
    rows = [_row(row, broken) for row in grid.rows]
    caption, label = f"\\caption{{{escape(title)}}}", f"\\label{{tab:{anchor}}}"
    style = ["\\footnotesize", f"\\setlength{{\\tabcolsep}}{{{GAP / LINE / 2:.3f}\\linewidth}}"]
    if sum(_lines(row, widths) for row in grid.rows) > LINES:
        lines = ["\\begingroup", *style, f"\\begin{{longtable}}{{{form}}}", caption, f"{label} \\\\", "\\toprule",
                 *head, "\\endfirsthead", "\\toprule", *head, "\\endhead", *rows, "\\bottomrule", "\\end{longtable}",
                 "\\endgroup"]  # fmt: skip
    else:
        lines = ["\\begin{table}", caption, label, *style, f"\\begin{{tabular}}{{{form}}}", "\\toprule", *head, *rows,
                 "\\bottomrule", "\\end{tabular}", "\\end{table}"]  # fmt: skip
    return "\n".join([*lines, ""])


def _widths(longest: Sequence[int]) -> list[int]:
    """The characters that each column gets of a line. `longest` are those of the columns' longest cells. The columns
    for which that is too much share the rest of the line alike."""
    room, widths = LINE - GAP * len(longest), [0] * len(longest)
    for place, column in enumerate(sorted(range(len(longest)), key=lambda column: longest[column])):
        widths[column] = min(longest[column], max(1, room // (len(longest) - place)))
        room -= widths[column]
    return widths


def _lines(row: Sequence[str], widths: Sequence[int]) -> int:
    """The lines that a row takes, about."""
    return max(ceil(len(cell) / max(width, 1)) for cell, width in zip(row, widths, strict=True))


def _row(cells: Sequence[str], broken: Sequence[bool]) -> str:
    texts = [_breakable(escape(cell)) if breaks else escape(cell) for cell, breaks in zip(cells, broken, strict=True)]
    return " & ".join(texts) + r" \\"


def _breakable(text: str) -> str:
    """The text with places for a line to break within lists and names, which have no spaces."""
    return re.sub(r"(,|\\_)(?=\S)", r"\1\\allowbreak{}", text)
