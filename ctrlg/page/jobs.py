"""One search at a time, for several visitors: a queue, progress, a time limit, and a stop that really stops.

A search is stopped from inside, at its next token: the watch that the search calls for every token raises.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ctrlg.errors import CtrlGError

MOST_WAITING = 16
MOST_WAITING_EACH = 2  # of one visitor


class Stopped(Exception):
    """A job ends before its work does; the message says why."""


class Job:
    """Some work for a visitor.

    Attributes:
        visitor: who asked for it.
        state: how far it is.
        decided, most: tokens that are written, and the most there can be; 0 before the search begins.
        seconds: how long it ran; 0 before it ends.
        partial: results so far, of work that has several.
        result: of the work, once it is done.
        error: why there is none, for the visitor.
    """

    def __init__(self, visitor: str, work: Callable[[Job], Any], time_limit: float) -> None:
        self.visitor = visitor
        self.state: Literal["waiting", "running", "done"] = "waiting"
        self.decided, self.most = 0, 0
        self.seconds = 0.0
        self.partial: list[Any] = []
        self.result: Any = None
        self.error: CtrlGError | Stopped | None = None
        self._work = work
        self._time_limit = time_limit
        self._cancelled = threading.Event()
        self._deadline = float("inf")
        self._width: int | None = None

    def cancel(self) -> None:
        """End it at the next token, or before it begins."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise Stopped where the job was cancelled or its time is up."""
        if self.cancelled:
            raise Stopped("Cancelled.")
        if time.monotonic() > self._deadline:
            raise Stopped(f"Stopped after {self._time_limit:g} seconds. Ask for fewer words or a simpler constraint.")

    def expect(self, most: int) -> None:
        """A search of so many tokens begins."""
        self.check()
        self.decided, self.most, self._width = 0, most, None

    def watch(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:
        """A stopping criterion of transformers: counts tokens, never stops by itself, raises Stopped as `check`."""
        width = input_ids.shape[1]
        self._width = width - 1 if self._width is None else self._width
        self.decided = width - self._width
        self.check()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    def run(self) -> None:
        """Do the work, in the worker's thread."""
        self.state = "running"
        started = time.monotonic()
        self._deadline = started + self._time_limit
        try:
            self.check()
            self.result = self._work(self)
        except (CtrlGError, Stopped) as error:
            self.error = error
        except Exception as error:
            self.error = Stopped("Something went wrong here. The window in which the page was started says what.")
            self.error.__cause__ = error
            traceback.print_exception(error, file=sys.stderr)
        self.seconds = time.monotonic() - started
        self.state = "done"


class Queue:
    """A worker that does one job after the other, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._running: Job | None = None
        threading.Thread(target=self._work, name="ctrlg page", daemon=True).start()

    def add(self, job: Job) -> None:
        """Let a job wait for its turn. Raises Stopped where too many wait."""
        with self._changed:
            own = sum(other.visitor == job.visitor for other in self._waiting)
            if own >= MOST_WAITING_EACH or len(self._waiting) >= MOST_WAITING:
                raise Stopped("Too much is waiting already. Try again in a moment.")
            self._waiting.append(job)
            self._changed.notify()

    def remove(self, job: Job) -> None:
        """Cancel a job; one that still waits never begins."""
        job.cancel()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.error, job.state = Stopped("Cancelled."), "done"

    def ahead_of(self, job: Job) -> int:
        """How many jobs come before this one."""
        with self._changed:
            if job not in self._waiting:
                return 0
            return self._waiting.index(job) + (self._running is not None)

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._changed:
            return self._running is None and not self._waiting

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                self._running = self._waiting.popleft()
            self._running.run()
            with self._changed:
                self._running = None
