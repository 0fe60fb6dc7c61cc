"""The base class of immutable data that passes between modules."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def check_label(text: str) -> str:
    """Return a text that tables, pictures and the UI show. Raises `ValueError` for more than one line, or with a $:
    pictures would set what stands between two of them as a formula."""
    if not text.strip() or not text.isprintable() or "$" in text:
        raise ValueError(f"{text!r} must be one line of printable characters without $")
    return text


def check_short(text: str) -> str:
    """Return a text that is part of the name of a file. Raises `ValueError` for one of more than 100 bytes."""
    if len(text.encode()) > 100:
        raise ValueError(f"{text!r} must be at most 100 bytes long in UTF-8")
    return text


Label = Annotated[str, AfterValidator(check_label)]
Short = AfterValidator(check_short)


class Frozen(BaseModel):
    """Immutable data that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
