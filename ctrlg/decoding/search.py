"""One run of transformers' `generate` for several prompts, each of which has processors of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList


class SearchSettings(NamedTuple):
    """steps: most tokens after the prompt. beams: >= 1. returned: rows for each prompt. end: the token that ends a row.
    progress: show a bar; in terminals only where None. options: further settings of `generate`."""

    steps: int
    beams: int
    do_sample: bool
    returned: int
    end: int
    seed: int | None
    progress: bool | None
    options: dict[str, Any]


def search(
    model: Any, prompts: Sequence[Sequence[int]], processors: Sequence[LogitsProcessorList], settings: SearchSettings
) -> list[Tensor]:
    """What `model.generate` writes after each prompt, int64 [returned, <= steps] each.

    processors: those of each prompt see its rows alone, whose prompt is padded on the left to the longest one's length.
    """
    width = max(map(len, prompts))
    input_ids = torch.tensor(
        [[settings.end] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device
    )
    attended = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with _seeded(settings.seed, model.device), _progress_bar(settings) as criteria:
        outputs = model.generate(
            input_ids,
            attention_mask=attended.to(model.device),
            generation_config=_generation_config(settings),
            logits_processor=LogitsProcessorList([_ByPrompt(processors)]),
            stopping_criteria=criteria,
        )
    return list(outputs[:, width:].split(settings.returned))


class _ByPrompt(LogitsProcessor):
    """Gives each prompt's rows, which follow each other, to that prompt's processors."""

    def __init__(self, processors: Sequence[Any]) -> None:
        self._processors = processors

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = len(input_ids) // len(self._processors)
        parts = zip(self._processors, input_ids.split(rows), scores.split(rows), strict=True)
        return torch.cat([processors(ids, part) for processors, ids, part in parts])


def _generation_config(settings: SearchSettings) -> GenerationConfig:
    """Plain search or sampling from the joined scores: nothing a model's own defaults might add, but `options`."""
    plain: dict[str, Any] = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    if settings.do_sample:
        plain |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=settings.steps,
        num_beams=settings.beams,
        do_sample=settings.do_sample,
        num_return_sequences=settings.returned,
        eos_token_id=settings.end,
        pad_token_id=settings.end,
        **(plain | settings.options),
    )


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers from `seed` on inside, and as before afterwards."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _progress_bar(settings: SearchSettings) -> Iterator[StoppingCriteriaList]:
    """A stopping criterion that never stops and advances a bar, or none."""
    if not (sys.stderr.isatty() if settings.progress is None else settings.progress):
        yield StoppingCriteriaList()
        return
    from rich.progress import Progress

    from ctrlg.console import PlainConsole

    console = PlainConsole(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as bar:
        task = bar.add_task("writing", total=settings.steps)
        yield StoppingCriteriaList([_Ticker(lambda: bar.advance(task))])


class _Ticker(StoppingCriteria):
    """Calls a function at every step and never stops."""

    def __init__(self, tick: Any) -> None:
        self._tick = tick

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:  # type: ignore[override]
        self._tick()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
