"""A broken network of one's own, or a study that names one wrongly, is one line before anything starts."""

from pathlib import Path

import pytest

from tests.conftest import Command
from tests.own_networks import NETWORK, SEARCH, STUDY, write_study
from trainable.config import MOST_CHARACTERS

DIGITS = ("--data", "digits", "--epochs", "1")


def changed(old: str, new: str) -> str:
    """The network's text with a change."""
    assert old in NETWORK
    return NETWORK.replace(old, new)


FLAT = "x.view(x.size(0), -1)"
BROKEN = [
    ("def network(width, pieces): return 3", "it must return a torch.nn.Module, and returned int"),
    ("x = 1", "must define a function network"),
    ("import nonsense", "line 1: ModuleNotFoundError: No module named 'nonsense'"),
    ("def network(:", "SyntaxError"),
    ("raise SystemExit", "line 1: SystemExit"),
    ("import sys\ndef network(width, pieces): sys.exit(3)", "network(width=2, pieces=1): line 2: SystemExit: 3"),
    ("network = dict", "ValueError: no signature found"),
    (
        "def network(width): pass",
        "network(width=2, pieces=1): TypeError: network() got an unexpected keyword argument 'pieces'",
    ),
    ("#" * MOST_CHARACTERS, "characters as JSON; allowed: 64,000"),
    (changed("network(width, pieces)", "network(width, pieces=1)"), "network(pieces=1): remove the default"),
    (changed("nn.Linear(width * 64, 10)", "nn.LazyLinear(10)"), "rest.0.weight is a lazy parameter"),
    (changed("width * 64", "width"), "on images (2, 3, 32, 32): line 14: RuntimeError: addmm: mat1"),
    (changed(FLAT, "x.view(2, -1)"), "on images (3, 3, 32, 32): line 14: RuntimeError: addmm: mat1"),
    (changed(", 10)", ", 9)"), "for 2 images it must return scores (2, 10), and returned a tensor (2, 9)"),
    (changed("in self.rest)", "in self.rest).detach()"), "the scores do not depend on any parameter"),
    (
        changed("self.rest =", "self.idle = nn.Linear(2, 2)\n        self.rest ="),
        "idle.weight does not act on the scores",
    ),
    (changed("self.rest =", "self.first.requires_grad_(False)\n        self.rest ="), "first.weight has requires_grad"),
    (changed(FLAT, "(x - x.mean(0)).flatten(1)"), "it gives other scores to the same images"),
    (
        changed("return Net(width", "import random\n    return Net(width + random.getrandbits(5)"),
        "draw random numbers with",
    ),
]


@pytest.mark.parametrize(("code", "problem"), BROKEN)
def test_a_broken_network_is_one_line_and_starts_nothing(
    code: str, problem: str, here: Command, tmp_path: Path
) -> None:
    write_study(tmp_path, network=code)
    answer = here(*DIGITS, "--study", "own.yaml")
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1), answer.stderr
    assert answer.stderr.startswith("error: ") and "net.py" in answer.stderr and problem in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.py", "own.yaml"], "nothing was started or written"


@pytest.mark.parametrize(
    ("study", "problem"),
    [
        (STUDY.replace("net.py", "none.py"), "own.yaml, line 2, baseline: network none.py: cannot be read"),
        (STUDY.replace("batch_size: 256", "epochs: 3"), "baseline: epochs: the sweep's option --epochs decides it"),
        (STUDY.replace("batch_size: 256", "lr: fast"), "line 5, baseline.lr: 'fast' should be a valid number"),
        ("baseline: {network: net.py}\n" + SEARCH, "network(width=5): TypeError: network() missing 1 required"),
        (
            SEARCH.replace("[width]", ""),
            "network_arguments is unknown (did you mean network_arguments[NAME]?); allowed: data",
        ),
    ],
)
def test_a_study_with_a_mistake_is_one_line(study: str, problem: str, here: Command, tmp_path: Path) -> None:
    write_study(tmp_path, study)
    answer = here(*DIGITS, "--study", "own.yaml", "--dry-run")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert problem in answer.stderr
