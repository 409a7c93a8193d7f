"""Chunks of training data sampled from a language model: fair to every prompt, resumable, by one process or many.

Row i of the whole job, counted over all chunks, continues prompt i modulo the number of prompts: every prompt has its
share to within one row, in the job and in every chunk. A chunk's rows are cut into batches of prompts that are equally
long, so that nothing is padded. Every batch has a random stream of its own, named by (seed, chunk, batch): the data do
not depend on which process samples it, on how many there are, or on how often the job was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ctrlg.devices import varied_shapes
from ctrlg.distillation.processes import Processes
from ctrlg.distillation.sampling.in_vllm import Sampler
from ctrlg.distillation.sampling.parts import Parts, refuse_other_settings
from ctrlg.distillation.sampling.samples import (
    NextTokens,
    Report,
    Samples,
    continue_prompts,
)
from ctrlg.distillation.sampling.settings import ChunkSettings
from ctrlg.distillation.sampling.storage import EMBEDDINGS_SUFFIX, read_description
from ctrlg.distillation.sampling.teacher_forced import read_samples
from ctrlg.errors import ArgumentError, DataError, VocabularyError
from ctrlg.files.disk import writable_file, writable_folder
from ctrlg.files.locks import Lock
from ctrlg.loading.opening import weights_digest


class ChunkProgress(NamedTuple):
    """How far a job is: sequences of how many, over all processes, and the tokens sampled since it was started.

    Estimated from this process where there are several.

    Attributes:
        sequences: sampled so far.
        total: of all chunks.
        tokens: sampled since it was started.
    """

    sequences: float
    total: int
    tokens: int


@varied_shapes()
def sample_chunks(
    model: Any,
    prompts: Sequence[Sequence[int]],
    eos_token_id: int,
    settings: ChunkSettings,
    output: str | Path,
    processes: Processes | None = None,
    progress: Callable[[ChunkProgress], None] | None = None,
    until: float | None = None,
    sampler: Sampler | None = None,
) -> list[Path]:
    """Sample all chunks that are not there yet; returns the files of all chunks, or of those that time allowed.

    A job that was interrupted, killed even, goes on with the next batch and ends with the same data; it may go on with
    more chunks. To the bit, this holds on the same kind of device with the same number of threads a process.

    Args:
        model: a causal language model of transformers.
        prompts: token ids, at least one prompt and one token each.
        eos_token_id: ends a sequence.
        settings: how many, and how.
        output: file of the sequences where there is one chunk, else chunk c goes to `output`.c; embeddings go to the
            same name + ".embeddings". Both say what they are, see `read_description`.
        processes: of one group, which must see the same files; None for this one alone.
        progress: called at every step.
        until: of `time.monotonic()`; no batch is begun that would not be done by then, were it as slow as the one
            before it, but the first chunk is always finished.
        sampler: another engine with the same language model, which samples in place of `model`; what is kept besides
            tokens comes from one pass of `model` over them. Their data are not the same, so neither goes on with what
            the other has begun.

    Returns:
        The files of all chunks, or of those that time allowed.

    Raises:
        ArgumentError: `output` holds data of other settings or another process samples it, or lengths the model
            cannot hold.
        DataError, VocabularyError: prompts without tokens or outside the vocabulary.
    """
    processes = processes or Processes(0, 1, next(model.parameters()).device)
    output = Path(output)
    writable_folder(output.parent)
    _check_prompts(model, prompts, settings.sampling.max_new_tokens)
    description = _description(model, prompts, eos_token_id, settings, sampler)
    with Lock(output, f"sampling {output}") if processes.rank == 0 else nullcontext():
        return _sample_missing(
            model, prompts, eos_token_id, settings, output, processes, progress, until, description, sampler
        )


def _sample_missing(
    model: Any,
    prompts: Sequence[Sequence[int]],
    eos_token_id: int,
    settings: ChunkSettings,
    output: Path,
    processes: Processes,
    progress: Callable[[ChunkProgress], None] | None,
    until: float | None,
    description: dict[str, Any],
    sampler: Sampler | None,
) -> list[Path]:
    name = str(getattr(model, "name_or_path", ""))
    files = chunk_files(output, settings.total_chunks)
    missing = [chunk for chunk, file in enumerate(files) if not _is_finished(file, description, settings.embeds(chunk))]
    parts = Parts(output)
    if missing and processes.rank == 0:
        parts.claim(description)
    plan = {chunk: plan_batches([len(prompt) for prompt in prompts], settings, chunk) for chunk in missing}
    turns = [(chunk, batch) for chunk, batches in plan.items() for batch in range(len(batches))]
    mine = [turn for turn in turns[processes.rank :: processes.world_size] if not parts.has(*turn)]
    meter = _Meter(settings, plan, parts, mine, processes.world_size, progress)
    processes.wait()  # all have seen what is there before anything changes

    def join_complete() -> None:
        while missing and all(parts.has(missing[0], batch) for batch in range(len(plan[missing[0]]))):
            chunk = missing.pop(0)
            said = {"model": name, "chunk": chunk, "settings": description}
            parts.join(chunk, plan[chunk], eos_token_id, files[chunk], said, settings.file_format)

    latest = 0.0
    for chunk, batch in mine:
        began = time.monotonic()
        if until is not None and chunk > 0 and began + latest > until:
            break
        rows = plan[chunk][batch]
        arguments = (model, prompts, eos_token_id, settings, chunk, batch, rows, meter.report)
        samples = _sample_batch(*arguments) if sampler is None else _sample_elsewhere(sampler, *arguments)
        parts.write(chunk, batch, samples)
        if processes.rank == 0:
            join_complete()
        latest = time.monotonic() - began
    processes.wait()
    if processes.rank == 0:
        join_complete()
        if not missing:
            parts.remove()
    processes.wait()
    return [file for file in files if file.is_file()]


def chunk_files(output: str | Path, total_chunks: int) -> list[Path]:
    """Names of the chunks' sequence files, as Ctrl-G gives them: numbered where there are several.

    Args:
        output: as for `sample_chunks`.
        total_chunks: how many.
    """
    return [Path(f"{output}.{chunk}" if total_chunks > 1 else output) for chunk in range(total_chunks)]


def plan_batches(lengths: Sequence[int], settings: ChunkSettings, chunk: int) -> list[list[int]]:
    """Rows of a chunk by batch.

    Args:
        lengths: tokens of each prompt; those of one batch are equally long.
        settings: how many, and how.
        chunk: its number.
    """
    first = chunk * settings.chunk_size
    groups: dict[int, list[int]] = {}
    for row in range(settings.chunk_size):
        groups.setdefault(lengths[(first + row) % len(lengths)], []).append(row)
    batches = []
    for length in sorted(groups):
        rows = groups[length]
        count = -(-len(rows) // settings.batch_size)
        batches += [rows[part::count] for part in range(count)]
    return batches


def _sample_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    eos_token_id: int,
    settings: ChunkSettings,
    chunk: int,
    batch: int,
    rows: Sequence[int],
    report: Report,
) -> Samples:
    distinct, prompt_of = _prompts_of(prompts, settings, chunk, rows)
    stream = np.random.default_rng([settings.seed, chunk, batch])
    shape = (settings.sampling.max_new_tokens, len(rows))
    uniforms = torch.from_numpy(stream.random(shape))
    return continue_prompts(
        model,
        distinct,
        prompt_of,
        uniforms,
        settings.sampling,
        eos_token_id,
        settings.embeds(chunk),
        report,
        _next_tokens(settings, stream, shape),
    )


def _sample_elsewhere(
    sampler: Sampler,
    model: Any,
    prompts: Sequence[Sequence[int]],
    eos_token_id: int,
    settings: ChunkSettings,
    chunk: int,
    batch: int,
    rows: Sequence[int],
    report: Report,
) -> Samples:
    distinct, prompt_of = _prompts_of(prompts, settings, chunk, rows)
    stream = np.random.default_rng([settings.seed, chunk, batch])
    length = settings.sampling.max_new_tokens
    seeds = stream.integers(2**62, size=len(rows)).tolist()
    written = sampler.continue_prompts(
        [distinct[number].tolist() for number in prompt_of], seeds, settings.sampling, eos_token_id
    )
    sequences = torch.tensor([[*tokens, *[eos_token_id] * (length - len(tokens))] for tokens in written])
    report(len(rows), sum(map(len, written)))
    embedded, next_tokens = settings.embeds(chunk), _next_tokens(settings, stream, (length, len(rows)))
    if not embedded and next_tokens is None:
        return Samples(sequences, None)
    samples = read_samples(model, distinct, prompt_of, sequences, settings.sampling, eos_token_id, next_tokens)
    return samples if embedded else samples._replace(embeddings=None)


def _prompts_of(
    prompts: Sequence[Sequence[int]], settings: ChunkSettings, chunk: int, rows: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct prompts of some rows of a chunk, int64 [P, L], and which of them each continues, int64 [rows]."""
    numbers = [(chunk * settings.chunk_size + row) % len(prompts) for row in rows]
    distinct, prompt_of = np.unique(numbers, return_inverse=True)
    return torch.tensor([list(prompts[number]) for number in distinct]), torch.from_numpy(prompt_of.reshape(-1))


def _next_tokens(settings: ChunkSettings, stream: np.random.Generator, shape: tuple[int, int]) -> NextTokens | None:
    """What is wanted of every next-token distribution of a batch of this shape."""
    return NextTokens(settings.next_tokens, torch.from_numpy(stream.random(shape))) if settings.next_tokens else None


def _is_finished(file: Path, description: dict[str, Any], embedded: bool) -> bool:
    """Is the chunk there, sampled with these settings? Raises ArgumentError where something else is."""
    embeddings = Path(f"{file}{EMBEDDINGS_SUFFIX}")
    if not writable_file(file).exists():
        if embedded and writable_file(embeddings).exists():  # they are put there first
            refuse_other_settings(embeddings, read_description(embeddings).get("settings", {}), description)
        return False
    refuse_other_settings(file, read_description(file).get("settings", {}), description)
    return not embedded or embeddings.is_file()


def _description(
    model: Any,
    prompts: Sequence[Sequence[int]],
    eos_token_id: int,
    settings: ChunkSettings,
    sampler: Sampler | None,
) -> dict[str, Any]:
    """All that decides what a chunk holds. The number of chunks does not: a job may go on with more. What is as it
    always was before there was a choice is not mentioned: files of that time do not mention it either."""
    chosen = {name: getattr(settings, name) for name in ("file_format", "embedded_chunks", "next_tokens")}
    usual = {"file_format": "safetensors", "embedded_chunks": None, "next_tokens": 0}
    return {
        **({} if sampler is None else {"engine": sampler.name}),
        **{name: value for name, value in chosen.items() if value != usual[name]},
        **asdict(settings.sampling),
        "chunk_size": settings.chunk_size,
        "batch_size": settings.batch_size,
        "embeddings": settings.embeddings,
        "seed": settings.seed,
        "eos_token_id": eos_token_id,
        "prompts": len(prompts),
        "prompts_sha256": hashlib.sha256(json.dumps([list(map(int, row)) for row in prompts]).encode()).hexdigest(),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "weights_sha256": weights_digest(model),
    }


def _check_prompts(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    if not prompts or not all(prompts):
        raise DataError(
            "there are no prompts, or one of them has no tokens", hint="the end-of-text token alone is a prompt"
        )
    vocab_size = model.get_input_embeddings().weight.shape[0]
    largest = max(map(max, prompts))
    if largest >= vocab_size or min(map(min, prompts)) < 0:
        raise VocabularyError(
            f"the prompts hold token {largest}, the language model knows {vocab_size}", hint="use its own tokenizer"
        )
    room = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompts))
    if room and longest + max_new_tokens > room:
        raise ArgumentError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's {room} positions",
            hint=f"max_new_tokens may be {max(0, room - longest)} at most",
        )


class _Meter:
    """Turns what this process has sampled into how far the whole job is."""

    def __init__(
        self,
        settings: ChunkSettings,
        plan: dict[int, list[list[int]]],
        parts: Parts,
        mine: list[tuple[int, int]],
        world_size: int,
        progress: Callable[[ChunkProgress], None] | None,
    ) -> None:
        self._progress = progress
        self._world_size = world_size
        self._total = settings.chunk_size * settings.total_chunks
        self._left = sum(
            len(rows)
            for chunk, batches in plan.items()
            for batch, rows in enumerate(batches)
            if not parts.has(chunk, batch)
        )
        self._own = sum(len(plan[chunk][batch]) for chunk, batch in mine)
        self._ended = self._tokens = 0
        self.report(0, 0)

    def report(self, ended: int, tokens: int) -> None:
        self._ended += ended
        self._tokens += tokens
        if self._progress is not None:
            share = self._ended / self._own if self._own else 1.0
            sequences = self._total - self._left * (1 - share)
            self._progress(ChunkProgress(sequences, self._total, self._tokens * self._world_size))
