"""What a run has measured so far: rows with their goals, kept in a file that is written anew at every row."""

from __future__ import annotations

import faulthandler
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from gpu_sections import timing
from gpu_sections.sizes import FULL, TOY, Sizes

PATIENCE = 60  # seconds until a measurement counts as hung; its process then ends
COMPILING = 180  # the same where torch may compile Ctrl-G

T = TypeVar("T")


class Row(NamedTuple):
    """One line of the table.

    what: what was measured. value: in `unit`; None where it could not be. goal: of issue 17, as it is printed.
    met: whether it is; None without a goal. note: what else to know. detail: all numbers behind it.
    """

    section: str
    what: str
    value: float | None
    unit: str
    goal: str
    met: bool | None
    note: str
    detail: dict[str, Any]


class Record:
    """The file of results.

    environment: the card, versions, and "ceilings". sections: by name, {"status", "seconds", "error", "traceback"}.
    rows: of the table. tried: of each section, what was begun to be measured; a process that takes over from a dead one
    leaves it out. trying: what is being measured now, the innermost last; what the dead one died of.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"environment": {}, "sections": {}, "rows": [], "tried": {}, "trying": []}
        if path.exists():
            self.content |= json.loads(path.read_text(encoding="utf-8")) | {"trying": []}

    def write(self) -> None:
        """Replaces the file at once, so that a cut leaves the old one or the new one."""
        beside = self.path.with_name(self.path.name + ".part")
        beside.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self.path)

    def state(self, section: str, status: str, **more: Any) -> None:
        """status: "running", "done", "cut" (out of time), "failed" or "died"."""
        self.content["sections"].setdefault(section, {}).update({"status": status, **more})
        self.write()


class Run:
    """What a section is given: the device, the sizes, how long it may go on, and where its rows go."""

    def __init__(self, record: Record, device: str, toy: bool, reference: Path | None, compiled: bool) -> None:
        self.record = record
        self.device = torch.device(device)
        self.toy = toy
        self.sizes: Sizes = TOY if toy else FULL
        self.reference = reference
        self.compiled = compiled
        self.section = ""
        self.cut = False
        self._deadline = 0.0

    def begin(self, section: str, seconds: float) -> None:
        self.section, self.cut = section, False
        self._deadline = time.monotonic() + seconds
        self._watch()

    def end(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    def out_of_time(self) -> bool:
        """Whether the section has to leave out what it has not measured yet; asked before every measurement."""
        self.cut = self.cut or time.monotonic() > self._deadline
        return self.cut

    def attempt(self, what: str, work: Callable[[], None]) -> None:
        """Measure something, unless time is over or a process has died of it. An error becomes a row, and the section
        goes on, where the device still works."""
        tried = self.record.content["tried"].setdefault(self.section, [])
        if self.out_of_time() or what in tried:
            return
        tried.append(what)
        self.record.content["trying"].append(what)
        self.record.write()
        self._watch()
        try:
            work()
        except (Exception, SystemExit) as error:  # Ctrl-G leaves the process where it is lost
            where = traceback.format_exc()
            if self.broken():
                raise
            self.missing(what, error, traceback=where)
            timing.free(self.device)
        self.record.content["trying"].pop()
        self._watch()

    def broken(self) -> bool:
        """Whether the device refuses everything from now on, as after an illegal access."""
        try:
            timing.synchronize(self.device)
        except RuntimeError:
            return True
        return False

    def _watch(self) -> None:
        """A process that hangs, in a kernel say, is ended from outside of Python."""
        faulthandler.dump_traceback_later(COMPILING if self.compiled else PATIENCE, exit=True)

    def add(
        self,
        what: str,
        value: float | None,
        unit: str,
        goal: str = "",
        met: bool | None = None,
        note: str = "",
        **detail: Any,
    ) -> None:
        row = Row(self.section, what, value, unit, goal, met, note, detail)
        self.record.content["rows"].append(row._asdict())
        self.record.write()

    def missing(self, what: str, error: BaseException, **detail: Any) -> None:
        """A row for what could not be measured."""
        text = f"{type(error).__name__}: {error}"
        self.add(what, None, "", note=text.splitlines()[0], error=text, **detail)

    def ceiling(self, name: str, otherwise: float) -> float:
        """What the ceilings section measured, or the number of the data sheet where it did not."""
        return self.record.content["environment"].get("ceilings", {}).get(name, otherwise)


class Once(Generic[T]):
    """What several measurements share, made by the first that needs it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []

    def __call__(self) -> T:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]
