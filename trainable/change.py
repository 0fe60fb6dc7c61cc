"""Changes of a config: the fields in which it differs from another one. Imports no torch."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from trainable.network_file import ARGUMENTS, NetworkFile


def _read_network(change: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    network = change.get("network")
    if info.context is None or not isinstance(network, str) or not network.endswith(".py"):
        return change
    return {**change, "network": NetworkFile.read(info.context / network)}


Change = Annotated[dict[str, Any], AfterValidator(_read_network)]
"""Fields of a config that differ from those of another. Validated with a folder as pydantic's context, a `network` that
is a text ending in .py is the path of a file, which starts in that folder, and is read."""


def combine(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config after a further change. Arguments of a network are added to those before them, but where
    the change names a network, it starts without any."""
    combined = {**base, **change}
    before, new = base.get(ARGUMENTS), change.get(ARGUMENTS)
    if "network" in change:
        combined[ARGUMENTS] = new or {}
    elif isinstance(before, Mapping) and isinstance(new, Mapping):
        combined[ARGUMENTS] = {**before, **new}
    return combined
