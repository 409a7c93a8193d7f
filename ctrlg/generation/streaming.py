"""A text as it is decided: tokens come out of a running `generate` in another thread, whole characters at a time."""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from ctrlg.vocabulary import Vocabulary

_DONE = object()


def pieces(write: Callable[..., Any], vocabulary: Vocabulary, prefix: str, drops_space: bool) -> Iterator[str]:
    """The pieces of one text, none of them empty.

    write: called with a `streamer` and `stopping_criteria`, in a thread of its own; its errors are raised here. It is
        stopped at its next token when the iterator is closed.
    prefix: the text begins with it. drops_space: the tokenizer drops a space that the first token begins with.
    """
    tokens, stop = _Tokens(), _Stop()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            write(streamer=tokens, stopping_criteria=[stop])
        except BaseException as error:
            errors.append(error)
        finally:
            tokens.queue.put(_DONE)

    thread = threading.Thread(target=work, name="ctrlg-stream", daemon=True)
    thread.start()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    begins = drops_space
    try:
        written = prefix  # comes with the first token, when nothing can be wrong with the arguments any more
        while (token := tokens.queue.get()) is not _DONE:
            text = decoder.decode(vocabulary.join([token]))
            if begins:
                text, begins = text[vocabulary.drops_space_of(token) :], False
            written += text
            if written:
                yield written
            written = ""
        if not errors and (written := written + decoder.decode(b"", final=True)):
            yield written
    finally:
        stop.now = True
        thread.join()
    if errors:
        raise errors[0]


class _Tokens:
    """A streamer of transformers: the prompt comes first, then one token at a time."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self._prompt = True

    def put(self, value: Tensor) -> None:
        if not self._prompt:
            for token in value.reshape(-1).tolist():
                self.queue.put(token)
        self._prompt = False

    def end(self) -> None:
        """The thread says when it is done, errors included."""


class _Stop(StoppingCriteria):
    now = False

    def __call__(self, input_ids: Any, scores: Any, **others: Any) -> Any:
        return torch.full((len(input_ids),), self.now, dtype=torch.bool, device=input_ids.device)
