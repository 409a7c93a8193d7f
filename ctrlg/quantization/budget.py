"""The lowest threshold whose result fits a number of bytes.

One threshold, in nats per token, serves transition and emission alike: both then give up an entry for the
same loss, which is how a budget is split with the least loss in total.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

from ctrlg.errors import ArgumentError

LOWEST, HIGHEST = 1e-12, 1e6  # nats per token; the range of thresholds that is searched, at the highest nothing stays
_CLOSE = 0.98  # a result that takes this share of the budget is good enough
_MOST_TRIALS = 14
_SLOPE = 0.5  # bytes fall about as threshold ** -0.5; for the first steps
_STEPS = math.log(5), math.log(500)  # least and largest step while no bracket is known


class Sized(Protocol):
    """Something that takes bytes on disk."""

    @property
    def packed_nbytes(self) -> int: ...


T = TypeVar("T", bound=Sized)


def largest_within(quantize_at: Callable[[float], T], max_bytes: int, first: float) -> T:
    """The result of the lowest threshold found to take at most `max_bytes`; within 2 % of it where possible.

    The bytes fall as the threshold rises, nearly as a power of it: the search interpolates between logarithms, starting
    from `first`.

    Args:
        quantize_at: the result at a threshold.
        max_bytes: of the result.
        first: threshold to begin with.

    Raises:
        ArgumentError: no threshold reaches it; the message names the fewest bytes possible.
    """
    target = math.log(max(max_bytes, 1))
    best: T | None = None
    too_large: tuple[float, float] | None = None
    fitting: tuple[float, float] | None = None
    threshold = first
    for _ in range(_MOST_TRIALS):
        model = quantize_at(threshold)
        size = model.packed_nbytes
        point = (math.log(threshold), math.log(size))
        if size <= max_bytes:
            best, fitting = model, point  # every later threshold that fits is lower
            if size >= _CLOSE * max_bytes or threshold <= LOWEST:
                break
        else:
            too_large = point
            if threshold >= HIGHEST:
                break
        threshold = _next(fitting, too_large, target)
    if best is None:
        raise ArgumentError(
            f"max_bytes is {max_bytes}, the smallest result takes {quantize_at(HIGHEST).packed_nbytes}",
            hint="give more bytes; scale and background of every state are always stored",
        )
    return best


def _next(fitting: tuple[float, float] | None, too_large: tuple[float, float] | None, target: float) -> float:
    """The threshold to try next, from (log threshold, log bytes) of the nearest results on either side."""
    if fitting is None or too_large is None:
        at, size = fitting or too_large or (0.0, 0.0)
        step = (size - target) / _SLOPE
        step = math.copysign(min(max(abs(step), _STEPS[0]), _STEPS[1]), step)
        return min(max(math.exp(at + step), LOWEST), HIGHEST)
    drop = too_large[1] - fitting[1]
    share = (too_large[1] - target) / drop if drop > 0 else 0.5
    share = min(max(share + 0.02, 0.1), 0.9)  # aim just below the budget, and always cut the bracket
    return math.exp(too_large[0] + share * (fitting[0] - too_large[0]))
