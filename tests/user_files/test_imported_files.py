"""Files of one's own may import those that lie beside them: these are part of the config, and run from its text."""

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import Command
from tests.own_networks import BASELINE
from trainable.config import Config
from trainable.data import Dataset
from trainable.model import build
from trainable.own_code.check import check_own_code
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError
from trainable.training import train

NET = """
import blocks
from torch import nn

def network(width, pieces):
    return nn.Sequential(nn.Conv2d(3, width, 3, stride=4), nn.Flatten(), blocks.Sum(width * 64, pieces))
"""
BLOCKS = """
import math
from torch import nn

class Sum(nn.Module):
    def __init__(self, width, pieces):
        super().__init__()
        self.pieces = nn.ModuleList(nn.Linear(width, 10) for _ in range(pieces))

    def forward(self, x):
        from scales import SCALE  # found when it runs, too
        return SCALE * sum(piece(x) for piece in self.pieces)
"""
SCALES = "from net import network\nSCALE = 2\n"
"""It imports the file that imports it."""

FAILS_LATER = """
calls = []
class Scale:
    def __mul__(self, other):
        calls.append(0)
        assert len(calls) < 4
        return other
SCALE = Scale()
"""


def write(folder: Path, **changed: str) -> Path:
    """The files of a network, and one that it does not import. Returns the first."""
    texts = {"net": NET, "blocks": BLOCKS, "scales": SCALES, "other": "raise SystemExit"} | changed
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder / "net.py"


def config(file: Path) -> Config:
    return Config(
        network=CodeFile.read(file),
        network_arguments={"width": 2, "pieces": 2},
        data="digits",
        batch_size=256,
        epochs=1,
    )


def test_the_files_that_it_imports_are_part_of_the_identity(tmp_path: Path) -> None:
    first = config(write(tmp_path))
    assert isinstance(first.network, CodeFile)
    assert [source.file for source in first.network.imports] == ["blocks.py", "scales.py"]
    assert Config(**json.loads(json.dumps(first.canonical()))) == first
    assert config(write(tmp_path, other="# an edit")) == first, "this one is not imported"
    edited = config(write(tmp_path, scales=SCALES + "# an edit\n"))
    assert edited.key("f") != first.key("f") and str(edited.network) != str(first.network)


def test_it_trains_without_the_files(tmp_path: Path, digits: Dataset) -> None:
    own = config(write(tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()
    check_own_code(own)
    (epoch,) = train(own, digits)
    assert epoch.mean("train_loss") > 0


def test_two_texts_of_one_name_do_not_meet(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 32, 32)
    scores = []
    for scale in (2, 3):
        own = config(write(tmp_path, scales=f"SCALE = {scale}\n"))
        torch.manual_seed(0)
        scores.append(build(own)(images))
    torch.testing.assert_close(scores[0] / 2, scores[1] / 3)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"blocks": "x = 1\ny = z\n"}, "network net.py: blocks.py, line 2: NameError: name 'z' is not defined"),
        ({"blocks": "def Sum(:"}, "network net.py: line 2: SyntaxError: invalid syntax (<blocks.py"),
        ({"scales": "SCALE = None"}, "blocks.py, line 12: TypeError: unsupported operand type(s)"),
        ({"blocks": BLOCKS.replace("from scales", "assert not self.training; from scales")},
         "in training, on images (3, 3, 32, 32): blocks.py, line 11: AssertionError"),
        ({"net": NET.replace("blocks", "bricks")}, "line 2: ModuleNotFoundError: No module named 'bricks'"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_and_the_line(changed: dict[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(OwnCodeError) as refused:
        check_own_code(config(write(tmp_path, **changed)))
    assert problem in str(refused.value)


def test_an_error_of_a_later_step_names_the_line(tmp_path: Path, digits: Dataset) -> None:
    own = config(write(tmp_path, scales=FAILS_LATER))
    with pytest.raises(OwnCodeError, match=r"network net.py: in training: scales.py, line 6: AssertionError"):
        list(train(own, digits))


def test_a_study_is_read_with_them_and_says_so(here: Command, tmp_path: Path) -> None:
    table = 'tables:\n- {number: "44", title: Mine, rows: [{name: one}]}\n'
    write(tmp_path)
    (tmp_path / "own.yaml").write_text(BASELINE + table)
    plan = ("--data", "digits", "--study", "own.yaml", "--dry-run", "--json")
    planned = here(*plan)
    assert planned.returncode == 0, planned.stderr
    (planned_config,) = json.loads(planned.stdout)["configs"]
    files = planned_config["config"]["network"]["imports"]
    assert [source["file"] for source in files] == ["blocks.py", "scales.py"]
    (tmp_path / "scales.py").write_bytes(b"\xff")
    refused = here(*plan)
    assert refused.returncode == 2 and "network " in refused.stderr and "scales.py: cannot be read" in refused.stderr
