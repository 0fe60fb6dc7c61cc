"""A report as sections of text, tables and pictures, written as one self-contained HTML page and as Markdown."""

import base64
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


@dataclass(frozen=True)
class Grid:
    """A table of text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture that lies beside the page, with its numbers as CSV under the same name."""

    file: Path
    caption: str

    @property
    def data_uri(self) -> str:
        """The picture inside the page."""
        return "data:image/png;base64," + base64.b64encode(self.file.read_bytes()).decode()


Block = Text | Grid | Picture


@dataclass
class Section:
    """A part of the report."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """What it says in a sentence or two, for the page's beginning."""


def write_page(title: str, sections: Sequence[Section], folder: Path) -> None:
    """Write both forms into the folder that holds the pictures."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["grid"] = lambda block: isinstance(block, Grid)
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    html = environment.get_template("page.html").render(title=title, sections=sections)
    (folder / HTML).write_text(html, encoding="utf-8")
    (folder / MARKDOWN).write_text(_markdown(title, sections), encoding="utf-8")


def _markdown(title: str, sections: Sequence[Section]) -> str:
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            match block:
                case Text():
                    lines += [block.text, ""]
                case Picture():
                    lines += [f"![{block.caption}]({block.file.name})", "", f"*{block.caption}*", ""]
                case Grid():
                    lines += [_line(block.header), "|" + "---|" * len(block.header), *map(_line, block.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
