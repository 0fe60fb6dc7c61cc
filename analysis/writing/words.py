"""Words that sentences share."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """A number of things: 1 slot, 2 slots."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verb(number: int, plural: str) -> str:
    """The regular verb that follows so many things: 1 lies, 2 lie."""
    return f"{plural}s" if number == 1 else plural


def listed(names: Sequence[str]) -> str:
    """The names as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42s, 3m 20s, 2h 05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
