"""Where the page listens, and how long a visitor may search; light to import, for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ctrlg.arguments import AboveZero, Between, checked

PORT = 8765
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@checked
@dataclass(frozen=True)
class PageSettings:
    """Where the page listens, and how long a visitor may search.

    Args:
        host: address to listen on; every other than 127.0.0.1 lets others write on this computer.
        port: of that address; 0 takes one that is free.
        time_limit: seconds of a search.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65535)] = PORT
    time_limit: AboveZero = 60.0
