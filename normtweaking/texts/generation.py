"""Calibration texts that the model writes itself.

A text begins as in LLM-QAT (arXiv 2305.17888, sec. 2.1): a first token sampled from the vocabulary, a
few more that are each the most likely one, and from then on tokens sampled from the model's distribution. The first
token is sampled evenly from all tokens of the given languages (Norm Tweaking, arXiv 2309.02784, sec. 3.4), so each
language has the share that it has in the vocabulary. Where a text ends before its row is full, another one begins
behind it in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctrlg.arguments import LanguageModel, Tokenizer, checked
from ctrlg.distillation.sampling.categorical import sampled_tokens
from ctrlg.distillation.sampling.incremental import IncrementalModel
from ctrlg.distillation.sampling.parts import Parts, refuse_other_settings
from ctrlg.distillation.sampling.samples import Samples
from ctrlg.errors import ArgumentError
from ctrlg.files.disk import writable_file
from ctrlg.files.locks import Lock
from ctrlg.loading.opening import weights_digest
from ctrlg.vocabulary import Vocabulary
from normtweaking.texts.calibration import CalibrationData
from normtweaking.texts.languages import language_tokens
from normtweaking.texts.settings import CalibrationSettings

Progress = Callable[[int, int], None]  # called with the number of tokens sampled, and of all


@checked
def generate_calibration(
    model: LanguageModel,
    tokenizer: Tokenizer,
    settings: CalibrationSettings,
    output: str | Path,
    progress: Progress | None = None,
) -> CalibrationData:
    """Let the model write the texts, into the file `output`; what is there already is only read.

    Args:
        model: a causal language model of transformers. A job that was interrupted goes on with the next batch and ends
            with the same data: every batch samples from a stream named by (seed, batch).
        tokenizer: of the model.
        settings: what to write.
        output: file of the texts.
        progress: called with the tokens written, of all.

    Raises:
        ArgumentError: `output` holds data of other settings or another model, or is being written, and rows longer
            than the model can read.
    """
    room = getattr(model.config, "max_position_embeddings", None)
    if room and settings.length > room:
        raise ArgumentError(f"rows of {settings.length} tokens", hint=f"the model reads {room} at most")
    vocabulary = Vocabulary.of(tokenizer, model.get_input_embeddings().weight.shape[0])
    writer = _Writer(model, settings, language_tokens(vocabulary, settings.languages), _leading(tokenizer), vocabulary)
    description = {
        "source": "the model itself",
        "vocabulary": vocabulary.fingerprint,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "weights_sha256": weights_digest(model),
        **asdict(settings),
        "languages": list(settings.languages),
    }
    with Lock(output):
        return _generate_missing(writer, settings, Path(output), description, progress)


def _generate_missing(
    writer: _Writer,
    settings: CalibrationSettings,
    output: Path,
    description: dict[str, Any],
    progress: Progress | None,
) -> CalibrationData:
    if writable_file(output).exists():
        data = CalibrationData.load(output)
        refuse_other_settings(output, data.description, description)
        return data
    parts = Parts(output)
    parts.claim(description)
    batches = torch.arange(settings.samples).split(settings.batch_size)
    total = settings.samples * settings.length
    for batch, rows in enumerate(batches):
        done = int(rows[0]) * settings.length
        if not parts.has(0, batch):
            counted = None if progress is None else lambda tokens, _done=done: progress(_done + tokens, total)
            parts.write(0, batch, Samples(writer.write(batch, len(rows), counted), None))
    tokens = torch.cat([parts.sequences(0, batch) for batch in range(len(batches))]).long()
    CalibrationData(tokens, description).save(output)
    parts.remove()
    return CalibrationData.load(output)


def _leading(tokenizer: Any) -> list[int]:
    """Tokens that the tokenizer puts before every text: the begin-of-text token of many models."""
    return [int(token) for token in tokenizer("")["input_ids"] if token == tokenizer.bos_token_id]


class _Writer:
    """Writes batches of texts."""

    def __init__(
        self,
        model: Any,
        settings: CalibrationSettings,
        first_tokens: Sequence[int],
        leading: Sequence[int],
        vocabulary: Vocabulary,
    ) -> None:
        self._model = model
        self._settings = settings
        self._device = next(model.parameters()).device
        self._first_tokens = torch.tensor(first_tokens, device=self._device)
        self._leading = list(leading)[: settings.length - 1]
        ends = getattr(model.generation_config, "eos_token_id", None)
        ends = ends if isinstance(ends, (list, tuple)) else [vocabulary.eos_token_id if ends is None else ends]
        self._ends = torch.tensor(ends, device=self._device)

    @torch.inference_mode()
    def write(self, batch: int, count: int, progress: Callable[[int], None] | None) -> Tensor:
        """`count` rows, int64 [count, length]. progress: called with the number of tokens so far."""
        settings = self._settings
        stream = np.random.default_rng([settings.seed, batch])
        uniforms = torch.from_numpy(stream.random((settings.length, count))).to(self._device)
        begun = len(self._leading)
        rows = torch.empty(count, settings.length, dtype=torch.long, device=self._device)
        rows[:, :begun] = torch.tensor(self._leading, dtype=torch.long, device=self._device)
        rows[:, begun] = self._first(uniforms[begun])
        greedy_left = torch.full((count,), settings.greedy_tokens, device=self._device)
        prompts, prompt_of = torch.unique(rows[:, : begun + 1], dim=0, return_inverse=True)
        reader = IncrementalModel(self._model, prompts, prompt_of, settings.length - begun, embeddings=False)
        for place in range(begun + 1, settings.length):
            if place > begun + 1:
                reader.read(rows[:, place - 1])
            sampled = sampled_tokens(reader.logits, uniforms[place], settings.temperature)
            tokens = torch.where(greedy_left > 0, reader.logits.argmax(1), sampled)
            fresh = torch.isin(rows[:, place - 1], self._ends)
            rows[:, place] = torch.where(fresh, self._first(uniforms[place]), tokens)
            greedy_left = torch.where(fresh, settings.greedy_tokens, greedy_left - 1)
            if progress is not None:
                progress(count * (place + 1))
        return rows.cpu()

    def _first(self, uniforms: Tensor) -> Tensor:
        """A first token for every uniform number."""
        return self._first_tokens[(uniforms * len(self._first_tokens)).long()]
