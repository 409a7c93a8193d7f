"""EM on sampled sequences, from one checkpoint to the next.

    python distillation/train_hmm.py --model_path runs/hmm --checkpoint 0 --data_path runs/samples \\
        --dataset commongen --total_chunks 8 --em_schedule "4,8" --batch_size 256 --save_per_step 8 \\
        --log_file runs/hmm/log.jsonl --prior_strength 200
    torchrun --nproc_per_node 2 distillation/train_hmm.py ...

Flags are Ctrl-G's: it reads MODEL_PATH/checkpoint-N, DATA_PATH/DATASET.train.i and DATA_PATH/DATASET.dev. An EM
schedule "10,1;5,2" is ten steps over one chunk each, then five over two; a checkpoint is numbered by the chunks read.
--prior_strength adds the emissions of checkpoint --prior_checkpoint as so many observations per state (a Dirichlet
prior). The checkpoint with the best dev likelihood is also written to MODEL_PATH/best.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from ctrlg.distillation.processes import Processes, joined_processes
from ctrlg.distillation.storage import read_sequences
from ctrlg.distillation.training import (
    EMSettings,
    append_log,
    chunk_indices,
    em_step,
    parse_schedule,
    per_token,
    share_of,
)
from ctrlg.files import atomic_folder, writable_folder
from ctrlg.hmm import HMM, Prior


def main() -> None:
    arguments = parse_arguments()
    schedule = parse_schedule(arguments.em_schedule)
    writable_folder(Path(arguments.log_file).parent)
    with joined_processes(arguments.device) as processes:
        train(arguments, schedule, processes)


def train(arguments: argparse.Namespace, schedule: list[tuple[int, int]], processes: Processes) -> None:
    settings = EMSettings(arguments.batch_size, arguments.dropout, arguments.pseudocount, arguments.seed)
    console = Console(quiet=processes.rank != 0)
    model = HMM.from_pretrained(f"{arguments.model_path}/checkpoint-{arguments.checkpoint}").to(processes.device)
    prior = None
    if arguments.prior_strength > 0:
        first = HMM.from_pretrained(f"{arguments.model_path}/checkpoint-{arguments.prior_checkpoint}")
        prior = Prior(first.emission.to_dense().to(processes.device), arguments.prior_strength)
    if processes.rank == 0:
        append_log(arguments.log_file, {"arguments": json.dumps(vars(arguments))})
    dev = load(f"{arguments.data_path}/{arguments.dataset}.dev", arguments.sample_length)
    dev = share_of(dev, processes.rank, processes.world_size)
    best = per_token(model, dev, settings.batch_size, processes.sum)
    report(arguments.checkpoint, None, best, arguments, processes, console)

    checkpoint = arguments.checkpoint
    for steps, chunks in schedule:
        for _ in range(steps):
            files = [
                f"{arguments.data_path}/{arguments.dataset}.train.{index}"
                for index in chunk_indices(checkpoint, chunks, arguments.total_chunks)
            ]
            training = torch.cat([load(file, arguments.sample_length) for file in files])
            training = share_of(training, processes.rank, processes.world_size)
            em_step(model, training, settings, prior, processes.sum, checkpoint)
            checkpoint += chunks
            seen = training[: max(1, len(dev))]
            train_value = per_token(model, seen, settings.batch_size, processes.sum)
            dev_value = per_token(model, dev, settings.batch_size, processes.sum)
            report(checkpoint, train_value, dev_value, arguments, processes, console)
            last = checkpoint == arguments.checkpoint + sum(count * size for count, size in schedule)
            if processes.rank == 0:
                if last or checkpoint % arguments.save_per_step == 0:
                    save(model, Path(arguments.model_path) / f"checkpoint-{checkpoint}")
                if dev_value > best:
                    save(model, Path(arguments.model_path) / "best")
            best = max(best, dev_value)


def load(file: str, sample_length: int | None) -> Tensor:
    return read_sequences(file)[:, :sample_length]


def save(model: HMM, folder: Path) -> None:
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)


def report(
    checkpoint: int,
    train_value: float | None,
    dev_value: float,
    arguments: argparse.Namespace,
    processes: Processes,
    console: Console,
) -> None:
    if processes.rank != 0:
        return
    record: dict[str, float | int | str] = {"checkpoint": checkpoint, "dev": dev_value}
    if train_value is not None:
        record["train"] = train_value
    append_log(arguments.log_file, record)
    shown = "" if train_value is None else f"train {train_value:.4f}, "
    console.print(f"checkpoint {checkpoint}: {shown}dev {dev_value:.4f} nats per token")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--checkpoint", type=int, default=0, help="to start from")
    parser.add_argument("--save_per_step", type=int, default=50, help="chunks between checkpoints")
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--total_chunks", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--sample_length", type=int, default=None, help="cut sequences to so many tokens")
    parser.add_argument("--em_schedule", required=True, help='"steps,chunks;..."')
    parser.add_argument("--log_file", required=True, help="JSON lines")
    parser.add_argument("--dropout", type=float, default=0.001)
    parser.add_argument("--pseudocount", type=float, default=0.001)
    parser.add_argument("--prior_strength", type=float, default=0.0, help="observations per state, 0 for none")
    parser.add_argument("--prior_checkpoint", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
