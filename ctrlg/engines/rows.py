"""The rows of an engine's batch: requests that are added, removed and moved between steps, and scored together.

A constraint is prepared by threads from the moment its request is known, while the engine does other work. A request
whose constraint cannot be kept does not stop the engine: its text ends at once, and the reason is logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from ctrlg.decoding.cursors import Cursor
from ctrlg.engines.following import follow_all
from ctrlg.engines.requests import Guiding, Request
from ctrlg.errors import CtrlGError
from ctrlg.kernels.threads import stay_in_this_thread

_LOG = logging.getLogger(__name__)

_UNKNOWN = -1  # stands for a token that has been sampled but not been read yet, at the end of an output


class Row:
    """One request in a batch. Made by `Preparing.row`.

    Attributes:
        output: the tokens after the prompt; the engine's own list, where it keeps one.
    """

    def __init__(self, preparing: Future[Cursor], output: Sequence[int]) -> None:
        self.output = output
        self._preparing = preparing
        self._reported = False

    def cursor(self) -> Cursor | None:
        """The request's cursor, as soon as it is prepared; None where its constraint cannot be kept."""
        try:
            return self._preparing.result()
        except Exception as error:
            if not self._reported:
                _LOG.error("a request ends without a text: %s", error, exc_info=not isinstance(error, ValueError))
                self._reported = True
            return None

    def forget(self) -> None:
        """The request is gone: nobody needs its constraint any more."""
        self._preparing.cancel()


class Preparing:
    """Prepares constraints in threads of its own, several at once.

    Args:
        guiding: of the engine's model.
        threads: as many at once; by default one for each processor, at most eight.
    """

    def __init__(self, guiding: Guiding, threads: int | None = None) -> None:
        self.guiding = guiding
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # A thread of its own for each constraint is worth more than several threads for one.
        self._threads = ThreadPoolExecutor(
            threads or min(usable, 8),
            thread_name_prefix="ctrlg-preparing",
            initializer=stay_in_this_thread,
        )

    def row(self, request: Request, output: Sequence[int], most_tokens: int | None = None) -> Row:
        """A row for a request, whose constraint is being prepared from now on.

        Args:
            request: what is asked for.
            output: the tokens after the prompt.
            most_tokens: the engine's limit of tokens after the prompt; None for none.
        """
        return Row(self._prepared(request, most_tokens), output)

    def _prepared(self, request: Request, most_tokens: int | None) -> Future[Cursor]:
        """In a thread only where there is something to do: waking one costs more than a cursor."""
        with contextlib.suppress(CtrlGError):  # which the thread finds again
            cursor = self.guiding.ready(request, most_tokens)
            if cursor is not None:
                done: Future[Cursor] = Future()
                done.set_result(cursor)
                return done
        return self._threads.submit(self.guiding.cursor, request, most_tokens)

    def join(self, rows: Mapping[int, Row], logits: Tensor) -> Tensor:
        """Replace the scores of constrained rows by the log-probabilities of their next tokens.

        Args:
            rows: by their place in the batch.
            logits: float [B, W]; may be changed in place.

        Returns:
            [B, W]; perhaps another tensor than logits.
        """
        places, cursors, outputs = [], [], []
        for place, row in sorted(rows.items()):
            cursor = row.cursor()
            if cursor is None:
                logits[place] = -torch.inf
                logits[place, self.guiding.vocabulary.eos_token_id] = 0.0
                continue
            places.append(place)
            cursors.append(cursor)
            outputs.append(_known(row.output))
        if cursors:
            follow_all(cursors, outputs)
            if places == [*range(len(logits))]:  # nothing to keep of the others
                return self.guiding.batch.join(cursors, logits)
            where = torch.tensor(places, device=logits.device)
            logits[where] = self.guiding.batch.join(cursors, logits[where])
        return logits


def _known(output: Sequence[int]) -> Sequence[int]:
    """The tokens that have been read."""
    if not output or output[-1] != _UNKNOWN:
        return output
    return output[: next(place for place, token in enumerate(output) if token == _UNKNOWN)]
