"""Prices of an hour of computing, as a person gives them: gpu=0.55,cpu=0.04,head=0.20."""

import re
from collections.abc import Mapping

PRICED = ("gpu", "cpu", "head")
"""What has a price: a GPU with its part of a node, a core of a node without GPUs, and the node that runs from start to
end."""


def parse_prices(text: str) -> dict[str, float]:
    """The prices in an option's text, joined by commas. Raises `ValueError` naming the bad part and what is allowed."""
    return dict(_parse(part.strip()) for part in text.split(",") if part.strip())


def slot_price(prices: Mapping[str, float], cpus: float, gpus: float) -> float:
    """Money for an hour of a slot of so many CPUs and GPUs. The CPUs beside a GPU are in its price."""
    return gpus * prices.get("gpu", 0) if gpus else cpus * prices.get("cpu", 0)


def _parse(part: str) -> tuple[str, float]:
    name, _, price = part.partition("=")
    if name in PRICED and re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?|\.[0-9]+", price):
        return name, float(price)
    allowed = ", ".join(f"{name}=PRICE" for name in PRICED)
    raise ValueError(f"--prices {part!r} must be one of {allowed}, with a price as 12.50 and below 1e9")
