"""The form of the report: sections of text, tables and pictures, written as one HTML file and as Markdown."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

TEMPLATES = Path(__file__).parent
HTML, MARKDOWN = "index.html", "README.md"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    details: str = ""
    """The title of the section that says more, if there is one: the paragraph ends with a link to it."""

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


Block = Text | Grid | Picture


@dataclass
class Section:
    """A part of the report with its own heading. A subsection has no subsections of its own."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    subsections: list["Section"] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The heading's anchor in both forms of the page."""
        return anchor_of(self.title)


def anchor_of(title: str) -> str:
    """The anchor that GitHub gives a Markdown heading: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def write_page(title: str, sections: Sequence[Section], folder: Path) -> None:
    """Write both forms into the folder that holds the pictures. The contents follow the first section, the summary."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["grid"] = lambda block: isinstance(block, Grid)
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    summary, *details = sections
    html = environment.get_template("page.html").render(title=title, summary=summary, sections=details)
    (folder / HTML).write_text(html, encoding="utf-8")
    (folder / MARKDOWN).write_text(_markdown(title, summary, details), encoding="utf-8")


def _markdown(title: str, summary: Section, sections: Sequence[Section]) -> str:
    lines = [f"# {title}", "", f"## {summary.title}", "", *_markdown_blocks(summary.blocks), "## Contents", ""]
    for section in sections:
        lines.append(_contents_line(section))
        lines += [f"  {_contents_line(subsection)}" for subsection in section.subsections]
    lines.append("")
    for section in sections:
        lines += [f"## {section.title}", "", *_markdown_blocks(section.blocks)]
        for subsection in section.subsections:
            lines += [f"### {subsection.title}", "", *_markdown_blocks(subsection.blocks)]
    return "\n".join(lines)


def _contents_line(section: Section) -> str:
    return f"- [{section.title}](#{section.anchor})"


def _markdown_blocks(blocks: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        match block:
            case Text():
                link = f" ([{block.details}](#{block.anchor}))" if block.details else ""
                lines += [block.text + link, ""]
            case Picture():
                lines += [f"![{block.caption}]({block.file.name})", "", f"*{block.caption}*", ""]
            case Grid():
                rows = map(_markdown_row, block.rows)
                lines += [_markdown_row(block.header), "|" + "---|" * len(block.header), *rows, ""]
    return lines


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
