"""The work that several sweeps on one record share: each does what is left as far as no other does it."""

import time
from collections.abc import Callable, Collection, Set
from functools import partial

from rich.console import Console

from sweeps.planning.sweep_plan import SweepPlan
from sweeps.recording.claims import Claimant
from sweeps.recording.outage import patiently

WAIT_S = 3.0
"""Seconds between two looks at what other sweeps do."""


class SharedWork:
    """One sweep's share of the work."""

    def __init__(
        self, claimant: Claimant, plan: Callable[[], SweepPlan], wait_for_record: Callable[[], bool], console: Console
    ) -> None:
        """`plan` returns what the record lacks now. `wait_for_record` waits until the record has all that has ended. It
        returns False where the sweep is to end."""
        self._claimant, self._plan, self._wait_for_record, self._console = claimant, plan, wait_for_record, console
        self._failed = set[str]()
        """Claims of work that this sweep tried and did not finish. It is left to the next sweep."""
        self._waited_for = set[str]()

    def run(self, left: Callable[[SweepPlan], Collection[str]], do: Callable[[SweepPlan, Set[str]], None]) -> None:
        """Do the work that is `left` of a plan, which names it by its claims.

        Each round claims what is left, plans again, because another sweep may have done some of it, and calls `do` with
        the rest. Work that other sweeps hold is waited for, and taken over if they die.
        """
        mine: Set[str] = set()
        tried: Set[str] = set()
        while self._wait_for_record():
            still_left = set(left(self._plan()))
            self._failed |= tried & still_left
            patiently(partial(self._claimant.release, mine))
            if not (waiting := still_left - self._failed):
                return
            mine, tried = patiently(partial(self._claimant.take, waiting)), set()
            if not mine:
                self._wait_for(waiting)
                continue
            plan = self._plan()  # another sweep may have done some of it before it was claimed here
            if tried := mine & set(left(plan)):
                do(plan, tried)

    def _wait_for(self, claims: Collection[str]) -> None:
        """Wait until one of these claims is held by no other sweep. Only the claims are read meanwhile."""
        held = set(claims)
        while held >= set(claims):
            others = patiently(partial(self._claimant.holders, claims))
            for name in {other.name for other in others} - self._waited_for:
                self._waited_for.add(name)
                self._console.print(f"waiting for the sweep {name}, which is training what this one needs")
            held = {claim for other in others for claim in other.claims.held}
            time.sleep(WAIT_S)
