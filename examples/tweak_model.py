"""Quantize a language model and tweak its norms (the norm-tweaking repository's command).

    python examples/tweak_model.py --model gpt2 --data data/normtweaking_calibration_data_gpt2_....safetensors
    python examples/tweak_model.py --model gpt2 --data data/... --quantizer k-means --bits 4 --output models
    python examples/tweak_model.py --model gpt2 --data data/... --grid-lr 0 1e-4 1e-5 1e-6 \\
        --grid-scale 0.5 1 5 10 --perplexity-text wiki.test.raw

The model is saved below --output. Of a grid the best is kept: by the perplexity of a text where one is given, else
by the divergence from the float model on samples that are held out. docs/norm_tweaking.md says what differs from the
original; `scripts/tweak_model.py` has more ways to tweak.
"""

from __future__ import annotations

from ctrlg.arguments import checked
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program


@checked
def main(
    model: str,
    data: str,
    output: str = "models",
    device: str = "cpu",
    quantizer: str = "linear",
    bits: int = 6,
    group_size: int | None = None,
    weights: str | None = None,
    grid_lr: tuple[float, ...] = (),
    grid_scale: tuple[float, ...] = (),
    perplexity_text: str = "",
    tokens: int | None = None,
) -> None:
    """Tweak a model.

    Args:
        model: Hugging Face id, folder, .gguf file, 'default' or 'default-base'.
        data: file of generate_data.py.
        output: folder of the tweaked model's folder.
        device: cpu or cuda.
        quantizer: linear, k-means or precomputed.
        bits: of a weight.
        group_size: output channels that share levels; where None 1 for linear, all of a matrix for k-means.
        weights: safetensors of quantized weights, for precomputed.
        grid_lr: learning rates to try; 0 is no tweaking.
        grid_scale: scales to try.
        perplexity_text: text whose perplexity chooses the point of the grid.
        tokens: of that text, from its beginning; all where None.
    """
    from normtweaking.compat.tweaking import quantizer_of, tweak_into
    from normtweaking.grid import Grid
    from normtweaking.measured import Measured

    chosen = quantizer_of(quantizer, bits, group_size, weights)
    say(f"quantizer: {chosen.metadata()}")
    measured = Measured(perplexity_text, tokens)
    folder = tweak_into(output, model, data, chosen, Grid(grid_lr, grid_scale), measured, device, say)
    say(f"saved: {folder}")


PROGRAM = Program(main, "tweak_model.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
