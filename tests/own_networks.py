"""Networks of one's own, as files, and studies that name them."""

from pathlib import Path

from trainable.own_code.code_file import CodeFile

NETWORK = '''"""A tiny network."""
from torch import nn


class Net(nn.Module):
    def __init__(self, width, pieces):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, stride=4)
        self.rest = nn.ModuleList(nn.Linear(width * 64, 10) for _ in range(pieces))

    def forward(self, x):
        x = self.first(x).relu()
        x = x.view(x.size(0), -1)
        return sum(piece(x) for piece in self.rest)


def network(width, pieces):
    return Net(width, pieces)
'''
FILE = CodeFile(file="net.py", code=NETWORK)
ARGUMENTS = {"width": 2, "pieces": 2}
BASELINE = """
baseline:
  network: net.py
  network_arguments: {width: 2, pieces: 1}
  batch_size: 256
"""
STUDY = (
    BASELINE
    + """tables:
- number: "44"
  title: Pieces
  measure: surface
  rows:
  - name: one
  - {name: two, change: {network_arguments: {pieces: 2}}}
"""
)
SEARCH = """
search:
  space:
    optimizer: {choices: [adam, momentum]}
    adam_lr: {field: lr, choices: [0.001, 0.002], when: {optimizer: [adam]}}
    network_arguments[width]: {low: 4, high: 5}
  start: [{values: {"network_arguments[width]": 4}}]
  race: {candidates: 1}
"""


def write_study(folder: Path, study: str = STUDY, network: str = NETWORK) -> Path:
    """A study's file, with its network beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(network)
    (folder / "own.yaml").write_text(study)
    return folder / "own.yaml"
