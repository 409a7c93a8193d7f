"""Domain adaptation: training on a file of sentences, chosen by held-out loss.

Ctrl-G adapts its language model to the domain before it distils (arXiv 2406.13892, sec. 4). Each sentence stands
between two end-of-text tokens, so that the adapted model writes sentences of the domain after end-of-text alone.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ctrlg.adaptation.adapters import (
    TrainableModel,
    save_adapter,
    with_adapter,
    with_all_weights,
    with_new_adapter,
)
from ctrlg.adaptation.log import (
    LOG_FILE,
    STATE_FILE,
    Evaluation,
    Losses,
    restore_state,
    save_state,
)
from ctrlg.adaptation.settings import AdaptationSettings
from ctrlg.devices import varied_shapes
from ctrlg.distillation.token_loss import has_plain_head, held_out_loss, token_loss
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.disk import writable_file, writable_folder
from ctrlg.files.folders import ADAPTER_FOLDER, MODEL_FOLDER, check_folder
from ctrlg.files.locks import Lock
from ctrlg.loading.opening import save_language_model, weights_digest

ADAPTER = "adapter"  # folders in the output
MODEL = "model"
BATCHES_PER_POOL = 16  # rows of so many batches are sorted by length together


class AdaptationStep(NamedTuple):
    """Told after each step. Losses in nats per token; held_out_loss where it was measured, else None.

    Attributes:
        step: its number.
        steps: planned.
        training_loss: of its batch, before the step.
        held_out_loss: where it was measured, else None.
        tokens_per_second: so far.
    """

    step: int
    steps: int
    training_loss: float | None
    held_out_loss: float | None
    tokens_per_second: float


class AdaptationResult(NamedTuple):
    """What came of it: losses in nats per token (end-of-text included), held-out; steps done and planned.

    Attributes:
        loss_before: before any step.
        best_loss: the least.
        best_step: after which it was reached.
        steps: done.
        planned_steps: planned.
    """

    loss_before: float
    best_loss: float
    best_step: int
    steps: int
    planned_steps: int


@varied_shapes()
def adapt(
    model: Any,
    training: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    output: str | Path,
    settings: AdaptationSettings | None = None,
    tokenizer: Any = None,
    initial_adapter: str | Path | None = None,
    report: Callable[[AdaptationStep], None] = lambda step: None,
) -> AdaptationResult:
    """Train on `training`, keep the weights with the least held-out loss in the folder `output`.

    A run that was interrupted, at any moment, goes on from its last save when it is called again with the same
    arguments, and ends with the same weights.

    Args:
        model: a causal language model of transformers in the precision to compute in, float32 or bfloat16 (faster where
            the processor has it; attn_implementation="eager" trains faster than the default on CPUs). It is changed.
        training: token rows, each from end-of-text to end-of-text, or to where its sentence was cut.
        held_out: token rows of the same kind, to judge by.
        output: gets `adapter/` (peft format, half precision) or, where settings.full, `model/` (an ordinary model
            folder with this tokenizer); `log.jsonl`; `resume.safetensors`.
        settings: how to train; the defaults where None.
        tokenizer: of the model; needed where settings.full.
        initial_adapter: folder of an adapter to go on from, with a fresh optimizer, instead of a new one.
        report: called after each step.

    Raises:
        DataError: no sentences.
        ArgumentError: what does not go together; a loss that is no longer finite; an output that holds what no run
            wrote, or in which another process adapts.
        CheckpointError: an output that holds another run (of another language model, too), or an adapter of another
            model.
    """
    settings = settings or AdaptationSettings()
    _check(model, training, held_out, settings, tokenizer, initial_adapter)
    output = writable_folder(output)
    with Lock(output / STATE_FILE, f"adapting in {output}"):
        _check_output(output, settings, initial_adapter)
        return _adapt(model, training, held_out, output, settings, tokenizer, initial_adapter, report)


def _check_output(output: Path, settings: AdaptationSettings, initial_adapter: str | Path | None) -> None:
    """Raise ArgumentError where a run would replace anything that no run wrote, or the adapter it begins with."""
    if settings.full:
        check_folder(output / MODEL, MODEL_FOLDER)
    else:
        check_folder(output / ADAPTER, ADAPTER_FOLDER, [initial_adapter] if initial_adapter else [])
    for name in (STATE_FILE, LOG_FILE):
        writable_file(output / name)
    if (output / LOG_FILE).exists() and not (output / STATE_FILE).exists():  # which is written first
        raise ArgumentError(f"{output / LOG_FILE} is not of a run in {output}", hint="choose another output folder")


def _adapt(
    model: Any,
    training: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    output: Path,
    settings: AdaptationSettings,
    tokenizer: Any,
    initial_adapter: str | Path | None,
    report: Callable[[AdaptationStep], None],
) -> AdaptationResult:
    torch.manual_seed(settings.seed)
    run = _identity(model, training, held_out, settings, initial_adapter)  # of the model as it is before the adapter
    trainable = _trainable(model, settings, initial_adapter)
    optimizer = torch.optim.AdamW(trainable.masters.values(), lr=settings.learning_rate, weight_decay=0.0)
    losses = restore_state(output, run, trainable.masters, optimizer)
    trainable.copy_masters()

    steps = math.ceil(settings.epochs * len(training) / settings.batch_size)
    if not losses.evaluations:
        losses.evaluations.append(Evaluation(0, _evaluate(trainable, held_out, settings)))
        _keep(trainable, output, settings, tokenizer, training[0][0])
        report(AdaptationStep(0, steps, None, losses.evaluations[0].held_out_loss, 0.0))
    for step, loss, rate, last in _train(trainable, training, optimizer, settings, steps, losses):
        losses.training.append(loss)
        evaluation = None
        if step % settings.evaluate_every == 0 or last:
            evaluation = Evaluation(step, _evaluate(trainable, held_out, settings))
            losses.evaluations.append(evaluation)
            if losses.best is evaluation:
                _keep(trainable, output, settings, tokenizer, training[0][0])
        if evaluation or (settings.save_every and step % settings.save_every == 0):
            save_state(output, run, losses, trainable.masters, optimizer)
        report(AdaptationStep(step, steps, loss, evaluation and evaluation.held_out_loss, rate))
    best = losses.best
    return AdaptationResult(
        losses.evaluations[0].held_out_loss, best.held_out_loss, best.step, len(losses.training), steps
    )


def _train(
    trainable: TrainableModel,
    training: Sequence[Sequence[int]],
    optimizer: torch.optim.Optimizer,
    settings: AdaptationSettings,
    steps: int,
    losses: Losses,
) -> Iterator[tuple[int, float, float, bool]]:
    """(step, loss before it, tokens per second so far, whether it was the last) of each step from where `losses` ends,
    until enough is done."""
    began = time.monotonic()
    blockwise = has_plain_head(trainable.model)
    batches = _batches(training, settings)
    for _ in range(len(losses.training)):
        next(batches)
    elapsed, seen = 0.0, 0
    for step in range(len(losses.training), steps):
        if settings.patience and losses.evaluations_since_best >= settings.patience:
            return
        started = time.monotonic()
        rows = next(batches)
        # The model's own dropout, where it has one, must not depend on how often the run was interrupted.
        torch.manual_seed(settings.seed * 1_000_003 + step)
        loss = token_loss(trainable.model, rows, blockwise)
        value = loss.item()
        if not math.isfinite(value):
            raise ArgumentError(
                f"the loss is {value} at step {step + 1}",
                hint=f"a learning rate below {settings.learning_rate}, in another output folder",
            )
        loss.backward()
        trainable.gather_gradients()
        torch.nn.utils.clip_grad_norm_(trainable.masters.values(), 1.0)
        spent = 0.0 if settings.seconds is None else (time.monotonic() - began) / settings.seconds
        for group in optimizer.param_groups:
            slope = min(1.0, (step + 1) / settings.warmup)
            group["lr"] = settings.learning_rate * slope * _cosine(max(step / steps, spent))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        trainable.copy_masters()
        elapsed += time.monotonic() - started
        seen += sum(map(len, rows))
        last = step + 1 == steps or spent >= 1
        yield step + 1, value, seen / elapsed, last
        if last:
            return


def _batches(rows: Sequence[Sequence[int]], settings: AdaptationSettings) -> Iterator[list[Sequence[int]]]:
    """Endless batches of rows of similar length (less padding), in an order fixed by the seed."""
    generator = torch.Generator().manual_seed(settings.seed)
    pool = settings.batch_size * BATCHES_PER_POOL
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda index: len(rows[index]))
            batches = [part[i : i + settings.batch_size] for i in range(0, len(part), settings.batch_size)]
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield [rows[member] for member in batches[index]]


def _evaluate(trainable: TrainableModel, held_out: Sequence[Sequence[int]], settings: AdaptationSettings) -> float:
    trainable.model.eval()
    value = held_out_loss(trainable.model, held_out, settings.batch_size)
    trainable.model.train()
    return value


def _keep(
    trainable: TrainableModel, output: Path, settings: AdaptationSettings, tokenizer: Any, eos_token_id: int
) -> None:
    if settings.full:
        save_language_model(trainable.model, tokenizer, output / MODEL, eos_token_id)
    else:
        save_adapter(trainable, output / ADAPTER)


def _trainable(model: Any, settings: AdaptationSettings, initial_adapter: str | Path | None) -> TrainableModel:
    if settings.full:
        return with_all_weights(model)
    if initial_adapter is not None:
        return with_adapter(model, initial_adapter)
    return with_new_adapter(model, settings.rank, settings.alpha, settings.target_modules)


def _check(
    model: Any,
    training: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    settings: AdaptationSettings,
    tokenizer: Any,
    initial_adapter: str | Path | None,
) -> None:
    if not training or not held_out:
        raise DataError("no training or no held-out sentences", hint="check the data file and --held_out")
    dtype = next(model.parameters()).dtype
    if dtype not in (torch.float32, torch.bfloat16):
        raise ArgumentError(f"cannot train in {dtype}: gradients underflow", hint="load it in bfloat16 or float32")
    if settings.full and initial_adapter is not None:
        raise ArgumentError(
            f"full fine-tuning cannot go on from the adapter {initial_adapter}", hint="merge the adapter first"
        )
    if settings.full and tokenizer is None:
        raise ArgumentError("full fine-tuning saves a whole model", hint="give its tokenizer")


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _identity(
    model: Any,
    training: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    settings: AdaptationSettings,
    initial_adapter: str | Path | None,
) -> dict[str, Any]:
    """What makes two calls the same run: settings, data, and the weights and the precision it begins with."""
    run = {
        **asdict(settings),
        "target_modules": str(settings.target_modules),
        "data": _fingerprint(training, held_out),
        "adapter": _adapter_fingerprint(initial_adapter),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "weights": weights_digest(model)[:16],
    }
    del run["save_every"], run["seconds"]
    return run


def _fingerprint(*parts: Sequence[Sequence[int]]) -> str:
    """Short digest of token rows."""
    digest = hashlib.sha256()
    for rows in parts:
        for row in rows:
            digest.update(repr(list(row)).encode())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def _adapter_fingerprint(folder: str | Path | None) -> str | None:
    """Short digest of an adapter's files: the run begins from their content, wherever they lie."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(Path(folder).glob("adapter_*")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
