"""Tune's registry of trainables, which is asked once in a stage.

For each trial Tune asks Ray's store three times whether the class of the stage is there, and fetches it twice, though
it never changes. The driver waits for each answer, and the driver limits large clusters (docs/scaling.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune.registry import _global_registry, _Registry


@contextmanager
def remembered_trainables() -> Iterator[None]:
    """While it lasts, Tune in this process fetches each class once."""
    found: dict[tuple[str, str], Any] = {}

    def get(category: str, key: str) -> Any:
        if (category, key) not in found:
            found[category, key] = _Registry.get(_global_registry, category, key)
        return found[category, key]

    def contains(category: str, key: str) -> bool:
        return (category, key) in found or _Registry.contains(_global_registry, category, key)

    _global_registry.get, _global_registry.contains = get, contains  # type: ignore[method-assign]
    try:
        yield
    finally:
        del _global_registry.get, _global_registry.contains
