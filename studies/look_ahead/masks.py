"""Masks of other packages as logits processors of one sequence each: outlines-core and xgrammar."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from ctrlg.errors import ArgumentError
from studies.look_ahead.tasks import Task

PACKAGES = {"outlines-core": "outlines_core", "xgrammar": "xgrammar"}


def require(way: str) -> None:
    """Raise ArgumentError where the package of a way is not installed."""
    if importlib.util.find_spec(PACKAGES[way]) is None:
        raise ArgumentError(f"not installed: {way}", hint="pip install -r studies/look_ahead/requirements.txt")


class BitMasked(LogitsProcessor):
    """Allows the tokens whose bit is set; behind the end, the end again.

    width: of the prompt. advance: reads a token and returns whether the text has ended. fill: writes the bits of the
    next tokens, int32 [1, V / 32]. seconds, steps: spent in calls so far.
    """

    def __init__(
        self, width: int, end: int, advance: Callable[[int], bool], fill: Callable[[Tensor], None], vocab_size: int
    ) -> None:
        self._width, self._end, self._advance, self._fill = width, end, advance, fill
        self._bits = torch.full((1, -(-vocab_size // 32)), -1, dtype=torch.int32)
        self._ended = False
        self.seconds, self.steps = 0.0, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._ended:
            return scores
        started = time.perf_counter()
        if input_ids.shape[1] > self._width:
            last = int(input_ids[0, -1])
            self._ended = last == self._end or self._advance(last)
        if self._ended:
            allowed = np.zeros(scores.shape[1], dtype=bool)
            allowed[self._end] = True
        else:
            self._fill(self._bits)
            allowed = np.unpackbits(self._bits.numpy().view(np.uint8), bitorder="little")[: scores.shape[1]].astype(
                bool
            )
        scores = scores.masked_fill(torch.from_numpy(~allowed)[None], -torch.inf)
        self.seconds += time.perf_counter() - started
        self.steps += 1
        return scores


class OutlinesCore:
    """outlines-core's index of a regular expression; choices and schemas become one."""

    def __init__(self, model: Any, tokenizer: Any, end: int) -> None:
        from benchmarks.outlines_index import outlines_vocabulary

        self._vocabulary, self._end, self._width = outlines_vocabulary(tokenizer), end, model.config.vocab_size

    def processor(self, task: Task, width: int) -> BitMasked:
        """A processor for one answer, compiled anew."""
        core = importlib.import_module("outlines_core")
        guide = core.Guide(core.Index(_expression(task, core), self._vocabulary))

        def advance(token: int) -> bool:
            guide.advance(token)
            return False  # the end of text is a token that it knows

        def fill(bits: Tensor) -> None:
            guide.write_mask_into(bits.data_ptr(), bits.numel(), bits.element_size())

        return BitMasked(width, self._end, advance, fill, self._width)


class XGrammar:
    """xgrammar's compiled grammar of a regular expression, a schema or some texts."""

    def __init__(self, model: Any, tokenizer: Any, end: int) -> None:
        self._package = importlib.import_module("xgrammar")
        self._end, self._width = end, model.config.vocab_size
        self._tokens = self._package.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=self._width, stop_token_ids=[end]
        )

    def processor(self, task: Task, width: int) -> BitMasked:
        """A processor for one answer, compiled anew."""
        compiler = self._package.GrammarCompiler(self._tokens, max_threads=1, cache_enabled=False)
        if task.kind == "json":
            compiled = compiler.compile_json_schema(task.given, any_whitespace=False, separators=(",", ":"))
        elif task.kind == "regex":
            compiled = compiler.compile_regex(task.given)
        else:
            compiled = compiler.compile_grammar("root ::= " + " | ".join(map(json.dumps, task.given)))
        matcher = self._package.GrammarMatcher(compiled)

        def advance(token: int) -> bool:
            return not matcher.accept_token(token) or matcher.is_terminated()

        return BitMasked(width, self._end, advance, matcher.fill_next_token_bitmask, self._width)


MASKS = {"outlines-core": OutlinesCore, "xgrammar": XGrammar}


def _expression(task: Task, core: Any) -> str:
    if task.kind == "json":
        return core.json_schema.build_regex_from_schema(json.dumps(task.given), whitespace_pattern="")
    return task.given if task.kind == "regex" else "|".join(map(re.escape, task.given))
