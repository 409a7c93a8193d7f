"""Quantise a language model and repair it by its norms (Norm Tweaking, arXiv 2309.02784).

    python scripts/tweak_model.py --data runs/calibration.safetensors --nbits 4 --group-size 64 --output runs/tweaked
    python scripts/tweak_model.py --samples 32 --length 512 --languages en --nbits 3 --loss mse --output runs/tweaked
    python scripts/tweak_model.py --data runs/calibration.safetensors --nbits 3 --scope both --output runs/tweaked \\
        --grid-search-lr 1e-5 3e-5 1e-4 --grid-search-scale 0 1 3
    python scripts/tweak_model.py --quantizer file --weights gptq.safetensors --text train.txt --output runs/tweaked \\
        --perplexity wiki.test.raw

Without --data or --text the model writes its calibration texts itself, into OUTPUT.calibration. The last --held-out of
the samples are not tweaked on: by them the quantised and the tweaked model are compared (KL divergence from the float
model's next-token distribution), the better one is written, and the best point of a grid is chosen. Points of a grid
are lines of OUTPUT.grid.jsonl and are not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console

from ctrlg.console import as_program
from ctrlg.errors import ArgumentError
from ctrlg.models import load_language_model, weights_digest
from normtweaking import (
    CalibrationData,
    CalibrationSettings,
    KMeans,
    LayerTweak,
    NormTweaker,
    Precomputed,
    Quantizer,
    RoundToNearest,
    TweakResult,
    TweakSettings,
    calibration_from_text,
    generate_calibration,
    quantize_model,
    read_tokens,
    sliding_window_perplexity,
)
from normtweaking.grid import Grid, grid_search

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    arguments = parse_arguments()
    quantizer = quantizer_of(arguments)
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
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model, tokenizer = load(arguments)
    NormTweaker(model, quantizer, settings, arguments.embeddings, arguments.head)  # refuses before any work
    data = calibration(arguments, model, tokenizer)
    tuning, held_out = data.split(arguments.held_out) if arguments.held_out else (data, data)

    def make(point: TweakSettings) -> NormTweaker:
        return NormTweaker(load(arguments)[0], quantizer, point, arguments.embeddings, arguments.head)

    def keep(tweaker: NormTweaker, result: TweakResult) -> None:
        console.print(f"KL {result.score_quantized:.5f} quantised, {result.score_tweaked:.5f} tweaked (nats per token)")
        tweaker.save(arguments.output, tokenizer, result, calibration=data.description)

    if arguments.grid_search_lr or arguments.grid_search_scale:
        grid = Grid(arguments.grid_search_lr or [arguments.lr], arguments.grid_search_scale or [arguments.scale])
        run = name_of_run(model, quantizer, settings, data, arguments)
        points = grid_search(
            make, tuning, held_out, settings, grid, f"{arguments.output}.grid.jsonl", run, keep, report=show
        )
        for point in points:
            console.print(f"lr {point.learning_rate:g}, scale {point.scale:g}: KL {point.score_tweaked:.5f}")
    else:
        tweaker = make(settings)
        keep(tweaker, tweaker.run(tuning, held_out, show))
    if arguments.perplexity:
        print_perplexities(arguments, quantizer, tokenizer)


def quantizer_of(arguments: argparse.Namespace) -> Quantizer:
    if arguments.quantizer == "file":
        if not arguments.weights:
            raise ArgumentError("--quantizer file without --weights", hint="name a safetensors file")
        return Precomputed(arguments.weights)
    if arguments.quantizer == "k-means":
        return KMeans(arguments.nbits, arguments.group_size)
    return RoundToNearest(arguments.nbits, arguments.group_size, arguments.symmetric)


def load(arguments: argparse.Namespace) -> tuple[Any, Any]:
    return load_language_model(arguments.model_name_or_path, arguments.device, torch.float32)


def calibration(arguments: argparse.Namespace, model: Any, tokenizer: Any) -> CalibrationData:
    if arguments.data:
        return CalibrationData.load(arguments.data)
    if arguments.text:
        return calibration_from_text(tokenizer, arguments.text, arguments.samples, arguments.length, arguments.seed)
    languages = tuple(name.strip() for name in arguments.languages.split(",") if name.strip())
    settings = CalibrationSettings(arguments.samples, arguments.length, languages, seed=arguments.seed)
    return generate_calibration(model, tokenizer, settings, f"{arguments.output}.calibration")


def name_of_run(
    model: Any, quantizer: Quantizer, settings: TweakSettings, data: CalibrationData, arguments: argparse.Namespace
) -> str:
    """Digest of all that the points of a grid have in common."""
    shared = {name: value for name, value in asdict(settings).items() if name not in ("learning_rate", "scale")}
    tokens = hashlib.sha256(data.tokens.numpy().tobytes()).hexdigest()
    outside = (arguments.embeddings, arguments.head, arguments.held_out)
    identity = [weights_digest(model), quantizer.describe(), shared, tokens, outside]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def show(layer: LayerTweak) -> None:
    kept = "" if layer.kept else ", not kept"
    console.print(f"{layer.name}: loss {layer.loss_before:.4g} -> {layer.loss_after:.4g}{kept}")


def print_perplexities(arguments: argparse.Namespace, quantizer: Quantizer, tokenizer: Any) -> None:
    """Of the float, the quantised and the tweaked model, and the share of the loss that was recovered."""
    tokens = read_tokens(tokenizer, arguments.perplexity)
    found = {}
    for name in ("float", "quantised", "tweaked"):
        model = (load_language_model(arguments.output, arguments.device) if name == "tweaked" else load(arguments))[0]
        if name == "quantised":
            quantize_model(model, quantizer, arguments.embeddings, arguments.head)
        found[name] = sliding_window_perplexity(model, tokens, arguments.window, arguments.stride).perplexity
        console.print(f"perplexity {found[name]:.3f} {name}")
    recovered = (found["quantised"] - found["tweaked"]) / (found["quantised"] - found["float"])
    console.print(f"recovered {100 * recovered:.1f} % of the perplexity that quantisation lost")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", default="default-base", help="(default-base)")
    parser.add_argument("--output", required=True, help="folder of the tweaked model")
    parser.add_argument("--quantizer", choices=["rtn", "k-means", "file"], default="rtn")
    parser.add_argument("--nbits", type=int, default=4, help="2 to 8 (4)")
    parser.add_argument("--group-size", type=int, help="inputs that share a step or codebook (whole channels)")
    parser.add_argument("--symmetric", action="store_true", help="levels symmetric around zero, for rtn")
    parser.add_argument("--weights", default="", help="safetensors of quantised weights, for --quantizer file")
    parser.add_argument("--embeddings", action="store_true", help="quantise the embeddings too")
    parser.add_argument("--head", action="store_true", help="quantise the output layer too")
    parser.add_argument("--lr", type=float, default=1e-5, help="of the first layer (1e-5)")
    parser.add_argument("--scale", type=float, default=1.0, help="the last layer's rate is lr * (1 + scale) (1)")
    parser.add_argument("--iterations", type=int, default=1, help="passes over the texts in each layer (1)")
    parser.add_argument("--loss", default="distribution", help="distribution, mse or moments")
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
    parser.add_argument("--perplexity", default="", help="text file to measure all three models on")
    parser.add_argument("--window", type=int, default=1024, help="of the perplexity, tokens (1024)")
    parser.add_argument("--stride", type=int, default=512, help="of the perplexity, tokens (512)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="(all)")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
