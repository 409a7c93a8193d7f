"""EM on sampled sequences, from one checkpoint to the next.

    python distillation/train_hmm.py --model_path runs/hmm --checkpoint 0 --data_path runs/samples \\
        --dataset commongen --total_chunks 8 --em_schedule "4,8" --batch_size 256 --save_per_step 8 \\
        --log_file runs/hmm/log.jsonl --prior_strength 200 --plot runs/hmm/training.png
    python distillation/train_hmm.py ... --quantization_step 20 --quantization_bit_width 8  # Norm-Q aware EM
    torchrun --nproc_per_node 2 distillation/train_hmm.py ...

Flags are Ctrl-G's and Norm-Q's: it reads MODEL_PATH/checkpoint-N, DATA_PATH/DATASET.train.i and DATA_PATH/DATASET.dev.
An EM schedule "10,1;5,2" is ten steps over one chunk each, then five over two; a checkpoint is numbered by the chunks
read. The last checkpoint is always written, the one with the best dev likelihood to MODEL_PATH/best.

A run that was stopped, however, goes on when the same command is given again, and ends with the same checkpoint and
log. To see that for yourself, kill a run ten times, finish it, and compare it with one that was left alone:

    for i in $(seq 10); do timeout -s KILL $((RANDOM % 15 + 10)) python distillation/train_hmm.py ...; done
    python distillation/train_hmm.py ... && cmp runs/{killed,whole}/checkpoint-8/model.safetensors

The log is JSON lines. A log named *.txt or *.tsv has Ctrl-G's lines instead: the settings, then checkpoint, train and
dev log-likelihood in nats per sequence, with tabs between them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from ctrlg.distillation.em.plot import check_plot, plot_training
from ctrlg.distillation.em.settings import TrainingSettings
from ctrlg.distillation.em.trainer import train
from ctrlg.distillation.processes import TIMEOUT_SECONDS, joined_processes
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser


def main() -> None:
    arguments = parse_arguments()
    settings = TrainingSettings(**{field.name: getattr(arguments, field.name) for field in fields(TrainingSettings)})
    if arguments.plot:
        check_plot(settings.log_file, arguments.plot)
    with joined_processes(arguments.device, arguments.timeout) as processes:
        train(settings, processes)
    if arguments.plot and processes.rank == 0:
        plot_training(settings.log_file, arguments.plot, command=" ".join(sys.argv))


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--checkpoint", type=int, default=0, help="to start from")
    parser.add_argument("--save_per_step", type=int, default=50, help="chunks between checkpoints that are kept")
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--total_chunks", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--sample_length", type=int, default=None, help="cut sequences to so many tokens")
    parser.add_argument("--em_schedule", required=True, help='"steps,chunks;..."')
    parser.add_argument("--log_file", required=True, help="JSON lines; *.txt, *.tsv: Ctrl-G's lines")
    parser.add_argument("--dropout", type=float, default=0.001)
    parser.add_argument("--pseudocount", type=float, default=0.001)
    parser.add_argument(
        "--next_tokens", action="store_true", help="soft emission counts, from the draws that lvd_hmm.py left"
    )
    parser.add_argument("--prior_strength", type=float, default=0.0, help="observations per state, 0 for none")
    parser.add_argument("--prior_checkpoint", type=int, default=0, help="whose emissions are the prior")
    parser.add_argument("--quantization_step", type=int, default=0, help="EM steps between quantisations, 0 for none")
    parser.add_argument("--quantization_bit_width", type=int, default=8)
    parser.add_argument("--quantization_method", default="norm-q", help="one of docs/methods.md whose rows sum to 1")
    parser.add_argument(
        "--quantization_initial",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="quantise the initial distribution, too (by default with norm-q and norm-q-max)",
    )
    parser.add_argument("--patience", type=int, default=None, help="stop after so many steps without a better dev")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="matrix products, faster on processors that have it")
    parser.add_argument("--seconds", type=float, default=None, help="to end within, with what there is then")
    parser.add_argument("--plot", default="", help="figure of the run, .png or .svg")
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, help="seconds to wait for another process")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
