"""Where an adaptation stands, on disk: what it needs to go on after a break, and a log of its losses.

A broken run goes on from its last save and ends with the same numbers as an unbroken one: weights and optimiser come
back in float32, bit for bit, and each step's batch and random numbers follow from the seed and the step alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ctrlg.errors import CheckpointError, DataError, differing_settings
from ctrlg.files.atomic import atomic_file
from ctrlg.files.json_text import json_text
from ctrlg.files.tensors import write_tensors

STATE_FILE = "resume.safetensors"  # one file, so that a kill between two writes cannot part what belongs together
LOG_FILE = "log.jsonl"


class Evaluation(NamedTuple):
    """Held-out loss after so many steps, nats per token.

    Attributes:
        step: its number.
        held_out_loss: nats per token.
    """

    step: int
    held_out_loss: float


class Losses(NamedTuple):
    """Losses of a run, nats per token.

    Attributes:
        training: of each step's batch, before the step.
        evaluations: at some steps.
    """

    training: list[float]
    evaluations: list[Evaluation]

    @property
    def best(self) -> Evaluation:
        """The evaluation with the least loss, the first of equals."""
        return min(self.evaluations, key=lambda evaluation: evaluation.held_out_loss)

    @property
    def evaluations_since_best(self) -> int:
        """How many evaluations have passed since the best one."""
        return len(self.evaluations) - 1 - self.evaluations.index(self.best)


def save_state(
    output: Path,
    run: Mapping[str, Any],
    losses: Losses,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write what `restore_state` reads, and the log.

    Args:
        output: folder of the run.
        run: what makes this run this run (settings, data); a run of another kind refuses to go on from it.
        losses: so far.
        parameters: trained ones, by name.
        optimizer: of the run.
    """
    tensors = {"training_losses": torch.tensor(losses.training, dtype=torch.float64)}
    for name, parameter in parameters.items():
        tensors[f"parameter.{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():  # type: ignore[call-overload]
            tensors[f"{key}.{name}"] = value
    write_tensors(
        output / STATE_FILE,
        {name: tensor.cpu() for name, tensor in tensors.items()},
        {"run": json_text(run), "evaluations": json_text(losses.evaluations)},
    )
    lines = [{"step": step, "training_loss": loss} for step, loss in enumerate(losses.training, start=1)]
    lines += [evaluation._asdict() for evaluation in losses.evaluations]
    with atomic_file(output / LOG_FILE) as temporary:
        ordered = sorted(lines, key=lambda line: line["step"])
        temporary.write_text("".join(json_text(line) + "\n" for line in ordered), encoding="utf-8")


def restore_state(
    output: Path, run: Mapping[str, Any], parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> Losses:
    """Put a broken run's weights and optimiser back; its losses so far (none where `output` holds no run).

    Args:
        output: folder of the run.
        run: as for `save_state`.
        parameters: trained ones, by name.
        optimizer: of the run.

    Returns:
        Its losses so far, none where `output` holds no run.

    Raises:
        CheckpointError: a run with other settings or data, and a file that is damaged.
    """
    file = output / STATE_FILE
    if not file.is_file():
        return Losses([], [])
    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
        earlier = json.loads(metadata["run"])
        evaluations = [_evaluation(*entry) for entry in json.loads(metadata["evaluations"])]
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(
            f"cannot go on from {file}: {error}", hint="delete it to begin again, or choose another output"
        ) from error
    _check_same_run(output, earlier, run)
    with torch.no_grad():
        for name, parameter in parameters.items():
            stored = tensors.get(f"parameter.{name}")
            if stored is None or stored.shape != parameter.shape:
                raise CheckpointError(
                    f"{file} holds a run of another language model: {name} is missing or has another shape",
                    hint="give the same model to go on, or another output folder",
                )
            parameter.copy_(stored)
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}.{name}" in tensors]
            if keys:
                # AdamW keeps its step count on the processor and its moments beside the weights.
                optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].to("cpu" if key == "step" else parameter.device) for key in keys
                }
    return Losses(tensors["training_losses"].tolist(), evaluations)


def read_log(path: str | Path) -> Losses:
    """The losses of a log file.

    Args:
        path: of the log.

    Raises:
        DataError: it is none, or holds no evaluation.
    """
    path = Path(path)
    training: list[float] = []
    evaluations: list[Evaluation] = []
    try:
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            record = json.loads(line)
            if "held_out_loss" in record:
                evaluations.append(_evaluation(record["step"], record["held_out_loss"]))
            else:
                training.append(record["training_loss"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no log of an adaptation: {error}", hint=f"name a {LOG_FILE}") from error
    if not evaluations:
        raise DataError(f"{path} holds no evaluation", hint="wait for the first one")
    return Losses(training, evaluations)


def _evaluation(step: int, loss: float | None) -> Evaluation:
    """From JSON, where a loss that is not finite is null."""
    return Evaluation(step, math.nan if loss is None else loss)


def _check_same_run(output: Path, earlier: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    if differences := differing_settings(earlier, run):
        raise CheckpointError(
            f"{output} holds a run with other settings: {differences}",
            hint="give the same settings and data to go on, or another output folder",
        )
