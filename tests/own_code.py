"""Losses, optimizers and a schedule of one's own, as files."""

import re
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from trainable.own_code.code_file import CodeFile

EXAMPLES = ROOT / "docs" / "studies"
CROSS_ENTROPY = """
from torch.nn import functional as F

def loss(network, images, labels, smoothing):
    return F.cross_entropy(network(images), labels, reduction="none", label_smoothing=smoothing)
"""
ADAM = """
from torch.optim import Adam

def optimizer(parameters, lr, weight_decay, beta):
    return Adam(parameters, lr=lr, weight_decay=weight_decay, betas=(beta, 0.999), fused=True)
"""
COSINE = """
from math import cos, pi

def schedule(done, floor):
    return floor + (1 - floor) * (1 + cos(pi * done)) / 2
"""
ATTACK = """
import torch
from torch.nn import functional as F

def loss(network, images, labels, size):
    images = images.requires_grad_()
    gradient, = torch.autograd.grad(F.cross_entropy(network(images), labels), images)
    return F.cross_entropy(network((images + size * gradient.sign()).detach()), labels, reduction="none")
"""

TWICE = """
import torch

class Twice(torch.optim.SGD):
    def step(self, closure):
        before = [parameter.grad.clone() for group in self.param_groups for parameter in group["params"]]
        assert closure() > 0
        after = [parameter.grad for group in self.param_groups for parameter in group["params"]]
        assert all(torch.allclose(*pair) for pair in zip(before, after))
        super().step()

def optimizer(parameters, lr, weight_decay):
    return Twice(parameters, lr=lr, weight_decay=weight_decay)
"""
COUNTING = """
import torch

class Counting(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        self.state["steps"] = self.state.get("steps", 0) + 1
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.state.setdefault(parameter, torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 0.1)
                parameter.sub_(average, alpha=group["lr"] / self.state["steps"])

def optimizer(parameters, lr, weight_decay):
    print("text that is no part of a plan")
    return Counting(parameters, {"lr": lr})
"""
CONTRASTIVE = """
import torch

def loss(network, images, labels):
    scores = network(images)
    alike = (scores @ scores.T).log_softmax(1)
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
    return -(alike * same).sum(1) / same.sum(1)
"""
SAM = """
import torch

class SAM(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure):
        group, = self.param_groups
        norm = torch.stack([p.grad.norm() for p in group["params"]]).norm()
        moves = [0.05 * p.grad / norm for p in group["params"]]
        for p, move in zip(group["params"], moves):
            p.add_(move)
        closure()
        for p, move in zip(group["params"], moves):
            p.sub_(move)
        super().step()

def optimizer(parameters, lr, weight_decay):
    return SAM(parameters, lr=lr, weight_decay=weight_decay, momentum=0.9)
"""


ON_THE_PAGE = re.findall("```python\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
"""The Python code of docs/studies/README.md."""
SOFTMAX_REGRESSION = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n" + ON_THE_PAGE[2]


def own(field: str, code: str, **arguments: Any) -> dict[str, Any]:
    """The field as a file, with its arguments."""
    return {field: CodeFile(file="own.py", code=code), f"{field}_arguments": arguments}


def example(field: str, name: str, **arguments: Any) -> dict[str, Any]:
    """The same with a file of docs/studies."""
    return {field: CodeFile.read(EXAMPLES / name), f"{field}_arguments": arguments}


STUDY = """
baseline: {{batch_size: 256}}
tables:
- number: "44"
  title: Mine
  measure: {measure}
  rows:
  - name: baseline
  - {{name: mine, change: {{{field}: mine.py, {field}_arguments: {arguments}}}}}
"""


def write_study(folder: Path, field: str, code: str, arguments: str = "{}", measure: str = '""') -> None:
    """A study with a row that names a file beside it."""
    (folder / "mine.py").write_text(code)
    (folder / "mine.yaml").write_text(STUDY.format(field=field, arguments=arguments, measure=measure))
