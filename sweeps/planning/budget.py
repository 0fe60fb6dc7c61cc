"""The budget of a search: time, money or both. What is spent first ends the search."""

import re

from pydantic import Field

from analysis.prices import Prices
from sweeps.planning.rates import hourly_price
from sweeps.planning.resources import Allocation
from trainable.errors import UsageError
from trainable.frozen import Frozen

UNITS = {"h": 3600, "m": 60, "s": 1}
ALLOWED = "a time (2h, 90m, 1h30m), an amount of money (12.50, with --prices), or both (2h,12.50)"


class Budget(Frozen):
    """What a search may spend. Trainings count, those of earlier sweeps included; starting and waiting do not."""

    seconds: float | None = Field(default=None, gt=0)
    """Wall seconds, with all slots at work."""
    money: float | None = Field(default=None, gt=0)
    """At the sweep's prices."""

    def slot_s(self, prices: Prices, allocation: Allocation) -> float:
        """The slot seconds that the budget buys on an allocation whose slots are known.

        Raises `UsageError` for money where what the trials run on has no price.
        """
        bought = [self.seconds * allocation.slots] if self.seconds else []
        if self.money:
            trial = allocation.trial
            if not prices.slot(trial.cpus, trial.gpus):
                raise UsageError(
                    f"--budget {self.money:g}: money needs the price of what the trials run on; --prices has only "
                    f"{', '.join(prices.given)}"
                )
            bought.append(3600 * self.money / hourly_price(prices, allocation))
        return min(bought)


def parse_budget(text: str, prices: Prices) -> Budget | None:
    """The budget in an option's text; None where it is empty. Raises `UsageError` naming what is allowed."""
    if not text:
        return None
    values: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        amount = re.fullmatch(r"\d+(\.\d+)?", part)
        time = re.fullmatch(r"((\d+(\.\d+)?)[hms])+", part)
        name = "money" if amount else "seconds"
        value = float(part) if amount else sum(float(number) * UNITS[unit] for number, unit in _times(part))
        if not (amount or time) or name in values or not 0 < value < 1e12:
            raise UsageError(f"--budget {text!r}: must be {ALLOWED}, above 0")
        values[name] = value
    if "money" in values and not any(prices.given.values()):
        raise UsageError(f"--budget {text!r}: money needs --prices")
    return Budget(**values)


def _times(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
