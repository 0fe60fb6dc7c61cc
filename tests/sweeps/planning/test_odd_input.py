"""Whatever stands in a file or an option: it is taken, or refused in one line, and nothing is left behind."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sweeps.planning.allocate import allocate_dry
from sweeps.planning.forecast import make_forecast
from sweeps.planning.prepare import prepare
from sweeps.planning.sweep_plan import plan_sweep
from sweeps.studies.config_file import read_config
from sweeps.studies.study_file import read_study
from tests.options import options
from trainable.config import Config
from trainable.errors import DataError, UsageError
from trainable.search_definition import SearchDefinition
from trainable.study import Row, Study, Table

MANY = settings(
    derandomize=True, max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
FIELDS = st.sampled_from(
    sorted(
        {
            *Config.model_fields,
            *Study.model_fields,
            *Table.model_fields,
            *Row.model_fields,
            *SearchDefinition.model_fields,
        }
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["1e999", "-0.0", ".nan", "0.1", "1e-3", "adam", "relu", "digits", "tables", "3", "{}", "a,b"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | SCALARS, inner, max_size=4),
    max_leaves=12,
)


def refused_or_taken(act: Callable[[], object]) -> None:
    """Bad input is a `UsageError` whose message names a value, and no other exception; nothing is written."""
    before = sorted(os.listdir())
    try:
        act()
    except (UsageError, DataError) as error:
        assert str(error).strip(), "it says nothing"
    assert sorted(os.listdir()) == before


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def in_file(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    file = Path(name)
    file.write_bytes(content)
    refused_or_taken(lambda: read(file))


def planned(**odd: Any) -> None:
    """Up to the forecast, which is all that is done before anything is started."""
    prepared = prepare(options(**QUICK | odd), dry=True)
    allocation = allocate_dry(prepared)
    make_forecast(prepared, plan_sweep(prepared, allocation), allocation).as_json()


@MANY
@given(VALUES)
def test_any_yaml(content: Any) -> None:
    text = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")
    in_file("x.yaml", text, read_study)
    in_file("x.yaml", text, read_config)


ROW = {"name": "a"}
TABLE = {"number": "90", "slug": "x", "title": "x", "varies": "x", "rows": [ROW]}
STUDY = {"tables": [TABLE], "search": {"space": {"lr": {"low": 0.001, "high": 0.1, "log": True}}}}
CONFIG = {"name": "mine", "config": {"data": "digits", "epochs": 1, "channels": [4, 8]}}


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """The ways to all values in a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(way for key, child in children for way in places(child, (*at, key)))]


def replaced(value: Any, at: tuple, new: Any) -> Any:
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = replaced(value[at[0]], at[1:], new)
    return copy


def added(value: Any, at: tuple, key: Any, new: Any) -> Any:
    """The document with one more entry in a mapping at that place, or in its place where it is none."""
    target = value
    for part in at:
        target = target[part]
    return replaced(value, at, {**target, key: new} if isinstance(target, dict) else new)


@MANY
@given(st.sampled_from(places(STUDY)), FIELDS | SCALARS, VALUES)
def test_a_study_with_one_odd_value(at: tuple, key: Any, value: Any) -> None:
    for document in (replaced(STUDY, at, value), added(STUDY, at, key, value)):
        in_file("x.yaml", yaml.safe_dump(document).encode("utf-8", "surrogatepass"), lambda file: planned(study=file))


@MANY
@given(st.sampled_from(places(CONFIG)), FIELDS | SCALARS, VALUES)
def test_a_config_with_one_odd_value(at: tuple, key: Any, value: Any) -> None:
    for document in (replaced(CONFIG, at, value), added(CONFIG, at, key, value)):
        text = yaml.safe_dump(document).encode("utf-8", "surrogatepass")
        in_file("x.yaml", text, lambda file: planned(config=file, quick=False))


@MANY
@given(st.binary(max_size=60) | st.text(alphabet="{}[]:-&*!|>'\"#%@`,? \n\tab1", max_size=60).map(str.encode))
@example(b"a: &a [*a]")
@example(b"&a {name: x, tables: [*a]}")
@example(b"? [a]\n: b")
@example(b"a: !!timestamp 2000-99-99")
@example(b"a: !!binary x")
@example(b"!!set {name, config}")
@example(b"[" * 1500)
def test_any_bytes(content: bytes) -> None:
    in_file("x.yaml", content, read_study)
    in_file("x.yml", content, read_config)


ODD_WORDS = """, = lr=1 lr= =1 lr=[ lr=1e999 channels=[1] 2h 1e9h gpu=1 gpu=1,gpu=2 tables 3 sqlite:/// sqlite:///:memory:
:// http://[ a://[ s3:// ~nobody/x"""
WORDS = st.text(max_size=30) | st.sampled_from(["", "a\x00b", "\ud800", "x" * 5000, *ODD_WORDS.split()])
TEXT_OPTIONS = """studies only budget prices data data_dir precision experiment storage_path name tracking_uri"""
NUMBER_OPTIONS = """epochs seeds samples calibrate proof_seeds difference_seeds gpus_per_trial gpu_memory_per_trial
cpus_per_trial slots"""
CHANGES = {"change": st.lists(WORDS, min_size=1, max_size=2)}
TEXTS: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(TEXT_OPTIONS.split(), WORDS) | CHANGES
NUMBERS = dict.fromkeys(
    NUMBER_OPTIONS.split(), st.integers() | st.sampled_from([float("inf"), float("nan"), -0.0, 0.5])
)
QUICK = {"quick": True, "data": None}


@MANY
@given(st.fixed_dictionaries({}, optional=TEXTS | NUMBERS).filter(bool))
def test_any_options(odd: dict[str, Any]) -> None:
    refused_or_taken(lambda: options(**QUICK | odd))


@MANY
@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_one_odd_option_up_to_the_plan(option: str, drawn: st.DataObject) -> None:
    odd = drawn.draw(TEXTS[option])
    data = {"data": "cifar10", "quick": False} if option == "data_dir" else {}
    refused_or_taken(lambda: planned(**data | {option: odd}))
