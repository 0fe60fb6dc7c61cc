"""A command in surroundings that it did not choose: Ctrl-C, pipes, terminals, encodings, folders and variables."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.machine import sweep_command
from sweeps.fault import NO_FAULT
from sweeps.planning import resources
from sweeps.planning.resources import local_resources
from sweeps.running import provenance
from sweeps.running.display import Display
from sweeps.screen import print_table
from tests.conftest import ROOT, Command
from tests.options import options
from tests.specs import trial_spec
from trainable.config import Config
from trainable.trial import Epoch, TrialEnd, TrialReport

DRY = ("--data", "digits", "--studies", "tables", "--dry-run")
ODD_STUDY = """
tables:
  - {number: "90", slug: odd, title: Odd, varies: rate, rows: [{name: "±0.5…"}, {name: größer, change: {lr: 0.01}}]}
"""


def start(*arguments: str, folder: Path) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen(sweep_command(*arguments), cwd=folder, stdout=pipe, stderr=pipe, text=True)


def interrupt(process: subprocess.Popen, times: int) -> str:
    """What it says on standard error after Ctrl-C, which ends it with 130."""
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, ""), error
    return error


def test_ctrl_c_during_the_imports_is_one_line(tmp_path: Path) -> None:
    process = start(*DRY, folder=tmp_path)
    libraries = Path(f"/proc/{process.pid}/maps")
    while "pydantic_core" not in libraries.read_text():
        time.sleep(0.005)
    assert interrupt(process, 5) == "Stopped before anything was started.\n"


def test_ctrl_c_while_planning_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # it never answers
        server.settimeout(60)
        process = start(*DRY, "--tracking-uri", f"http://127.0.0.1:{server.getsockname()[1]}", folder=tmp_path)
        connection, _ = server.accept()
        with connection:
            assert interrupt(process, 3) == "Stopped before anything was started.\n"


def test_nobody_reads_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    process = start(*DRY, "--only", "7", "--json", folder=tmp_path)  # so short that it is written as the command ends
    assert process.stdout and process.stderr
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == ("", 1)


@pytest.mark.parametrize("module", ["report", "predict", "live"])
def test_a_command_of_the_analysis_ends_as_a_sweep_does(module: str) -> None:
    def start_module(*arguments: str) -> subprocess.Popen:
        command, pipe = [sys.executable, "-m", f"analysis.{module}", *arguments], subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    process = start_module("--help")
    assert process.stdout and process.stderr
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == ("", 1)
    process = start_module("nothing")
    libraries = Path(f"/proc/{process.pid}/maps")
    while "_multiarray_umath" not in libraries.read_text():  # NumPy, the first of many imports
        time.sleep(0.005)
    assert interrupt(process, 5) == "Stopped before anything was started.\n"


def test_what_an_encoding_lacks_is_spelled_out(
    sweep: Callable[..., subprocess.CompletedProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "odd.yaml").write_text(ODD_STUDY, encoding="utf-8")
    answer = sweep("--data", "digits", "--study", "odd.yaml", "--dry-run")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "+/-0.5..." in answer.stdout
    assert "gr??er" in answer.stdout


def test_a_name_that_is_no_text_is_refused(sweep: Callable[..., subprocess.CompletedProcess]) -> None:
    answer = sweep(*DRY, "--name", "\udcff")
    assert (answer.returncode, answer.stderr.splitlines()) == (
        2,
        ["error: --name '\\udcff': must be one line of printable characters without / \\"],
    )


def test_a_terminal_that_moves_no_cursor_gets_lines() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, _environ={"TERM": "dumb"})
    epoch = Epoch(number=1, seconds=1, metrics={"test_error": [0.25]})
    with Display(console, "ablations", trials=1, epochs=20) as display:
        display.trial_started("a", trial_spec(Config(), Path("nowhere"), name="one"))
        display.trial_reported("a", TrialReport(epochs=(epoch,), done=False))
        display.trial_ended("a", TrialEnd.COMPLETE, NO_FAULT)
    assert "1 of 1 trials" in screen.getvalue()
    assert "one finished with test_error 0.2500" in screen.getvalue()


def test_a_display_of_a_thousand_running_trials_fits_the_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=20, color_system=None)
    with Display(console, "ablations", trials=1000, epochs=20_000) as display:
        for number in range(1000):
            display.trial_started(str(number), trial_spec(Config(), Path("nowhere"), name=f"trial-{number}"))
    frame = screen.getvalue().rpartition("1000 running")[2]
    assert "trial-0" in frame and "trial-999" not in frame
    assert 10 < frame.count("starting") < 20 and f"and {1000 - frame.count('starting')} more" in frame


@pytest.mark.parametrize(
    ("variable", "folder", "problem"),
    [
        ("TMPDIR", "/tmp/" + "long/" * 20, "bytes too long for Ray's sockets; name a shorter folder in RAY_TMPDIR"),
        ("TMPDIR", "/dev/null", "cannot be written to; name another folder in RAY_TMPDIR"),
        ("RAY_TMPDIR", "/dev/null/below", "cannot be written to; name another folder in RAY_TMPDIR"),
        ("XDG_CACHE_HOME", "/dev/null", "XDG_CACHE_HOME names a folder in which prepared data is kept"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(
    here: Command, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str, problem: str
) -> None:
    monkeypatch.setenv(variable, folder)
    answer = here(*DRY)
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1)
    assert problem in answer.stderr


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("-1", 0), ("", 0), ("NoDevFiles", 0), ("0,1", 2), ("0,-1,1", 1), ("GPU-8a1b,MIG-77", 2), ("none", 0)],
)
def test_visible_gpus_are_counted_as_cuda_does(monkeypatch: pytest.MonkeyPatch, visible: str, gpus: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_resources().gpus == gpus


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_a_container_has_the_cores_that_its_limit_allows(
    files: dict[str, str], cpus: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    assert local_resources().cpus == (cpus or len(os.sched_getaffinity(0)))


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert options(address=None).address is None
    assert options(address="").address is None
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert options(address="").address == "auto"


def test_variables_of_other_tools_are_not_followed() -> None:
    """A git hook's repository is not the sweep's, and no warning ends it."""
    foreign = {"GIT_DIR": "/nowhere", "PYTHONWARNINGS": "error", "MLFLOW_ENABLE_ASYNC_LOGGING": "true", "TMPDIR": ""}
    script = (
        "import os, warnings, sweeps; from sweeps.running.provenance import _commit; warnings.warn('x')\n"
        f"print(_commit() != 'unknown', [name for name in {list(foreign)} if name in os.environ])"
    )
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, env=os.environ | foreign, capture_output=True, text=True, timeout=60)
    assert (answer.stdout, answer.stderr) == ("True []\n", "")


def test_installed_code_does_not_take_the_commit_of_the_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_COMMIT", "abc")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a")
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "a"]):
        subprocess.run([*git, *command], check=True)
    assert provenance._commit() not in ("abc", "unknown")
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "lib")
    assert provenance._commit() == "abc"


def test_a_narrow_terminal_gets_all_of_a_table() -> None:
    table = Table("config", "key", "rows", "seeds to run", "recorded", "forecast", box=None)
    table.add_row("batch-norm-yes", "16b9474676c05b51", "7/yes", "0", "-", "9s")
    screen = io.StringIO()
    print_table(Console(file=screen, force_terminal=True, color_system=None, width=40), table)
    assert screen.getvalue().split() == [
        *("config", "key", "rows", "seeds", "to", "run", "recorded", "forecast"),
        *("batch-norm-yes", "16b9474676c05b51", "7/yes", "0", "-", "9s"),
    ]
