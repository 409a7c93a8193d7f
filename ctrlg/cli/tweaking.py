"""The command `ctrlg tweak`; what it imports, it imports when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from ctrlg.terminal.console import say

TWEAK_EXAMPLES = """
Examples:

  ctrlg tweak runs/tweaked --bits 4 --group-size 64 --samples 64 --length 256 --scope end-to-end --lr 3e-3

  ctrlg tweak runs/tweaked --data runs/calibration.safetensors --bits 3 --grid-lr 1e-5 --grid-lr 1e-4 --grid-lr 1e-3

  ctrlg tweak runs/tweaked --model MODEL --text train.txt --loss moments --gguf Q4_1 --perplexity wiki.test.raw
"""


def tweak(
    output: Annotated[str, typer.Argument(help="Folder of the tweaked model.")],
    model: Annotated[
        str, typer.Option(help="Hugging Face id, folder, .gguf file, 'default' or 'default-base'.")
    ] = "default-base",
    quantizer: Annotated[str, typer.Option(help="rtn, k-means or file.")] = "rtn",
    bits: Annotated[int, typer.Option(help="2 to 8.")] = 4,
    group_size: Annotated[int | None, typer.Option(help="Inputs that share a step; default: a whole channel.")] = None,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Levels symmetric around zero, for rtn.")] = False,
    weights: Annotated[str, typer.Option(help="Safetensors of quantised weights, for --quantizer file.")] = "",
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Quantise the embeddings too.")] = False,
    head: Annotated[bool, typer.Option("--head", help="Quantise the output layer too.")] = False,
    loss: Annotated[
        str, typer.Option(help="Of a layer: distribution, mse, moments, least-squares, own-least-squares.")
    ] = "distribution",
    scope: Annotated[str, typer.Option(help="layers, end-to-end or both.")] = "layers",
    lr: Annotated[float, typer.Option(help="Learning rate of the first layer.")] = 1e-5,
    scale: Annotated[float, typer.Option(help="The last layer's rate is lr * (1 + scale).")] = 1.0,
    iterations: Annotated[int, typer.Option(help="Passes over the texts.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Texts of a step.")] = 4,
    grid_lr: Annotated[list[float] | None, typer.Option(help="Learning rates to try. Repeat.")] = None,
    grid_scale: Annotated[list[float] | None, typer.Option(help="Scales to try. Repeat.")] = None,
    data: Annotated[str, typer.Option(help="Calibration of scripts/generate_data.py.")] = "",
    text: Annotated[str, typer.Option(help="Cut the calibration out of this file; else the model writes it.")] = "",
    samples: Annotated[int, typer.Option(help="Calibration texts.")] = 128,
    length: Annotated[int, typer.Option(help="Their tokens.")] = 2048,
    languages: Annotated[str, typer.Option(help="Of their first tokens, such as en,zh; default: all.")] = "",
    held_out: Annotated[int, typer.Option(help="Texts to judge by; 0: those tweaked on.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the calibration texts.")] = 0,
    perplexity_text: Annotated[str, typer.Option(help="Text whose perplexity chooses the point of the grid.")] = "",
    gguf: Annotated[str, typer.Option(help="Write OUTPUT.gguf too: Q4_1 or Q8_0.")] = "",
    perplexity: Annotated[str, typer.Option(help="Text file to measure all models on.")] = "",
    tokens: Annotated[
        int | None, typer.Option(help="Of a text for perplexity, from its beginning; default: all.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Of the perplexity, tokens; default: 1024, or what the model reads.")
    ] = None,
    stride: Annotated[int | None, typer.Option(help="Of the perplexity, tokens; default: half the window.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Quantise a language model and repair it by its norms alone (Norm Tweaking); never worse than quantised."""
    from normtweaking.grid import grid_of
    from normtweaking.job import Texts, TweakJob, quantizer_of, tweak_model
    from normtweaking.measured import Measured
    from normtweaking.texts.languages import language_names
    from normtweaking.tweaking.settings import TweakSettings

    job = TweakJob(
        model,
        output,
        quantizer_of(quantizer, bits, group_size, symmetric, weights),
        TweakSettings(loss, scope, lr, scale, iterations, batch_size),
        Texts(data, text, samples, length, language_names(languages), held_out, seed),
        grid_of(grid_lr or (), grid_scale or ()),
        embeddings,
        head,
        gguf,
        Measured(perplexity, tokens, window, stride),
        device,
        Measured(perplexity_text, tokens, window, stride),
    )
    tweak_model(job, say)
