"""How many of something a text has."""

from __future__ import annotations

from ctrlg.errors import ArgumentError


def require_range(least: int, most: int | None, what: str) -> None:
    """ArgumentError unless least <= most."""
    if most is not None and most < least:
        raise ArgumentError(f"{least} to {most} is no range of {what}", hint="least <= most, or most=None")


def is_within(count: int, least: int, most: int | None) -> bool:
    """Whether least <= count <= most."""
    return least <= count and (most is None or count <= most)


def in_words(least: int, most: int | None, one: str, several: str) -> str:
    """A range as English: "at least 3 lines", "1 line", "2 to 4 lines"."""
    if most is None:
        return f"at least {least} {one if least == 1 else several}"
    if least == most:
        return f"{least} {one if least == 1 else several}"
    return f"at most {most} {one if most == 1 else several}" if least == 0 else f"{least} to {most} {several}"
