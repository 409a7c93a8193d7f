"""Domain adaptation: LoRA on a file of sentences, chosen by held-out loss.

Ctrl-G adapts its language model to the domain before it distils (arXiv 2406.13892, sec. 4). Each sentence stands
between two end-of-text tokens, so that the adapted model writes sentences of the domain after end-of-text alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ctrlg.errors import ArgumentError, CheckpointError, DataError
from ctrlg.files import atomic_folder, write_json, write_tensors

IGNORED = -100  # label of padding, as torch.nn.functional.cross_entropy expects


@dataclass(frozen=True)
class AdaptationSettings:
    """How to adapt. rank: of the LoRA matrices; learning_rate: peak, after `warmup` steps, then a cosine to zero."""

    rank: int = 6
    learning_rate: float = 1e-3
    warmup: int = 50
    batch_size: int = 64
    epochs: float = 1.0
    evaluate_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.batch_size < 1 or self.epochs <= 0 or self.evaluate_every < 1:
            raise ArgumentError(
                f"rank {self.rank}, batch_size {self.batch_size}, epochs {self.epochs} and "
                f"evaluate_every {self.evaluate_every} must be positive",
                hint="the defaults of AdaptationSettings adapt a 135M model in about 20 minutes on 2 cores",
            )


class AdaptationResult(NamedTuple):
    """What came of it: losses in nats per token (end-of-text included), held-out."""

    loss_before: float
    best_loss: float
    best_step: int
    steps: int


def adapt(
    model: Any,
    training: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    output: str | Path,
    settings: AdaptationSettings | None = None,
    report: Any = print,
) -> AdaptationResult:
    """Train a LoRA adapter on `training`, keep the one with the least held-out loss in `output`/adapter.

    model: a causal language model of transformers; its weights stay as they are (bfloat16 is faster where the
        processor has it, and attn_implementation="eager" trains faster than the default on CPUs), the adapter
        is float32.
    training, held_out: token rows, each from end-of-text to end-of-text.
    output: folder; `adapter/` (peft format, half precision), `log.jsonl`, `resume/` (to go on after a break).
    report: called with one line of text at each evaluation.

    An interrupted run goes on from its last evaluation and ends with the same adapter.
    """
    from peft import LoraConfig, get_peft_model

    settings = settings or AdaptationSettings()
    if not training or not held_out:
        raise DataError("no training or no held-out sentences", hint="check the data file and --held-out")
    output = Path(output)
    torch.manual_seed(settings.seed)
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=settings.rank,
            lora_alpha=2 * settings.rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    parameters = {name: tensor for name, tensor in adapted.named_parameters() if tensor.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=settings.learning_rate, weight_decay=0.0)
    total = math.ceil(settings.epochs * len(training) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / settings.warmup) * _cosine(step / total)
    )

    step, history = _resume(output, settings, parameters, optimizer, schedule)
    if not history:
        history = [{"step": 0, "held_out_loss": held_out_loss(adapted, held_out, settings.batch_size)}]
        report(f"step 0/{total}: held-out loss {history[0]['held_out_loss']:.4f} nats per token")
    batches = _batches(training, settings)
    for _ in range(step):
        next(batches)
    started, seen = time.monotonic(), 0
    while step < total:
        rows = next(batches)
        loss = _loss(adapted, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        step += 1
        seen += sum(map(len, rows))
        if step % settings.evaluate_every == 0 or step == total:
            value = held_out_loss(adapted, held_out, settings.batch_size)
            best = value < min(entry["held_out_loss"] for entry in history)
            history.append({"step": step, "held_out_loss": value, "training_loss": loss.item()})
            if best:
                _save_adapter(adapted, output / "adapter")
            _save_progress(output, settings, step, history, parameters, optimizer)
            rate = seen / (time.monotonic() - started)
            report(
                f"step {step}/{total}: held-out loss {value:.4f}, training {loss.item():.4f} nats per token, "
                f"{rate:.0f} tokens/s"
            )
    chosen = min(history, key=lambda entry: entry["held_out_loss"])
    return AdaptationResult(history[0]["held_out_loss"], chosen["held_out_loss"], int(chosen["step"]), step)


@torch.no_grad()
def held_out_loss(model: Any, rows: Sequence[Sequence[int]], batch_size: int) -> float:
    """Nats per predicted token (end-of-text included) of token rows under a causal language model."""
    ordered = sorted(rows, key=len)
    total, count = 0.0, 0
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        tokens = sum(len(row) - 1 for row in batch)
        total += _loss(model, batch).item() * tokens
        count += tokens
    return total / count


def _loss(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """Mean cross-entropy in nats over the tokens after the first of each row."""
    width = max(map(len, rows))
    device = next(model.parameters()).device
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        labels[index, : len(row)] = torch.tensor(row)
        ids[index, : len(row)] = labels[index, : len(row)]
    targets = labels[:, 1:].to(device)
    keep = targets != IGNORED
    # Padding stands on the right, where a causal model cannot see it: no attention mask is needed.
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits = model(input_ids=ids[:, :-1].to(device), use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[keep].float(), targets[keep])


def _batches(rows: Sequence[Sequence[int]], settings: AdaptationSettings) -> Iterator[list[Sequence[int]]]:
    """Endless batches of rows of similar length (less padding), in an order fixed by the seed."""
    generator = torch.Generator().manual_seed(settings.seed)
    pool = settings.batch_size * 16
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda index: len(rows[index]))
            batches = [part[i : i + settings.batch_size] for i in range(0, len(part), settings.batch_size)]
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield [rows[member] for member in batches[index]]


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _save_adapter(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict

    with atomic_folder(folder) as temporary:
        state = {name: tensor.half().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
        write_tensors(temporary / "adapter_model.safetensors", state)
        config = model.peft_config["default"].to_dict()
        config["target_modules"] = sorted(config["target_modules"])
        config["base_model_name_or_path"] = None
        config["inference_mode"] = True
        write_json(temporary / "adapter_config.json", json.loads(json.dumps(config, default=str)))


def _save_progress(
    output: Path,
    settings: AdaptationSettings,
    step: int,
    history: list[dict[str, float]],
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        tensors[f"parameter.{name}"] = parameter.detach()
        tensors[f"exp_avg.{name}"] = state["exp_avg"]
        tensors[f"exp_avg_sq.{name}"] = state["exp_avg_sq"]
    with atomic_folder(output / "resume") as temporary:
        write_tensors(temporary / "state.safetensors", tensors)
        write_json(temporary / "progress.json", {"step": step, "settings": asdict(settings), "history": history})
    (output / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history))


def _resume(
    output: Path,
    settings: AdaptationSettings,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> tuple[int, list[dict[str, float]]]:
    """(steps done, history so far) of an interrupted run in `output`; (0, []) where there is none."""
    file = output / "resume" / "progress.json"
    if not file.is_file():
        return 0, []
    progress = json.loads(file.read_text())
    if progress["settings"] != asdict(settings):
        raise CheckpointError(
            f"{output} holds a run with other settings: {progress['settings']}",
            hint="give the same settings to go on, or another output folder",
        )
    tensors = load_file(output / "resume" / "state.safetensors")
    step = progress["step"]
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"exp_avg.{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(parameter.device),
            }
    for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base * schedule.lr_lambdas[0](step)
    schedule.last_epoch = step
    return step, progress["history"]
