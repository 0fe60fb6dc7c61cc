"""What of a record cannot be read. It is left out and named, so that it blocks nothing else."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

NAMED = 5
"""So many are named in a line."""

logger = logging.getLogger(__name__)
_named: set[str] = set()
"""Ids of what this process has named: a sweep reads the record often."""


def name_once(unreadable: Mapping[str, str]) -> None:
    """Log one line about what cannot be used, by an id, without what was named before."""
    new = [unreadable[each] for each in unreadable if each not in _named]
    _named.update(unreadable)
    if new:
        more = f"; and {len(new) - NAMED} more" if len(new) > NAMED else ""
        logger.warning("left out, because it cannot be used: %s%s", "; ".join(new[:NAMED]), more)


def read_arrays(file: Path, of: str) -> dict[str, np.ndarray]:
    """A file of arrays; empty, and named, where it is damaged. `of` is the name of its trial."""
    try:
        return load_file(file)
    except SafetensorError as error:
        name_once({f"{of}/{file.name}": f"{file.name} of {of}: {error}"})
        return {}
