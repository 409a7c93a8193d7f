"""The command `ctrlg tweak`; what it imports, it imports when it runs."""

from __future__ import annotations

from dataclasses import replace

from ctrlg.arguments import Natural, checked
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program
from normtweaking.defaults import BITS
from normtweaking.texts.settings import Texts
from normtweaking.tweaking.settings import TweakSettings

SETTINGS, TEXTS = TweakSettings(batch_size=4), Texts()


@checked
def tweak(
    output: str,
    model: str = "default-base",
    quantizer: str = "rtn",
    bits: int = BITS,
    group_size: int | None = None,
    symmetric: bool = False,
    weights: str = "",
    embeddings: bool = False,
    head: bool = False,
    settings: TweakSettings = SETTINGS,
    grid_lr: tuple[float, ...] = (),
    grid_scale: tuple[float, ...] = (),
    texts: Texts = TEXTS,
    languages: str = "",
    perplexity_text: str = "",
    gguf: str = "",
    perplexity: str = "",
    tokens: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    device: str = "cpu",
    threads: Natural = 0,
) -> None:
    """Quantize a language model and repair it by its norms alone (Norm Tweaking).

    The result is never worse than the quantized model.

    Args:
        output: folder of the tweaked model.
        model: Hugging Face id, folder, .gguf file, 'default' or 'default-base'.
        quantizer: rtn, k-means or file.
        bits: 2 to 8.
        group_size: inputs that share a step or codebook; where None a whole channel.
        symmetric: levels symmetric around zero, for rtn.
        weights: safetensors of quantized weights, for --quantizer file.
        embeddings: quantize the embeddings too.
        head: quantize the output layer too.
        grid_lr: learning rates to try. Repeat.
        grid_scale: scales to try. Repeat.
        languages: of the first tokens of texts, such as en,zh; all where empty.
        perplexity_text: text whose perplexity chooses the point of the grid.
        gguf: write OUTPUT.gguf too: Q4_1 or Q8_0.
        perplexity: text file to measure all models on.
        tokens: of a text for perplexity, from its beginning; all where None.
        window: of the perplexity, tokens; where None 1024, or what the model reads.
        stride: of the perplexity, tokens; where None half the window.
        device: cpu or cuda.
        threads: of the processor; 0 for all.
    """
    from normtweaking.grid import grid_of
    from normtweaking.job import TweakJob, quantizer_of, tweak_model
    from normtweaking.measured import Measured
    from normtweaking.texts.languages import language_names

    job = TweakJob(
        model,
        output,
        quantizer_of(quantizer, bits, group_size, symmetric, weights),
        settings,
        replace(texts, languages=language_names(languages)),
        grid_of(grid_lr, grid_scale),
        embeddings,
        head,
        gguf,
        Measured(perplexity, tokens, window, stride),
        device,
        Measured(perplexity_text, tokens, window, stride),
    )
    if threads:
        import torch

        torch.set_num_threads(threads)
    tweak_model(job, say)


PROGRAMS = {
    "tweak": Program(
        tweak,
        "ctrlg tweak",
        examples="""
Examples:

  ctrlg tweak runs/tweaked --bits 4 --group-size 64 --samples 64 --length 256 --scope end-to-end --lr 3e-3

  ctrlg tweak runs/tweaked --data runs/calibration.safetensors --bits 3 --grid-lr 1e-5 --grid-lr 1e-4 --grid-lr 1e-3

  ctrlg tweak runs/tweaked --model MODEL --text train.txt --loss moments --gguf Q4_1 --perplexity wiki.test.raw
""",
    ),
}
