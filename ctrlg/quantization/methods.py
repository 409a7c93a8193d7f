"""The registry of quantization methods: Norm-Q, log-norm-q and what they are compared with, under one signature.

A method is a function of rows and bits, dense in and dense out; its entry says which bits it takes, whether its rows
still are distributions, where its levels are, whether it changes its own result and whether it takes the initial
distribution too. docs/methods.md describes them. `ctrlg.quantization.comparison` makes an HMM for decoding of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.matrices import QuantizedRows
from ctrlg.quantization.baselines.grids import (
    MOST_BITS,
    PSEUDOCOUNT,
    column_normalised,
    matrix_levels,
    matrix_max,
    norm_q_max,
    on_matrix_grid,
    row_max,
    unnormalised,
)
from ctrlg.quantization.baselines.k_means import k_means, k_means_unnormalised
from ctrlg.quantization.baselines.levels import Levelled, rows_of_levels
from ctrlg.quantization.baselines.pruning import FLOAT_BITS, prune_to_bits
from ctrlg.quantization.log_norm_q import log_norm_q, log_norm_q_rows, state_occupancy
from ctrlg.quantization.norm_q import EPS, norm_q, norm_q_rows
from ctrlg.quantization.rows import check_bits, check_rows


@dataclass(frozen=True)
class Method:
    """One way to quantize the rows of a matrix.

    Args:
        name: its key in METHODS.
        function: p [H, N] (float32 or float64, rows sum to 1) and bits -> same shape and type; `p` is not changed.
        most_bits: bits are 1 to most_bits.
        normalised: every row of the result sums to 1; else rows are no distributions, and may be empty.
        levels_in: every "row", every "column" or the whole "matrix" has at most 2^bits distinct values; None: no bound.
        idempotent: `function` of its own result changes it by no more than floats round.
        takes_initial: whether the initial distribution is quantized too unless one says otherwise: a matrix of one row,
            as in the paper and its code.
        coded: what `function` does as codes of 1 to 8 bits, with which a matrix runs and is saved compressed; None: the
            method has no such form.
    """

    name: str
    function: Callable[[Tensor, int], Tensor]
    most_bits: int
    normalised: bool
    levels_in: Literal["row", "column", "matrix"] | None
    idempotent: bool
    takes_initial: bool = False
    coded: Callable[[Tensor, int], QuantizedRows] | None = None

    def __call__(self, p: Tensor, bits: int) -> Tensor:
        """The quantized rows.

        Args:
            p: float32 or float64 [H, N], rows sum to 1.
            bits: 1 to most_bits.

        Raises:
            ArgumentError: bits out of range, and rows that are no distributions.
        """
        check_bits(bits, self.most_bits)
        check_rows(p)
        return self.function(p, bits)

    @property
    def stored(self) -> bool:
        """Whether an HMM of this method can be a `QuantizedHMM`: distributions, held and saved as codes."""
        return self.normalised and self.coded is not None


def _levels(entries: Callable[[Tensor, int], Tensor], constant: float | None = None, of_row: bool = False) -> Any:
    """The `coded` of a method that rounds to few levels in the whole matrix, then adds a constant and normalizes.

    constant: added to every entry, or with `of_row` spread over a row; None where rows stay as they are.
    """

    def coded(p: Tensor, bits: int) -> QuantizedRows:
        added = constant / p.shape[1] if of_row and constant is not None else constant
        return rows_of_levels(Levelled(entries(p, bits), added), bits)

    return coded


# A new method is one entry here: `comparison_hmm`, the benchmark, the studies and the tests of all methods take it from
# the table, and with `coded` also `ctrlg.quantize` and its command.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("norm-q", norm_q, MOST_BITS, True, "row", False, takes_initial=True, coded=norm_q_rows),
            Method(
                "norm-q-max",
                norm_q_max,
                MOST_BITS,
                True,
                "row",
                False,
                takes_initial=True,
                coded=_levels(matrix_levels, PSEUDOCOUNT, of_row=True),
            ),
            Method(
                "matrix-max",
                matrix_max,
                MOST_BITS,
                True,
                "row",
                False,
                coded=_levels(on_matrix_grid, PSEUDOCOUNT, of_row=True),
            ),
            Method("row-max", row_max, MOST_BITS, True, "row", True),
            Method("log-norm-q", log_norm_q, 8, True, "row", False, coded=log_norm_q_rows),
            Method("k-means", k_means, 8, True, "row", False, coded=_levels(k_means_unnormalised, EPS)),
            Method("none", unnormalised, MOST_BITS, False, "matrix", True, coded=_levels(unnormalised)),
            Method("column", column_normalised, MOST_BITS, False, "column", False),
            # its entries; that operands are rounded too is seen only in a product, see `integer.IntegerMatrix`
            Method("integer", unnormalised, MOST_BITS, False, "matrix", True, coded=_levels(unnormalised)),
            Method(
                "k-means-unnormalised",
                k_means_unnormalised,
                8,
                False,
                "matrix",
                True,
                coded=_levels(k_means_unnormalised),
            ),
            Method("prune", prune_to_bits, FLOAT_BITS, False, None, True),
        )
    }
)

STORED = tuple(name for name, method in METHODS.items() if method.stored)
"""Methods of `ctrlg.quantize`, and of the files of compressed HMMs."""


def find_method(name: str) -> Method:
    """The method of a name.

    Args:
        name: a key of METHODS.

    Raises:
        ArgumentError: there is none.
    """
    if name not in METHODS:
        raise ArgumentError(f"quantization method is {name!r}", hint=f"one of {', '.join(METHODS)}")
    return METHODS[name]


def check_method(method: str, bits: int) -> None:
    """Check that EM can be made aware of a method: its rows must stay distributions.

    Args:
        method: a key of METHODS.
        bits: 1 to METHODS[method].most_bits.

    Raises:
        ArgumentError: it cannot, or bits are out of range.
    """
    found = find_method(method)
    if not found.normalised:
        usable = ", ".join(name for name, other in METHODS.items() if other.normalised)
        raise ArgumentError(
            f"quantization method {method!r} leaves rows that do not sum to 1; EM cannot go on from them",
            hint=f"one of {usable}",
        )
    check_bits(bits, found.most_bits)


def quantize_rows(p: Tensor, method: str, bits: int) -> Tensor:
    """The rows of `p` as a method leaves them.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        method: a key of METHODS.
        bits: 1 to METHODS[method].most_bits.

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: an unknown method, bits out of range, and rows that are no distributions.
    """
    return find_method(method)(p, bits)


def quantize_distributions(
    transition: Tensor, emission: Tensor, initial: Tensor, method: str, bits: int, with_initial: bool | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Quantized rows of the three distributions, for EM: distributions again.

    Args:
        transition: [H, H].
        emission: [H, V].
        initial: [H]; log-norm-q learns from it which states count most.
        method: what `check_method` takes, like bits.
        bits: 1 to METHODS[method].most_bits.
        with_initial: whether `initial` is quantized too, else it is returned as it is; None: as the method does.

    Returns:
        Transition, emission and initial.

    Raises:
        ArgumentError: other methods, bits out of range, and rows that are no distributions.
    """
    check_method(method, bits)
    takes_initial = quantizes_initial(method, with_initial)
    transition, emission = transition.contiguous(), emission.contiguous()  # rows are what is worked on
    last = quantize_rows(initial[None], method, bits)[0] if takes_initial else initial
    if method == "log-norm-q":
        occupancy = state_occupancy(initial, transition)
        return (
            log_norm_q(transition, bits, occupancy=occupancy),
            log_norm_q(emission, bits, occupancy=occupancy),
            last,
        )
    return quantize_rows(transition, method, bits), quantize_rows(emission, method, bits), last


def quantizes_initial(method: str, wanted: bool | None) -> bool:
    """Whether a method takes the initial distribution too.

    Args:
        method: a key of METHODS.
        wanted: what is wanted; None for the method's default.

    Raises:
        ArgumentError: an unknown method, or it is wanted of one that leaves no distribution.
    """
    found = find_method(method)
    if wanted and not found.normalised:
        raise ArgumentError(
            f"method {method!r} leaves rows that do not sum to 1; the initial distribution must",
            hint="leave it as it is (initial=False)",
        )
    return found.takes_initial if wanted is None else wanted
