"""The tables for other programs: LaTeX, and one CSV file of every trial and seed."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.writing.latex import LATEX, escape, write_latex
from analysis.writing.page import Grid, Section
from tests.analysis_records import TAGS, Recorded, page_of, sweep, table, trial
from trainable.config import Config

SPECIAL = r"&%$#_{}\~^"


def test_no_character_of_a_cell_is_a_command() -> None:
    text = escape(f"a{SPECIAL}b <c> |d| 0.1 ± 0.2\n\nnext")
    bare = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\$(\\pm|\\times|[<>|])\$|\\[&%$#_{}]", "", text
    )
    assert not set(SPECIAL) & set(bare), bare
    assert text.startswith(r"a\&\%\$\#\_\{\}\textbackslash{}\textasciitilde{}\textasciicircum{}b $<$c$>$")
    assert text.endswith(r"0.1 $\pm$ 0.2 next")


def test_a_table_has_its_section_as_caption_and_as_many_cells_as_columns(tmp_path: Path) -> None:
    wide = Grid(("name", "what it is"), [("a & b", "word " * 40), ("c", "d")])
    plain = Grid(("", ""), [("one", "two")])
    group = Section("Group", [], [Section("50% of A", [wide, plain])])
    text = write_latex([group], tmp_path / LATEX).read_text()
    tables = re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.DOTALL)
    assert len(tables) == 2 == text.count(r"\toprule") == text.count(r"\bottomrule")
    assert re.findall(r"\\caption\{(.*)\}", text) == [r"50\% of A"] * 2
    assert re.findall(r"\\label\{(.*)\}", text) == ["tab:50-of-a", "tab:50-of-a-2"]
    assert re.search(r"\\begin\{tabular\}\{l>.*p\{0\.[89]\d+\\linewidth\}\}", tables[0]), "the rest of the line"
    assert r"\begin{tabular}{ll}" in tables[1]
    assert r"a \& b & word" in tables[0] and r"\midrule" in tables[0]
    assert r"\midrule" not in tables[1], "an empty header has no line"
    for line in [line for each in tables for line in each.splitlines() if line.endswith(r"\\")]:
        assert len(re.findall(r"(?<!\\)&", line)) == 1, line


def test_wide_columns_share_what_the_others_leave_of_the_line(tmp_path: Path) -> None:
    grid = Grid(("name", "one", "two", "seeds"), [("a", "word " * 20, "long_name,list,of,words " * 9, "0 to 9")])
    text = write_latex([Section("Wide", [grid])], tmp_path / LATEX).read_text()
    (form,) = re.findall(r"\\begin\{tabular\}\{(.*)\}", text)
    shares = [float(share) for share in re.findall(r"p\{([\d.]+)\\linewidth\}", form)]
    assert (form[0], form[-1], len(shares)) == ("l", "l", 2) and shares[0] == pytest.approx(shares[1], abs=0.02)
    assert 0.6 < sum(shares) < 0.85
    assert r"long\_\allowbreak{}name,\allowbreak{}list" in text, "a line can break in a list without spaces"


def test_a_table_that_is_longer_than_a_page_breaks_across_pages(tmp_path: Path) -> None:
    short, long, tall = (
        Grid(("number", "text"), [(str(number), text) for number in range(rows)])
        for rows, text in ((40, "one"), (41, "one"), (9, "word " * 80))
    )
    text = write_latex([Section("Rows", [short, long, tall])], tmp_path / LATEX).read_text()
    assert re.findall(r"\\begin\{(table|longtable)\}", text) == ["table", "longtable", "longtable"]
    assert text.count(r"number & text \\") == 5, "each page of a long table has the header"
    packages = re.search(r"\\usepackage\{(.*?)\}", text)
    assert packages and packages[1] == "array,booktabs,longtable"


def test_every_table_of_the_page_is_in_the_latex(tmp_path: Path) -> None:
    page = page_of(tmp_path, Recorded([trial("baseline", {0: [0.3]}, Config())], sweep(table())))
    text = (tmp_path / LATEX).read_text()
    assert (
        len(re.findall(r"\\begin\{(?:long)?table\}", text))
        == len(re.findall(r"^\|(?:---\|)+$", page, re.MULTILINE))
        > 3
    )
    assert r"\caption{Table 3. Loss}" in text and r"cross-entropy & 0.1500 @1" in text


def test_everything_has_a_line_for_each_trial_and_seed(tmp_path: Path) -> None:
    machine = TAGS | {"host": "node-1", "device": "cuda", "study": "tables"}
    both = trial("baseline", {0: [0.4, 0.3, 0.35], 2: [0.5, 0.4, 0.6]}, Config(), tags=machine)
    both = replace(both, histories=both.histories | {"epoch_s": [(1, 2.0), (2, 2.5), (3, 3.0)]})
    failed = trial("lost", {}, Config(channels=(4, 8)), seeds=(0,), status="FAILED", tags=TAGS | {"outcome": "failed"})
    again = table().model_copy(update={"number": "7", "slug": "again", "rows": table().rows[:1]})
    page_of(tmp_path, Recorded([both, failed], sweep(table(), again)))
    with (tmp_path / "everything.csv").open() as stream:
        first, second, third = csv.DictReader(stream)
    assert (first["table"], first["row"], first["sweep"]) == ("3; 7", "cross-entropy; cross-entropy", "first")
    assert (first["seed"], second["seed"], first["lr"], first["channels"]) == ("0", "2", "0.001", "16 32")
    assert [second[f"held-out error, {what}"] for what in ("last", "best", "epoch of the best")] == ["0.6", "0.4", "2"]
    assert (second["train error, best"], second["epochs trained"], second["trial's seconds"]) == ("0.2", "3", "7.5")
    assert (first["host"], first["device"], first["outcome"]) == ("node-1", "cuda", "complete")
    assert (third["outcome"], third["channels"], third["epochs trained"], third["train error, last"]) == (
        "failed",
        "4 8",
        "0",
        "",
    )
