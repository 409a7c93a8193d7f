"""`comparison_hmm`: an HMM in, out comes what a method of the registry makes of it, ready for `ctrlg.generate`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM
from ctrlg.matrices import DenseMatrix, StochasticMatrix
from ctrlg.quantization.baselines import Method, find_method
from ctrlg.quantization.integer import IntegerMatrix
from ctrlg.quantization.layouts import arrange
from ctrlg.quantization.levels import LEVELLED, MOST_CODE_BITS, coded_rows
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.quantization.pruning import check_ratio, prune
from ctrlg.quantization.quantize import METHODS as COMPRESSIONS
from ctrlg.quantization.quantize import quantize
from ctrlg.quantization.rows import check_bits
from ctrlg.quantization.unnormalised import UnnormalisedHMM


@checked
@torch.no_grad()
def comparison_hmm(
    hmm: HMM, method: str, bits: int | None = None, *, ratio: float | None = None
) -> HMM | QuantizedHMM | UnnormalisedHMM:
    """Transition and emission of `hmm` by one method; the initial distribution stays float32, as in `quantize`.

    method: a key of `METHODS`. bits: 1 to `METHODS[method].most_bits`, for norm-q 1 to 8.
    ratio: for "prune" only, instead of bits: the share of entries to drop, 0 to below 1.

    Returns a QuantizedHMM for norm-q and log-norm-q (`ctrlg.quantize` with its defaults), norm-q-max and k-means, up to
    8 bits; an HMM, dense, for other methods that keep rows normalised; else an UnnormalisedHMM, which says what
    rows that do not sum to 1 mean to the decoder. Matrices of at most 256 levels run compressed (`levels.LEVELLED`).
    "integer" rounds the vectors that its matrices are multiplied by, too.
    Raises ArgumentError for an unknown method, bits or ratio missing, out of range or not of the method, and for a
    model whose rows are no distributions.
    """
    found = find_method(method)
    quantiser = _quantiser(found, bits, ratio)
    hmm.check()
    if bits is not None and method in COMPRESSIONS:
        return quantize(hmm, method, bits)
    if found.normalised and bits is not None and bits <= MOST_CODE_BITS and method in LEVELLED:
        transition, emission = (
            arrange(coded_rows(LEVELLED[method](matrix.to_dense(), bits), bits), bits)
            for matrix in (hmm.transition, hmm.emission)
        )
        initial = hmm.initial.float().clone()
        return QuantizedHMM(
            transition, emission, initial, hmm.eos_token_id, method=method, bits=bits, fingerprint=hmm.fingerprint
        )
    transition, emission = (quantiser(matrix.to_dense()) for matrix in (hmm.transition, hmm.emission))
    if found.normalised:
        dense = (transition.to_dense(), emission.to_dense(), hmm.initial)
        return HMM.of_parameters(*dense, hmm.eos_token_id, hmm.fingerprint)
    return UnnormalisedHMM(
        transition,
        emission,
        hmm.initial.float().clone(),
        hmm.eos_token_id,
        method=method,
        bits=bits,
        fingerprint=hmm.fingerprint,
        settings={} if ratio is None else {"ratio": ratio},
    )


def _quantiser(method: Method, bits: int | None, ratio: float | None) -> Callable[[Tensor], StochasticMatrix]:
    """What turns the rows of a matrix into the matrix to decode with."""
    if ratio is not None:
        if method.name != "prune" or bits is not None:
            raise ArgumentError(
                f"ratio is {ratio}, method is {method.name!r}, bits is {bits}",
                hint='a ratio goes with "prune" alone, instead of bits',
            )
        check_ratio(ratio)
        return lambda p: DenseMatrix(prune(p, ratio))
    if bits is None:
        raise ArgumentError(
            f"method {method.name!r} is given no bits", hint=f"a whole number from 1 to {method.most_bits}"
        )
    check_bits(bits, method.most_bits)
    if method.name == "integer":
        return lambda p: IntegerMatrix.of_entries(p, bits)
    if bits <= MOST_CODE_BITS and method.name in LEVELLED:
        return lambda p: arrange(coded_rows(LEVELLED[method.name](p, bits), bits), bits, normalised=False)
    return lambda p: DenseMatrix(method(p, bits))
