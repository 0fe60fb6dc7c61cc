"""Prices of an hour of computing, as a person gives them: gpu=0.55,cpu=0.04,head=0.20."""

import re

from pydantic import BaseModel, ConfigDict


class Prices(BaseModel):
    """Money an hour; None for what has no price. It is false where nothing has one."""

    model_config = ConfigDict(frozen=True)

    gpu: float | None = None
    """A GPU with its part of a node."""
    cpu: float | None = None
    """A core of a node without GPUs."""
    head: float | None = None
    """The node that runs from start to end."""

    @property
    def given(self) -> dict[str, float]:
        """The prices that there are, by name."""
        return self.model_dump(exclude_none=True)

    def __bool__(self) -> bool:
        return bool(self.given)

    def slot(self, cpus: float, gpus: float) -> float:
        """Money for an hour of a slot of so many CPUs and GPUs. The CPUs beside a GPU are in its price."""
        return gpus * (self.gpu or 0) if gpus else cpus * (self.cpu or 0)


NO_PRICES = Prices()


def parse_prices(text: str) -> Prices:
    """The prices in an option's text, joined by commas. Raises `ValueError` naming the bad part and what is allowed."""
    return Prices(**dict(_parse(part.strip()) for part in text.split(",") if part.strip()))


def _parse(part: str) -> tuple[str, float]:
    name, _, price = part.partition("=")
    if name in Prices.model_fields and re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?|\.[0-9]+", price):
        return name, float(price)
    allowed = ", ".join(f"{name}=PRICE" for name in Prices.model_fields)
    raise ValueError(f"--prices {part!r} must be one of {allowed}, with a price as 12.50 and below 1e9")
