"""The work that several sweeps on one record share: each does what is left as far as no other does it."""

import time
from collections.abc import Callable, Collection, Set

from rich.console import Console

from sweeps.planning.prepare import SweepPlan
from sweeps.recording.claims import Claimant

WAIT_S = 3.0
"""Seconds between two looks at what other sweeps do."""


class SharedWork:
    """The part of one sweep in it."""

    def __init__(
        self, claimant: Claimant, plan: Callable[[], SweepPlan], can_go_on: Callable[[], bool], console: Console
    ) -> None:
        """`plan` says what the record lacks now, once `can_go_on` has said that the record has all that ended."""
        self._claimant, self._plan, self._can_go_on, self._console = claimant, plan, can_go_on, console
        self._in_vain = set[str]()
        """What this sweep tried in vain, by its claims. It is left to the next sweep."""
        self._waited_for = set[str]()

    def run(self, left: Callable[[SweepPlan], Collection[str]], do: Callable[[SweepPlan, Set[str]], None]) -> None:
        """Do what is `left` of a plan, named by its claims, as far as no other sweep does it. What another does is
        waited for, and done here if that one dies."""
        mine: Set[str] = set()
        tried: Set[str] = set()
        while self._can_go_on():
            still_left = set(left(self._plan()))
            self._in_vain |= tried & still_left
            self._claimant.release(mine)
            if not (waiting := still_left - self._in_vain):
                return
            mine, tried = self._claimant.take(waiting), set()
            if not mine:
                self._wait_for(waiting)
                continue
            plan = self._plan()  # another sweep may have done some of it before it was claimed here
            if tried := mine & set(left(plan)):
                do(plan, tried)

    def _wait_for(self, claims: Collection[str]) -> None:
        for name in {other.name for other in self._claimant.holders(claims)} - self._waited_for:
            self._waited_for.add(name)
            self._console.print(f"waiting for the sweep {name}, which is at work on the same")
        time.sleep(WAIT_S)
