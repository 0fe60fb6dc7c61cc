"""Tables are told apart by their numbers and slugs: two with the same are refused before anything starts."""

import json
from pathlib import Path

import pytest

from sweeps.studies.ablations import TABLES
from sweeps.studies.built_in import page
from sweeps.studies.registry import STUDIES
from tests.conftest import ROOT, Command


def test_a_table_with_the_number_of_another_is_refused(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are told apart by their numbers: --only, figure-7.png, the latest sweep's."""
    monkeypatch.setitem(STUDIES, "own", TABLES.model_copy(update={"name": "own", "tables": TABLES.tables[-2:-1]}))
    answer = here("--data", "digits", "--dry-run")
    taken = "error: study own: table number '7' belongs to a table of study tables; give each its own"
    assert answer.stderr.startswith(taken)


def test_the_page_of_the_built_in_studies_is_that_of_this_code() -> None:
    assert (ROOT / "docs" / "built-in-studies.md").read_text() == page()


def test_the_number_of_the_table_of_parameters_is_refused(here: Command, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("tables: [{number: '1', title: Own, rows: [{name: own}]}]\n")
    answer = here("--data", "digits", "--study", "own.yaml", "--dry-run")
    assert answer.stderr == (
        "error: study own: table number '1' is that of the report's table of parameters; give it another\n"
    )
    assert answer.returncode == 2


def test_a_table_with_the_slug_of_another_is_refused(here: Command, tmp_path: Path) -> None:
    """Pictures and trials are named by it."""
    (tmp_path / "own.yaml").write_text("tables: [{number: '90', title: Loss, rows: [{name: own}]}]\n")
    answer = here("--data", "digits", "--studies", "tables", "--study", "own.yaml", "--dry-run")
    assert answer.stderr.startswith("error: study own, table 90: slug 'loss' belongs to a table of study tables; give")
    assert answer.returncode == 2


OWN = "tables: [{number: '%s', slug: own, title: Own, varies: lr, rows: [{name: own}]}]\n"
SEARCHED = "search: {space: {lr: {low: 0.1, high: 1.0}}}\n"


@pytest.mark.parametrize("number", ["30", "31", "32"])
def test_the_numbers_of_a_searchs_tables_are_taken(number: str, here: Command, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN % number + SEARCHED)
    answer = here("--data", "digits", "--study", "own.yaml", "--dry-run")
    assert (answer.returncode, f"table number '{number}' belongs to a table of study " in answer.stderr) == (2, True)


def test_only_a_table_of_a_study_of_ones_own_runs_no_search(here: Command, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN % "40" + SEARCHED)
    arguments = ("--data", "digits", "--study", "own.yaml", "--dry-run", "--json")
    assert "search" in json.loads(here(*arguments).stdout)
    assert "search" not in json.loads(here(*arguments, "--only", "40").stdout)
    assert "search" in json.loads(here(*arguments, "--only", "40", "--studies", "own").stdout)
