"""log-norm-q: few levels spread over many decades, and the mass that rounding drops kept as each row's background.

A row becomes `scale * codebook[code] + background`: one codebook of 2^b levels for the matrix (level 0 is the
background alone, the others are near a geometric sequence), a scale and a uniform background for the row, so
that it sums to 1 and nothing possible becomes impossible. An entry is stored only if that gains more than
`threshold` nats per token, `occupancy[h] * (p log(q / background) - (q - background)) > threshold`; see
`ctrlg.quantization.codebook`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.arguments import NonNegative, Positive, checked
from ctrlg.errors import ArgumentError
from ctrlg.matrices import QuantizedRows
from ctrlg.quantization.codebook import Intervals, Levels, boundaries, fit_levels, fit_rows
from ctrlg.quantization.mass_histogram import MassHistogram, mass_histogram, normalised_rows, row_blocks
from ctrlg.quantization.rows import check_bits, check_rows

DEFAULT_THRESHOLD = 3e-9  # nats per token; with it an HMM of 1,024 states over 49,152 tokens keeps 4 % of its entries
OCCUPANCY_TOKENS = 32
OCCUPANCY_FLOOR = 0.05  # share of the occupancy spread over all states, so that a constraint may lead anywhere


@checked
def log_norm_q(
    p: Tensor, bits: int, *, threshold: NonNegative = DEFAULT_THRESHOLD, occupancy: Tensor | None = None
) -> Tensor:
    """log-norm-q of every row of `p`, as probabilities.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 8.
        threshold: nats per token that an entry must gain to be stored, >= 0.
        occupancy: [H], > 0, how often each state is visited; uniform where None.

    Returns:
        Probabilities [H, N] of the type of `p`; rows sum to 1.

    Raises:
        ArgumentError: rows that are no distributions (it names the row and its sum), and arguments out of range.
    """
    return log_norm_q_rows(p, bits, threshold=threshold, occupancy=occupancy).dense().to(p.dtype)


@checked
def log_norm_q_rows(
    p: Tensor, bits: int, *, threshold: NonNegative = DEFAULT_THRESHOLD, occupancy: Tensor | None = None
) -> QuantizedRows:
    """`log_norm_q` as codes, scale and background.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 8.
        threshold: nats per token that an entry must gain to be stored, >= 0.
        occupancy: [H], > 0, how often each state is visited; uniform where None.

    Returns:
        Codes, with a scale and a background for each row.

    Raises:
        ArgumentError: as `log_norm_q`.
    """
    return LogNormQuantizer(p, bits, occupancy).at(threshold)


@checked
def state_occupancy(initial: Tensor, transition: Tensor, tokens: Positive = OCCUPANCY_TOKENS) -> Tensor:
    """How often each state is visited in the first tokens of a text.

    Args:
        initial: [H].
        transition: [H, H].
        tokens: how many tokens, >= 1.

    Returns:
        float64 [H], sums to 1. A share of OCCUPANCY_FLOOR is spread evenly over all states.
    """
    predictive, step = initial.double(), transition.double()
    visits = torch.zeros_like(predictive)
    for _ in range(tokens):
        visits += predictive
        predictive = predictive @ step
    return (1 - OCCUPANCY_FLOOR) * visits / visits.sum() + OCCUPANCY_FLOOR / len(visits)


class LogNormQuantizer:
    """One matrix, ready to be quantized at any threshold.

    Its histogram is made once, and a codebook that was fitted at one threshold is where the search at the next begins.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 8.
        occupancy: [H], > 0, how often each state is visited; uniform where None.

    Raises:
        ArgumentError: as `log_norm_q`.
    """

    def __init__(self, p: Tensor, bits: int, occupancy: Tensor | None = None) -> None:
        check_bits(bits, 8)
        check_rows(p)
        self._p = p
        self._bits = bits
        self._occupancy = _checked_occupancy(occupancy, p)
        self._histogram: MassHistogram = mass_histogram(p)
        self._codebook: Tensor | None = None

    def at(self, threshold: float) -> QuantizedRows:
        """The rows quantized at a threshold.

        Args:
            threshold: nats per token that an entry must gain to be stored, >= 0.

        Raises:
            ArgumentError: a negative threshold.
        """
        if not threshold >= 0:
            raise ArgumentError(f"threshold is {threshold}", hint="nats per token, 0 or more")
        levels = fit_levels(self._histogram, self._occupancy, self._bits, threshold, self._codebook)
        self._codebook = levels.codebook
        return self._assign(levels, threshold / self._occupancy)

    def _assign(self, levels: Levels, price: Tensor) -> QuantizedRows:
        """Codes of all entries under these levels; scale and background fitted to the exact intervals."""
        p = self._p
        codebook = levels.codebook.float().double()  # as stored, so that rows sum to 1 with the rounded levels
        levels = levels._replace(codebook=codebook)
        edges = boundaries(levels, price)
        codes = torch.empty(p.shape, dtype=torch.uint8, device=p.device)
        scale, background = torch.empty_like(levels.scale), torch.empty_like(levels.scale)
        for rows in row_blocks(p):
            block = normalised_rows(p, rows)
            code = torch.searchsorted(edges[rows], block)
            empty = block.new_zeros(len(block), len(codebook) + 1)
            parts = Intervals(empty.scatter_add(1, code, torch.ones_like(block)), empty.scatter_add(1, code, block))
            fitted = fit_rows(codebook, parts, p.shape[1])
            codes[rows], scale[rows], background[rows] = code.to(torch.uint8), fitted.scale, fitted.background
        return QuantizedRows(
            codes, torch.cat([codebook.new_zeros(1), codebook]).float(), scale.float(), background.float()
        )


def _checked_occupancy(occupancy: Tensor | None, p: Tensor) -> Tensor:
    if occupancy is None:
        return torch.full((p.shape[0],), 1 / p.shape[0], dtype=torch.float64, device=p.device)
    occupancy = occupancy.to(p.device, torch.float64)
    if tuple(occupancy.shape) != (p.shape[0],) or not bool((occupancy > 0).all() & torch.isfinite(occupancy).all()):
        raise ArgumentError(
            f"occupancy of shape {tuple(occupancy.shape)} for {p.shape[0]} states, least value "
            f"{float(occupancy.min()) if occupancy.numel() else 0}",
            hint="one positive number for each state",
        )
    return occupancy / occupancy.sum()
