"""Why a trial failed, read from the file in which Ray Tune keeps its errors."""

import re
from dataclasses import dataclass
from pathlib import Path

from analysis.commandline.passwords import hide_passwords
from analysis.record.trial_errors import last_error
from trainable.storage import StorageError

ERRORS_OF_CODE = (
    "AssertionError", "AttributeError", "ImportError", "IndexError", "KeyError", "ModuleNotFoundError", "NameError",
    "OwnCodeError", "TypeError", "ValidationError", "ValueError",
)  # fmt: skip
"""Errors of the config or the code. The next try would end in the same way, so there is only one."""
ERRORS_OF_NODE = ("DataError", "DeviceError", "StorageError")
"""Errors of what a node has: its data, its GPU, its storage. Any other trial would fail there, too."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""What Ray writes into a traceback for terminals."""


@dataclass(frozen=True)
class Fault:
    """What made a trial fail, or lose its worker."""

    text: str
    """All its errors so far, the last one last, without passwords."""

    @property
    def reason(self) -> str:
        """The line that says what went wrong last."""
        return last_error(self.text)

    @property
    def of_code(self) -> bool:
        """Whether the config or the code failed: see `ERRORS_OF_CODE`."""
        return self._name in ERRORS_OF_CODE

    @property
    def of_node(self) -> bool:
        """Whether the node lacks something: see `ERRORS_OF_NODE`."""
        return self._name in ERRORS_OF_NODE

    @property
    def of_storage(self) -> str:
        """What the storage said; empty where something else failed."""
        return self.reason.partition(f"{StorageError.__name__}: ")[2]

    @property
    def _name(self) -> str:
        """The error's name, without its module."""
        return self.reason.partition(":")[0].rpartition(".")[2]


NO_FAULT = Fault("")
"""Of a trial that did not fail."""


def read_fault(error_file: str | None) -> Fault:
    """Why a trial failed. `error_file` is that of Tune's trial; None where Tune has written none."""
    # a full disk can cut the file within a character
    text = Path(error_file).read_text(encoding="utf-8", errors="replace").strip() if error_file else ""
    return Fault(hide_passwords(COLOURS.sub("", text)))
