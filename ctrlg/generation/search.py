"""One run of transformers' `generate` for several prompts, each of which has processors of its own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from ctrlg.generation.options import OF_CALL, OF_CONFIG, options_explained


class SearchSettings(NamedTuple):
    """steps: most tokens after the prompt. beams: >= 1. returned: rows for each prompt. end: the token that ends a row.
    progress: show a bar; in terminals only where None.
    length_penalty: of beam search, see `ctrlg.generate`. options: further settings of `generate`."""

    steps: int
    beams: int
    do_sample: bool
    returned: int
    end: int
    seed: int | None
    progress: bool | None
    length_penalty: float
    options: dict[str, Any]


def search(
    model: Any, prompts: Sequence[Sequence[int]], processors: Sequence[LogitsProcessorList], settings: SearchSettings
) -> list[Tensor]:
    """What `model.generate` writes after each prompt, int64 [returned, <= steps] each.

    model: see `ctrlg.generation.plain_model`.
    processors: those of each prompt see its rows alone, whose prompt is padded on the left to the longest one's length.
    """
    width = max(map(len, prompts))
    input_ids = torch.tensor(
        [[settings.end] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device
    )
    attended = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    options = settings.options
    own = {"logits_processor", "stopping_criteria"}
    with (
        _progress_bar(settings) as bar,
        _own_draws(settings.seed, model.device) as (begin, end),
        options_explained(options),
    ):
        outputs = model.generate(
            input_ids,
            attention_mask=attended.to(model.device),
            generation_config=_generation_config(model, settings),
            logits_processor=LogitsProcessorList(
                [*(options.get("logits_processor") or ()), _ByPrompt(processors), *begin]
            ),
            stopping_criteria=StoppingCriteriaList([*(options.get("stopping_criteria") or ()), *bar, *end]),
            **{name: value for name, value in options.items() if name in OF_CALL - own},
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


def _generation_config(model: Any, settings: SearchSettings) -> GenerationConfig:
    """Plain search or sampling from the joined scores, and the options."""
    plain: dict[str, Any] = {"top_k": 0} if settings.do_sample else {}
    if settings.beams > 1:
        plain["length_penalty"] = settings.length_penalty
    if settings.beams > 1 and _keeps_state_to_itself(model):
        plain["use_cache"] = False
    return GenerationConfig(
        max_new_tokens=settings.steps,
        num_beams=settings.beams,
        do_sample=settings.do_sample,
        num_return_sequences=settings.returned,
        eos_token_id=settings.end,
        pad_token_id=settings.end,
        **(plain | {name: value for name, value in settings.options.items() if name in OF_CONFIG}),
    )


def _keeps_state_to_itself(model: Any) -> bool:
    """Whether a recurrent model's state (RWKV, xLSTM, ...) is no cache that beam search could reorder: then every step
    reads the text again."""
    return (
        getattr(model, "_is_stateful", False) and "past_key_values" not in inspect.signature(model.forward).parameters
    )


@contextmanager
def _own_draws(
    seed: int | None, device: torch.device
) -> Iterator[tuple[list[LogitsProcessor], list[StoppingCriteria]]]:
    """A last processor and a last criterion between which tokens are sampled from a generator of their own, seeded with
    `seed`; none where it is None. The global generator is not touched, so other threads may use it.
    """
    if seed is None:
        yield [], []
        return
    draws = _Draws(torch.Generator(device).manual_seed(seed))
    try:
        yield [_Before(draws)], [_Tick(draws.end)]
    finally:
        draws.end()


class _Draws(TorchFunctionMode):
    """Gives `torch.multinomial` a generator, in this thread alone and from `begin` to `end`.

    It is on only while a token is sampled: it sees every torch function, which would slow a language model by a tenth.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator
        self._on = False

    def begin(self) -> None:
        if not self._on:
            self.__enter__()
            self._on = True

    def end(self) -> None:
        if self._on:
            self._on = False
            self.__exit__(None, None, None)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.multinomial:
            kwargs = {**kwargs, "generator": self._generator}
        return func(*args, **kwargs)


class _Before(LogitsProcessor):
    """Changes nothing; begins the draws."""

    def __init__(self, draws: _Draws) -> None:
        self._draws = draws

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._draws.begin()
        return scores


@contextmanager
def _progress_bar(settings: SearchSettings) -> Iterator[list[StoppingCriteria]]:
    """A stopping criterion that never stops and advances a bar, or none."""
    if not (sys.stderr.isatty() if settings.progress is None else settings.progress):
        yield []
        return
    from rich.progress import Progress

    from ctrlg.terminal.plain_console import PlainConsole

    console = PlainConsole(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as bar:
        task = bar.add_task("writing", total=settings.steps)
        yield [_Tick(lambda: bar.advance(task))]


class _Tick(StoppingCriteria):
    """Calls a function at every step and never stops."""

    def __init__(self, tick: Any) -> None:
        self._tick = tick

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:  # type: ignore[override]
        self._tick()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
