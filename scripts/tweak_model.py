"""Quantize a language model and repair it by its norms (Norm Tweaking, arXiv 2309.02784).

    python scripts/tweak_model.py --data runs/calibration.safetensors --bits 4 --group-size 64 --output runs/tweaked
    python scripts/tweak_model.py --samples 32 --length 512 --languages en --bits 3 --loss mse --output runs/tweaked
    python scripts/tweak_model.py --data runs/calibration.safetensors --bits 3 --scope both --output runs/tweaked \\
        --grid-lr 1e-5 3e-5 1e-4 --grid-scale 0 1 3
    python scripts/tweak_model.py --quantizer file --weights gptq.safetensors --text train.txt --output runs/tweaked \\
        --perplexity wiki.test.raw
    python scripts/tweak_model.py --samples 64 --length 256 --bits 4 --group-size 64 --scope end-to-end --lr 3e-3 \\
        --scale 0 --iterations 4 --gguf Q4_1 --output runs/tweaked

Without --data or --text the model writes its calibration texts itself, into OUTPUT.calibration. The last --held-out of
the samples are not tweaked on: by them the quantised and the tweaked model are compared (KL divergence from the float
model's next-token distribution), the better one is written, and the best point of a grid is chosen. With
--perplexity-text the perplexity of that text chooses the point instead. Points of a grid are lines of
OUTPUT.grid.jsonl and are not run again; a learning rate of 0 is the model without tweaking.
`ctrlg tweak` does the same.
"""

from __future__ import annotations

from ctrlg.cli.tweaking import tweak
from ctrlg.terminal.program import Program

PROGRAM = Program(tweak, "tweak_model.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
