"""A broken loss, optimizer or schedule of one's own is one line before anything starts. A broken network is in
test_broken_networks.py."""

from pathlib import Path

import pytest

from tests.conftest import Command
from tests.own_code import SAM, write_study

DIGITS = ("--data", "digits", "--epochs", "1")
COUNT = "from itertools import count\nn = count(1)\n"
SGD = "from torch.optim import SGD\ndef optimizer(parameters, lr, weight_decay): "
FORGETFUL = """
import torch

class Forgetful(torch.optim.Optimizer):
    steps = 0
    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.sub_(parameter.grad, alpha=group["lr"] * self.steps)

def optimizer(parameters, lr, weight_decay):
    return Forgetful(parameters, {"lr": lr})
"""


@pytest.mark.parametrize(
    ("field", "code", "problem"),
    [
        ("loss", "x = 1", "must define a function loss"),
        ("loss", "def loss(network, images): pass", "loss(): TypeError: loss() takes 2 positional arguments"),
        ("loss", "def loss(network, images, labels, a=1): pass", "loss(a=1): remove the default, and give the"),
        ("loss", "def loss(*batch): return 3", "for 4 images it must return 4 losses, and returned int"),
        ("loss", "def loss(n, i, l): return n(i)", "must return 4 losses, and returned torch.float32 (4, 10)"),
        ("loss", "def loss(n, i, l): return n(i).argmax(1)", "and returned torch.int64 (4,)"),
        ("loss", "def loss(n, i, l): return i.sum((1, 2, 3))", "its losses do not depend on the network's parameters"),
        ("loss", "def loss(n, i, l): return n(i).sum(1) * 1e39", "its losses must be finite, and are ["),
        ("loss", COUNT + "def loss(n_, i, l): return n_(i).sum(1) * next(n)", "gives other losses: draw"),
        ("loss", "def loss(n, i, l):\n    return n(i).nonsense()", "loss(): line 2: AttributeError: 'Tensor' object"),
        ("optimizer", "def optimizer(*given): return 3", "it must return a torch.optim.Optimizer, and returned int"),
        ("optimizer", SGD + "return SGD(parameters, lr=lr, weight_decay=-1)", "optimizer(): line 2: ValueError"),
        ("optimizer", SGD + "return SGD(parameters, lr=lr).step", "and returned method"),
        ("optimizer", SAM.replace("closure()", "closure(1)"), "its step: line 12: TypeError: "),
        ("optimizer", FORGETFUL, "with its state saved and loaded, it takes another step: keep in `state` what a step"),
        ("schedule", "def schedule(done): return -1", "at 0 it must return a finite number from 0 on, and returned -1"),
        ("schedule", "def schedule(done): return 1 / (1 - done)", "schedule(): line 1: ZeroDivisionError"),
        ("schedule", "def schedule(done): return 'slow'", "and returned 'slow'"),
        ("schedule", COUNT + "def schedule(done): return next(n)", "draw no random"),
        ("optimizer", FORGETFUL.replace("data.sub_", "data = parameter.sub"), "in place, as with `add_`"),
    ],
)  # fmt: skip
def test_broken_code_is_one_line_and_starts_nothing(
    field: str, code: str, problem: str, here: Command, tmp_path: Path
) -> None:
    write_study(tmp_path, field, code)
    answer = here(*DIGITS, "--study", "mine.yaml")
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1), answer.stderr
    assert answer.stderr.startswith(f"error: table 44, row mine: {field} mine.py: ") and problem in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "mine.yaml"], (
        "nothing was started or written"
    )
