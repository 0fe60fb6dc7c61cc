"""The command line: help and plans answer fast and start nothing; bad input is one line and exit code 2."""

import inspect
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from analysis import predict, report
from sweeps import full, transfer
from tests.conftest import ROOT, Command

MANY_DIGITS = "9" * 5000


def test_help_names_every_option(here: Command) -> None:
    answer = here("--help")
    assert answer.returncode == 0
    named = {"change": "set", "as_json": "json"}
    options = [named.get(name, name.replace("_", "-")) for name in inspect.signature(full.full).parameters]
    assert len(options) > 25
    for option in options:
        assert f"--{option} " in answer.stdout, option


def test_a_dry_run_is_one_json_object_and_writes_nothing(here: Command, tmp_path: Path) -> None:
    answer = here("--data", "digits", "--studies", "tables", "--dry-run", "--json")
    plan = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert (plan["rows"], plan["distinct"], plan["recorded"], plan["to_run"]) == (24, 18, 0, 18)
    assert plan["configs"][0].keys() >= {"key", "name", "config", "seeds", "rows", "forecast_s"}
    assert plan["data"]["name"] == "digits"
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_rows_resources_and_forecast(here: Command) -> None:
    answer = here("--data", "digits", "--dry-run")
    assert "32 rows, 24 distinct configs, 0 complete; 26 trials to run in about" in " ".join(answer.stdout.split())
    assert "slots of 1 CPU and 0 GPU" in " ".join(answer.stdout.split())
    assert "search: 20 samples" in answer.stdout


def test_the_total_is_of_the_tables_and_of_all_stages_of_the_search(here: Command) -> None:
    asked = ("--data", "digits", "--studies", "tables,search", "--difference-seeds", "2", "--dry-run", "--json")
    plan = json.loads(here(*asked).stdout)
    stages = ("forecast_s", "race_s", "proof_s", "differences_s")
    parts = [plan["forecast_s"], *(plan["search"][stage] for stage in stages), plan["overhead_s"]]
    assert min(parts) > 0 and plan["total_s"] == pytest.approx(sum(parts), abs=0.5)


def test_what_is_asked_for_is_planned(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(*asked: str) -> dict:
        return json.loads(here("--data", "digits", "--studies", "tables,search", *asked, "--dry-run", "--json").stdout)

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    asked = plan("--budget", "2h", "--precision", "bf16", "--difference-seeds", "1")
    assert asked["search"]["budget_left_s"] == 7200
    assert {each["config"]["precision"] for each in asked["configs"]} == {"bf16"}
    assert asked["record"]["experiment"] == "mine"
    assert 0 < asked["search"]["differences_s"] < plan("--difference-seeds", "4")["search"]["differences_s"]


def test_rows_that_an_option_makes_the_same_training_are_named(here: Command) -> None:
    same = ("--data", "digits", "--studies", "tables", "--only", "7", "--set", "batch_norm=true", "--dry-run")
    assert "table 7: no and yes are the same training" in here(*same).stdout
    assert json.loads(here(*same, "--json").stdout)["same_trainings"] == [{"table": "7", "rows": ["no", "yes"]}]


@pytest.mark.parametrize(("asked", "epochs"), [((), 1), (("--epochs", "3"), 3)])
def test_a_large_network_is_short_on_a_cpu_unless_asked_otherwise(
    asked: tuple[str, ...], epochs: int, here: Command
) -> None:
    plan = json.loads(here("--data", "digits", "--studies", "vgg", *asked, "--dry-run", "--json").stdout)
    assert {config["config"]["epochs"] for config in plan["configs"]} == {epochs}


def test_one_table_alone_brings_no_search_unless_it_is_named(here: Command) -> None:
    arguments = ("--data", "digits", "--only", "3", "--dry-run", "--json")
    alone, named = (json.loads(here(*arguments, *more).stdout) for more in ((), ("--studies", "tables,search")))
    assert ("search" in alone, "search" in named) == (False, True)


def test_a_dry_run_forecasts_a_cluster_that_is_yet_to_be_in_time_and_money(here: Command) -> None:
    asks = ("--dry-run", "--json", "--gpus-per-trial", "0.25", "--prices", "gpu=1000,head=10")
    small, large = (json.loads(here("--data", "digits", "--slots", slots, *asks).stdout) for slots in ("1", "16"))
    assert large["slots"] == 16
    busy_s, overhead_s = small["total_s"] - small["overhead_s"], large["overhead_s"]
    assert large["total_s"] - overhead_s < busy_s / 4 and small["overhead_s"] == overhead_s > 60
    slot_hours = busy_s / 3600  # one slot is busy from start to end
    assert small["cost"] == pytest.approx(slot_hours * 0.25 * 1000 + small["total_s"] / 3600 * 10, abs=0.1)
    assert large["cost"] == pytest.approx(slot_hours * 250 + large["total_s"] / 3600 * 10, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"torch", "ray", "mlflow", "scipy"}),
        (["--epochs", "0"], {"torch", "ray", "mlflow", "scipy"}),
        (["--data", "digits", "--dry-run", "--json"], {"torch", "ray"}),
    ],
)
def test_what_starts_no_sweep_waits_for_no_heavy_import(arguments: list[str], heavy: set[str]) -> None:
    script = (
        "import sys; from contextlib import suppress\n"
        "from sweeps.full import app, UsageError\n"
        f"with suppress(UsageError): app({arguments}, standalone_mode=False)\n"
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.stderr.strip().endswith("[]")


def test_a_dry_run_without_the_data_still_plans(here: Command) -> None:
    plan = json.loads(here("--studies", "tables", "--dry-run", "--json").stdout)
    assert plan["data"] == {
        "name": "cifar10", "fingerprint": "unknown", "form": "to be downloaded",
        "classes": 10, "size": 32, "train": 50_000, "test": 10_000,
    }  # fmt: skip
    assert plan["distinct"] == 18


def test_the_environment_is_honoured(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "--tracking-uri http://127.0.0.1:9" in here("--data", "digits", "--dry-run").stderr
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "--address 127.0.0.1:9" in here("--data", "digits", "--dry-run").stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--studies", "tabels"],
            "--studies 'tabels' is unknown (did you mean tables?); allowed: tables, corrections, envelope, ",
        ),
        (["--studies", ""], "--studies: name one at least; known: tables"),
        (["--only", "99"], "--only '99' is not a table of the chosen studies; allowed: 2, 3, 4, 5, 6, 7, 8, 4b"),
        (["--data", "cifar100"], "--data 'cifar100' is unknown (did you mean cifar10?); allowed: cifar10, digits"),
        (["--data", "cifar10", "--data-dir", "nowhere"], "nowhere: no such folder"),
        (["--epochs", "0"], "--epochs 0: should be greater than or equal to 1"),
        (["--epochs", "-3"], "--epochs -3: should be greater than or equal to 1"),
        (["--epochs", "many"], "Invalid value for '--epochs': Input should be a valid integer"),
        (["--seeds", "0"], "--seeds 0: should be greater than or equal to 1"),
        (["--samples", "-1"], "--samples -1: should be greater than or equal to 1"),
        (["--cpus-per-trial", "0"], "--cpus-per-trial 0.0: should be greater than or equal to 0.001"),
        (["--cpus-per-trial", "1e-300"], "--cpus-per-trial 1e-300: should be greater than or equal to 0.001"),
        (["--cpus-per-trial", "inf"], "--cpus-per-trial inf: should be less than or equal to 10000"),
        (["--cpus-per-trial", "nan"], "--cpus-per-trial nan: should be "),
        (["--gpus-per-trial", "1e-9"], "--gpus-per-trial 1e-09: must be 0 or at least 0.001"),
        (["--cpus-per-trial", "4000"], "--cpus-per-trial 4000: the largest node has"),
        (["--gpus-per-trial", "-1"], "--gpus-per-trial -1.0: should be greater than or equal to 0"),
        (["--gpus-per-trial", "64"], "--gpus-per-trial 64: the largest node has"),
        (
            ["--gpus-per-trial", "2", "--slots", "4", "--dry-run"],
            "--gpus-per-trial 2: a trial trains on one GPU; allowed: at most 1",
        ),
        (["--gpus-per-trial", "1.5"], "--gpus-per-trial 1.5 must be a fraction below 1 or a whole number"),
        (["--gpus-per-trial", "1"], "without GPUs (--gpus-per-trial 0) the sweep takes about"),
        (
            ["--studies", "search", "--gpus-per-trial", "1", "--budget", "10", "--prices", "gpu=0.5"],
            "the largest node has 0",
        ),
        (["--gpu-memory-per-trial", "4", "--gpus-per-trial", "0"], "--gpu-memory-per-trial needs --gpus-per-trial"),
        (["--slots", "8"], "--slots 8: is for a cluster; give --address too, or --dry-run"),
        (["--slots", "0"], "--slots 0: should be greater than or equal to 1"),
        (["--slots", "99999999999"], "--slots 99999999999: should be less than or equal to 100000"),
        (["--slots", MANY_DIGITS], "Invalid value for '--slots': Unable to parse input string as an integer"),
        (["--seeds", "1000000"], "--seeds 1000000: should be less than or equal to 1000"),
        (["--samples", "1000000"], "--samples 1000000: should be less than or equal to 10000"),
        (["--epochs", "1000000"], "--epochs 1000000: should be less than or equal to 100000"),
        (["--proof-seeds", "1000000"], "--proof-seeds 1000000: should be less than or equal to 1000"),
        (["--prices", "gpu=²"], "--prices 'gpu=²' must be one of gpu=PRICE, cpu=PRICE, head=PRICE"),
        (["--prices", f"gpu={MANY_DIGITS}"], "99... must be one of gpu=PRICE, cpu=PRICE, head=PRICE"),
        (["--budget", MANY_DIGITS], "99... must be a time"),
        (["--only", "2", "--samples", "3"], "--samples 3: with --only a search runs only if --studies names its study"),
        (["--data-dir", "/x"], "--data-dir /x: the digits are not read from a folder"),
        (["--studies", "tables", "--budget", "2h"], "--budget 2h: no chosen study has a search"),
        (["--studies", "search", "--calibrate", "2", "--budget", "2h"], "--budget 2h: --calibrate runs in place of"),
        (["--studies", "search-long", "--epochs", "30000"], "config field 'epochs': 150000"),
        (["--address", "local", "--slots", "8"], "--slots 8: is for a cluster; give --address too, or --dry-run"),
        (
            ["--studies", "search", "--budget", "12.5", "--prices", "gpu=0.55"],
            "--budget 12.5: money needs the price of what the trials run on; --prices has only gpu",
        ),
        (["--set", f"lr={MANY_DIGITS}"], "Exceeds the limit (4300 digits)"),
        (["--set", f"channels={'[' * 20_000}"], "error: --set 'channels=[[["),
        (["--set", "batch_norm=true", "--set", "lr=true"], "config field 'lr': True should not be true or false"),
        (["--set", "channels=[true,8]"], "config field 'channels': [True, 8] should not be true or false"),
        (["--name", ""], "--name '': must be one line of printable characters"),
        (["--name", "n" * 201], "must be at most 100 bytes long"),
        (["--prices", "gpu=cheap"], "--prices 'gpu=cheap' must be one of gpu=PRICE, cpu=PRICE, head=PRICE"),
        (["--prices", "disk=1"], "--prices 'disk=1' must be one of gpu=PRICE, cpu=PRICE, head=PRICE"),
        (["--data", "cifar10", "--data-dir", "nothing://x"], "--data-dir nothing://x: cannot be read"),
        (["--address", "127.0.0.1:9"], "--address 127.0.0.1:9: no Ray cluster there"),
        (["--address", "nonsense"], "--address nonsense: no Ray cluster there: expected auto, HOST:PORT or ray://"),
        (["--tracking-uri", "http://127.0.0.1:9"], "--tracking-uri http://127.0.0.1:9: the server cannot be reached"),
        (["--tracking-uri", "ftp://x"], "--tracking-uri ftp://x: "),
        (["--tracking-uri", "./mlruns"], "--tracking-uri ./mlruns: MLflow keeps no record in a plain folder"),
        (["--storage-path", "/proc/nowhere"], "--storage-path /proc/nowhere: cannot be written"),
        (["--set", "optimizer=adamm"], "config field 'optimizer': 'adamm' should be adam, adamw, "),
        (["--set", "learning_rate=1"], "config field 'learning_rate' is unknown; allowed: data, "),
        (["--set", "batch_size=64"], "--set batch_size: the search of study search decides it"),
        (
            ["--set", "loss=hinge"],
            "study search, its search space: config field label_smoothing: 0.2 has no effect here",
        ),
        (["--set", "lr=0.1", "--calibrate", "2"], "--set lr: the search of study search decides it"),
        (["--studies", "tables", "--calibrate", "2"], "--calibrate 2: none of the chosen studies has a search"),
        (["--studies", "tables,search", "--calibrate", "2", "--only", "6"], "--calibrate 2 is table 15, which --only"),
        (["--set", "lr"], "error: --set 'lr' must be FIELD=VALUE"),
        (["--precision", "fp16"], "--precision 'fp16' is unknown (did you mean bf16?); allowed: fp32, bf16"),
        (["--set", "precision=bf16"], "--set 'precision=bf16': use --precision"),
        (["--set", "epochs=3"], "error: --set 'epochs=3': use --epochs"),
        (["--json"], "--json needs --dry-run"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], problem: str, here: Command, tmp_path: Path) -> None:
    answer = here(*([] if "--data" in arguments else ["--data", "digits"]), *arguments)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert problem in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert len(answer.stderr) < 1000
    assert not (tmp_path / "mlflow.db").exists(), "nothing was recorded"


def test_an_address_that_is_no_address_is_one_line(here: Command) -> None:
    answer = here("--data", "digits", "--address", "[")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
    assert "--address [: no Ray cluster there" in answer.stderr


def test_a_folder_of_something_else_is_refused(here: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("no images")
    for folder, problem in (("empty", "the folder is empty"), ("other", "no CIFAR-10 here (found notes.txt)")):
        answer = here("--data-dir", folder)
        assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
        assert problem in answer.stderr


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Something that listens and is no Ray and no MLflow: it accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_never_answers_is_given_up(here: Command, silent_server: str) -> None:
    answer = here("--data", "digits", "--tracking-uri", f"http://{silent_server}")
    assert answer.returncode == 2
    assert "the server cannot be reached" in answer.stderr


@pytest.mark.parametrize(
    ("app", "arguments"), [(report.app, ["out"]), (predict.app, ["cat.png"]), (transfer.app, ["export", "out"])]
)
def test_every_command_gives_it_up(app: typer.Typer, arguments: list[str], here: Command, silent_server: str) -> None:
    answer = here(*arguments, "--tracking-uri", f"http://{silent_server}", app=app)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
    assert "the server cannot be reached" in answer.stderr
