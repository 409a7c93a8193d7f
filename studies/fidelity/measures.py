"""What compression costs, measured: points of the rate-distortion plane, and how far the guide of each moves.

A *point* is a method at so many bits, or log-norm-q at a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.grid import MASK_ONLY, Grid, Setting
from ctrlg.hmm import HMM, SequenceModel
from ctrlg.inspection.fidelity import held_out_log_likelihood, kl_sequence
from ctrlg.quantization import quantize
from studies.fidelity.guidance import GuidedText, divergences, guided


class Point(NamedTuple):
    """A method of `METHODS` at `bits`, "mask-only" at 0; threshold: of log-norm-q, None for its default."""

    method: str
    bits: int
    threshold: float | None = None

    @property
    def setting(self) -> Setting:
        """The method and its bits."""
        return Setting(self.method, self.bits)


def points(grid: Grid, thresholds: Sequence[float] = ()) -> list[Point]:
    """The mask alone, log-norm-q at 4 bits and each threshold, and the grid.

    Raises ArgumentError for thresholds below 0.
    """
    for threshold in thresholds:
        if not threshold >= 0:
            raise ArgumentError(f"threshold is {threshold}", hint="nats per token, 0 or more")
    at_thresholds = [Point("log-norm-q", 4, threshold) for threshold in thresholds]
    return [Point(MASK_ONLY, 0), *at_thresholds, *(Point(*setting) for setting in grid)]


def compressed(reference: HMM, point: Point) -> Any:
    """The HMM as the point leaves it; None for the mask alone."""
    if point.threshold is not None:
        return quantize(reference, point.method, point.bits, threshold=point.threshold)
    return point.setting.guide(reference)


def rate(
    reference: HMM, held_out: float, hmm: Any, point: Point, test: Tensor, sequences: int, seed: int
) -> dict[str, float | int | None]:
    """Bytes; nats per token lost on the test sequences, where the float HMM has `held_out`, and on its own samples.

    sequences, seed: of what KLseq samples. None of what has no likelihood; of what finds a sequence impossible, too,
    and then `likelihood` is true.
    """
    size = point.setting.stored_bytes(reference, hmm)
    if not isinstance(hmm, SequenceModel):
        return {"bytes": size, "likelihood": False, "held_out_loss": None, "kl_sequence": None, "kl_error": None}
    lost = kl_sequence(reference, hmm, sequences=sequences, seed=seed)
    return {
        "bytes": size,
        "likelihood": True,
        "held_out_loss": _number(held_out - held_out_log_likelihood(hmm, test)),
        "kl_sequence": _number(lost.mean),
        "kl_error": _number(lost.error),
        "held_out_float": _number(held_out),
    }


def guidance(text: GuidedText, expected: Tensor, hmm: Any) -> dict[str, list[float | None] | int]:
    """Divergences from the float HMM's distributions before every token, and how often the guide was silent."""
    found = guided(text, hmm)
    columns = divergences(expected, found.log_probs)._asdict()
    return {name: [_number(value) for value in values.tolist()] for name, values in columns.items()} | {
        "silent": int(found.silent.sum())
    }


def _number(value: float) -> float | None:
    """Six digits of a finite number; None for infinity, which JSON cannot hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
