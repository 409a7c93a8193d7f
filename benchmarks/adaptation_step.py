"""Tokens per second of a training step, beside the same step as peft and transformers would do it.

Beside it: float32 adapter under autocast (peft's default) and the logits of all tokens at once. Both take the same
batches in turn, so that a busy machine slows both; processor time is what other work disturbs least.

    python benchmarks/adaptation_step.py --data train.jsonl --steps 6 --threads 1
    python benchmarks/adaptation_step.py --data train.jsonl --train 100

`--train` also trains both for so many steps from the same beginning and prints their held-out losses.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from ctrlg.adaptation.adapters import TrainableModel, with_new_adapter
from ctrlg.adaptation.sentences import encode_sentences, end_of_text_id, read_sentences, split_groups
from ctrlg.devices import fast_dtype, wait_for
from ctrlg.distillation.token_loss import IGNORED, has_plain_head, held_out_loss, token_batch, token_loss
from ctrlg.loading.language_models import DEFAULT_BASE, load_language_model
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag

RANK = 6
LEARNING_RATE = 1e-3

Rows = Sequence[Sequence[int]]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    device = arguments.device
    model, tokenizer = load_language_model(arguments.model, device, fast_dtype(device), attn_implementation="eager")
    training, held_out = split_groups(read_sentences(arguments.data, arguments.column), arguments.held_out)
    end = end_of_text_id(tokenizer)
    batches = batches_of(encode_sentences(tokenizer, training, end), arguments.batch_size)
    rows = encode_sentences(tokenizer, held_out, end)
    torch.manual_seed(0)
    usual = usual_step(copy.deepcopy(model))
    torch.manual_seed(0)
    trainable = with_new_adapter(model.train(), RANK)
    blockwise = has_plain_head(trainable.model)
    ours = our_step(trainable, blockwise)
    compare(usual, ours, batches, arguments.steps)
    if arguments.train:
        for index in range(arguments.train):
            for step in (usual, ours):
                step.train(batches[index % len(batches)])
        for step in (usual, ours):
            loss = held_out_loss(step.model.eval(), rows, arguments.batch_size)
            print(f"{step.name}: held-out loss {loss:.4f} nats per token after {arguments.train} steps")


class Step:
    """One way to train: loss and gradients of a batch, then AdamW on `parameters`."""

    def __init__(
        self, name: str, model: Any, loss: Callable[[Rows], Tensor], parameters: list[Any], trainable: Any = None
    ) -> None:
        self.name, self.model, self.loss, self.trainable = name, model, loss, trainable
        self.optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)

    def train(self, rows: Rows) -> None:
        self.loss(rows).backward()
        if self.trainable is not None:
            self.trainable.gather_gradients()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.trainable is not None:
            self.trainable.copy_masters()


def usual_step(model: Any) -> Step:
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model.train(), config)

    def loss(rows: Rows) -> Tensor:
        device = next(adapted.parameters()).device
        ids, targets = token_batch(rows, device)
        keep = targets != IGNORED
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = adapted(input_ids=ids, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits[keep].float(), targets[keep])

    return Step("peft and transformers", adapted, loss, [p for p in adapted.parameters() if p.requires_grad])


def our_step(trainable: TrainableModel, blockwise: bool) -> Step:
    def loss(rows: Rows) -> Tensor:
        return token_loss(trainable.model, rows, blockwise)

    return Step("ctrlg", trainable.model, loss, list(trainable.masters.values()), trainable)


def compare(usual: Step, ours: Step, batches: list[Rows], steps: int) -> None:
    """Train both on the same batches in turn; print tokens per second of processor and wall time."""
    rates: dict[str, list[tuple[float, float]]] = {usual.name: [], ours.name: []}
    for index in range(-1, steps):
        rows = batches[index]
        for step in (usual, ours):
            processor, wall = time.process_time(), time.perf_counter()
            step.train(rows)
            wait_for(next(step.model.parameters()).device)
            tokens = sum(map(len, rows))
            if index >= 0:  # the first batch warms up
                rates[step.name].append(
                    (tokens / (time.process_time() - processor), tokens / (time.perf_counter() - wall))
                )
    for name, pairs in rates.items():
        shown = [f"{statistics.median(pair[kind] for pair in pairs):.0f}" for kind in range(2)]
        print(f"{name}: {shown[0]} tokens/s of processor time, {shown[1]} of wall time (medians of {len(pairs)})")
    for kind, label in enumerate(("processor", "wall")):
        ratios = [mine[kind] / theirs[kind] for mine, theirs in zip(rates[ours.name], rates[usual.name], strict=True)]
        print(f"ratio, {label} time: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def batches_of(rows: list[list[int]], batch_size: int) -> list[Rows]:
    """Batches of similar length, in random order."""
    ordered = sorted(rows[: 100 * batch_size], key=len)
    batches: list[Rows] = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0)).tolist()
    return [batches[index] for index in order]


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model", default=DEFAULT_BASE)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--column", default="references")
    parser.add_argument("--held_out", type=int, default=200)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6, help="timed, in turn")
    parser.add_argument("--train", type=int, default=0, help="more steps, then held-out losses")
    parser.add_argument("--threads", type=int, default=1)
    add_device_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
