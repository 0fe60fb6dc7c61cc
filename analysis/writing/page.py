"""The form of the report: sections of text, tables and pictures, written as an HTML page and as Markdown."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

TEMPLATES = Path(__file__).parent
TEMPLATE = "page.html"
HTML, MARKDOWN = "index.html", "README.md"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    details: str = ""
    """The title of the section that says more, if there is one: the paragraph ends with a link to it."""
    lead: str = ""
    """A heading in bold, in the paragraph's first line."""

    @property
    def markdown(self) -> str:
        """The paragraph without its link."""
        return f"**{self.lead}.** {self.text}" if self.lead else self.text

    @property
    def anchor(self) -> str:
        """Where that link leads."""
        return anchor_of(self.details)


@dataclass(frozen=True)
class Grid:
    """A table of text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture beside the page, with its numbers in a CSV file of the same name."""

    file: Path
    caption: str

    @property
    def data_uri(self) -> str:
        """The picture's bytes, to be embedded in the HTML page."""
        return "data:image/png;base64," + base64.b64encode(self.file.read_bytes()).decode()


@dataclass(frozen=True)
class File:
    """A text file beside the page, with what it is."""

    file: Path
    text: str


Block = Text | Grid | Picture | File


@dataclass
class Section:
    """A part of the report with its own heading: a group of sections, a section or a subsection."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    subsections: list["Section"] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The heading's anchor in both forms of the page."""
        return anchor_of(self.title)


@dataclass(frozen=True)
class Absent:
    """A section that is left out, because the record has nothing to show in it."""

    title: str
    why: str


def anchor_of(title: str) -> str:
    """The anchor that GitHub gives a Markdown heading: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def write_page(
    title: str, opening: Sequence[Section], groups: Sequence[Section], folder: Path, *, embed: bool = False
) -> None:
    """Write both forms into the folder that holds the pictures. The contents stand between the opening sections and the
    groups.

    The HTML page links to its pictures. With `embed` it holds them, so that it can be opened where it stands alone.
    """
    (folder / HTML).write_text(html_page(title, opening, groups, embed=embed), encoding="utf-8")
    (folder / MARKDOWN).write_text(_markdown(title, opening, groups), encoding="utf-8")


def html_page(
    title: str,
    opening: Sequence[Section],
    groups: Sequence[Section],
    *,
    embed: bool = False,
    refresh_s: float | None = None,
) -> str:
    """The page as HTML. With `embed` it holds its pictures. With `refresh_s` it updates itself every so many seconds
    from where it was loaded, and its captions do not mention the CSV files, which are not there."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["grid"] = lambda block: isinstance(block, Grid)
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    environment.tests["file"] = lambda block: isinstance(block, File)
    template = environment.get_template(TEMPLATE)
    return template.render(title=title, opening=opening, groups=groups, embed=embed, refresh_s=refresh_s)


def _markdown(title: str, opening: Sequence[Section], groups: Sequence[Section]) -> str:
    lines = [f"# {title}", ""]
    for section in opening:
        lines += _markdown_section(section, level=2)
    lines += ["## Contents", ""]
    for group in groups:
        lines += _contents_lines(group)
    lines.append("")
    for group in groups:
        lines += _markdown_section(group, level=2)
    return "\n".join(lines)


def _markdown_section(section: Section, level: int) -> list[str]:
    lines = [f"{'#' * level} {section.title}", "", *_markdown_blocks(section.blocks)]
    for subsection in section.subsections:
        lines += _markdown_section(subsection, level + 1)
    return lines


def _contents_lines(section: Section, indent: str = "") -> list[str]:
    lines = [f"{indent}- [{section.title}](#{section.anchor})"]
    for subsection in section.subsections:
        lines += _contents_lines(subsection, indent + "  ")
    return lines


def _markdown_blocks(blocks: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        match block:
            case Text():
                link = f" ([{block.details}](#{block.anchor}))" if block.details else ""
                lines += [block.markdown + link, ""]
            case Picture():
                lines += [f"![{block.caption}]({block.file.name})", "", f"*{block.caption}*", ""]
            case File():
                lines += [f"{block.text}: [{block.file.name}]({block.file.name})", ""]
            case Grid():
                rows = map(_markdown_row, block.rows)
                lines += [_markdown_row(block.header), "|" + "---|" * len(block.header), *rows, ""]
    return lines


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
