"""Intervals and tests, and the effects and verdicts that rest on them."""
