"""A network of one's own as part of a config: the text of the Python file that builds it, and the arguments that it is
built with. Imports no torch; `trainable.own_network` builds it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo

from trainable.errors import UsageError
from trainable.frozen import Frozen
from trainable.problem import first_problem

ARGUMENTS = "network_arguments"
"""The field of a config that holds the arguments."""
MOST_CHARACTERS = 6_000
"""Characters of the text as JSON, which the record keeps with the other fields in one tag. MLflow allows it 8,000."""


class Arguments(dict[str, Any]):
    """Arguments by name. It is not to be changed: it is part of what is hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.items())


Value = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | str
)
NetworkArguments = Annotated[dict[str, Value | tuple[Value, ...]], AfterValidator(Arguments)]
"""Arguments of a network of one's own: truths, finite numbers, texts and lists of these, by name."""


def _check_size(code: str) -> str:
    if (size := len(json.dumps(code))) > MOST_CHARACTERS:
        raise ValueError(f"the file has {size:,} characters as JSON; allowed: {MOST_CHARACTERS:,}")
    return code


class NetworkFile(Frozen):
    """A Python file that defines `build`, a function from arguments to a network: see `docs/studies`.

    The file's name and its whole text identify the network. What the file imports does not.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.py$", max_length=60)]
    """The file's name, without its folder."""
    code: Annotated[str, AfterValidator(_check_size)]
    """The file's text."""

    @classmethod
    def read(cls, path: str | Path) -> "NetworkFile":
        """The network in a file. Raises `UsageError` for a file that cannot be read or is too long."""
        try:
            return cls(file=Path(path).name, code=Path(path).expanduser().read_text(encoding="utf-8"))
        except ValidationError as error:
            raise UsageError(f"network {path}: {first_problem(error).message}") from error
        except (OSError, RuntimeError, ValueError) as error:  # no such home, no UTF-8, a NUL character
            raise UsageError(f"network {path}: cannot be read: {error}") from error

    def __repr__(self) -> str:
        return f"NetworkFile({self})"

    def __str__(self) -> str:
        """The file's name and the start of the text's SHA-256."""
        return f"{self.file} {hashlib.sha256(self.code.encode()).hexdigest()[:8]}"


def _read_named(change: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    network = change.get("network")
    if info.context is None or not isinstance(network, str) or not network.endswith(".py"):
        return change
    return {**change, "network": NetworkFile.read(info.context / network)}


Change = Annotated[dict[str, Any], AfterValidator(_read_named)]
"""Fields of a config that differ from a baseline. Validated with a folder as pydantic's context, a `network` that is a
text ending in .py is the path of a file, which starts in that folder, and is read."""


def combine(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config after a further change. Arguments of a network are added to those before it, unless the
    change names a network, too."""
    combined = {**base, **change}
    before, new = base.get(ARGUMENTS), change.get(ARGUMENTS)
    if "network" in change:
        combined[ARGUMENTS] = new or {}
    elif isinstance(before, Mapping) and isinstance(new, Mapping):
        combined[ARGUMENTS] = {**before, **new}
    return combined
