"""Intervals, tests and effects: numbers from numbers."""
