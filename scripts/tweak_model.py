"""Quantise a language model and repair it by its norms (Norm Tweaking, arXiv 2309.02784).

    python scripts/tweak_model.py --data runs/calibration.safetensors --nbits 4 --group-size 64 --output runs/tweaked
    python scripts/tweak_model.py --samples 32 --length 512 --languages en --nbits 3 --loss mse --output runs/tweaked
    python scripts/tweak_model.py --data runs/calibration.safetensors --nbits 3 --scope both --output runs/tweaked \\
        --grid-search-lr 1e-5 3e-5 1e-4 --grid-search-scale 0 1 3
    python scripts/tweak_model.py --quantizer file --weights gptq.safetensors --text train.txt --output runs/tweaked \\
        --perplexity wiki.test.raw
    python scripts/tweak_model.py --samples 64 --length 256 --nbits 4 --group-size 64 --scope end-to-end --lr 3e-3 \\
        --scale 0 --iterations 4 --gguf Q4_1 --output runs/tweaked

Without --data or --text the model writes its calibration texts itself, into OUTPUT.calibration. The last --held-out of
the samples are not tweaked on: by them the quantised and the tweaked model are compared (KL divergence from the float
model's next-token distribution), the better one is written, and the best point of a grid is chosen. With
--perplexity-text the perplexity of that text chooses the point instead. Points of a grid are lines of
OUTPUT.grid.jsonl and are not run again; a learning rate of 0 is the model without tweaking.
`ctrlg tweak` does the same.
"""

from __future__ import annotations

import argparse

import torch

from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from normtweaking import TweakSettings
from normtweaking.grid import grid_of
from normtweaking.job import QUANTIZERS, Texts, TweakJob, quantizer_of, tweak_model
from normtweaking.measured import Measured
from normtweaking.texts.languages import language_names
from normtweaking.tweaking.moments import LOSSES
from normtweaking.tweaking.settings import CLOSED_FORMS


def main() -> None:
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    console = PlainConsole(highlight=False, soft_wrap=True)
    tweak_model(job_of(arguments), lambda line: console.print(line, markup=False))


def job_of(arguments: argparse.Namespace) -> TweakJob:
    settings = TweakSettings(
        arguments.loss,
        arguments.scope,
        arguments.lr,
        arguments.scale,
        arguments.iterations,
        arguments.batch_size,
        keep_better=not arguments.keep_worse,
        keep_better_layers=arguments.keep_better_layers,
    )
    texts = Texts(
        arguments.data,
        arguments.text,
        arguments.samples,
        arguments.length,
        language_names(arguments.languages),
        arguments.held_out,
        arguments.seed,
    )
    return TweakJob(
        arguments.model_name_or_path,
        arguments.output,
        quantizer_of(
            arguments.quantizer, arguments.nbits, arguments.group_size, arguments.symmetric, arguments.weights
        ),
        settings,
        texts,
        grid_of(arguments.grid_search_lr, arguments.grid_search_scale),
        arguments.embeddings,
        arguments.head,
        arguments.gguf,
        Measured(arguments.perplexity, arguments.tokens, arguments.window, arguments.stride),
        arguments.device,
        Measured(arguments.perplexity_text, arguments.tokens, arguments.window, arguments.stride),
    )


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model_name_or_path", default="default-base", help="(default-base)")
    parser.add_argument("--output", required=True, help="folder of the tweaked model")
    parser.add_argument("--quantizer", choices=QUANTIZERS, default="rtn")
    parser.add_argument("--nbits", type=int, default=4, help="2 to 8 (4)")
    parser.add_argument("--group-size", type=int, help="inputs that share a step or codebook (whole channels)")
    parser.add_argument("--symmetric", action="store_true", help="levels symmetric around zero, for rtn")
    parser.add_argument("--weights", default="", help="safetensors of quantised weights, for --quantizer file")
    parser.add_argument("--embeddings", action="store_true", help="quantise the embeddings too")
    parser.add_argument("--head", action="store_true", help="quantise the output layer too")
    parser.add_argument("--lr", type=float, default=1e-5, help="of the first layer (1e-5)")
    parser.add_argument("--scale", type=float, default=1.0, help="the last layer's rate is lr * (1 + scale) (1)")
    parser.add_argument("--iterations", type=int, default=1, help="passes over the texts in each layer (1)")
    parser.add_argument("--loss", default="distribution", help=", ".join((*LOSSES, *CLOSED_FORMS)))
    parser.add_argument("--scope", default="layers", help="layers, end-to-end or both")
    parser.add_argument("--batch-size", type=int, default=4, help="texts at once (4)")
    parser.add_argument("--keep-worse", action="store_true", help="keep tweaked norms even where they are worse")
    parser.add_argument("--keep-better-layers", action="store_true", help="keep the better norms in each layer")
    parser.add_argument("--data", default="", help="calibration of generate_data.py")
    parser.add_argument("--text", default="", help="cut the calibration out of this file")
    parser.add_argument("--samples", type=int, default=128, help="(128)")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a sample (2048)")
    parser.add_argument("--languages", default="", help="of first tokens, such as en,zh (all)")
    parser.add_argument("--held-out", type=int, default=8, help="samples to judge by; 0: those tweaked on (8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid-search-lr", type=float, nargs="+", default=[], help="learning rates to try")
    parser.add_argument("--grid-search-scale", type=float, nargs="+", default=[], help="scales to try")
    parser.add_argument("--perplexity-text", default="", help="text whose perplexity chooses the point of the grid")
    parser.add_argument("--gguf", default="", help="write OUTPUT.gguf too: Q4_1 or Q8_0")
    parser.add_argument("--perplexity", default="", help="text file to measure all three models on")
    parser.add_argument("--tokens", type=int, help="of a text for perplexity, from its beginning (all)")
    parser.add_argument("--window", type=int, help="of the perplexity, tokens (1024, or what the model reads)")
    parser.add_argument("--stride", type=int, help="of the perplexity, tokens (half the window)")
    parser.add_device()
    parser.add_argument("--threads", type=int, default=0, help="(all)")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
