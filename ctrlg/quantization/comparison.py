"""`comparison_hmm`: an HMM in, out comes what a method of the registry makes of it, ready for `ctrlg.generate`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM
from ctrlg.matrices import DenseMatrix, StochasticMatrix
from ctrlg.quantization.baselines.integer import IntegerMatrix
from ctrlg.quantization.baselines.levels import MOST_CODE_BITS
from ctrlg.quantization.baselines.pruning import check_ratio, prune
from ctrlg.quantization.methods import Method, find_method, quantizes_initial
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.quantization.quantize import quantize
from ctrlg.quantization.rows import check_bits
from ctrlg.quantization.unnormalised import UnnormalisedHMM
from ctrlg.storage.layouts import arrange


@checked
@torch.no_grad()
def comparison_hmm(
    hmm: HMM, method: str, bits: int | None = None, *, ratio: float | None = None, initial: bool | None = None
) -> HMM | QuantizedHMM | UnnormalisedHMM:
    """Transition and emission of `hmm` by one method, and the initial distribution where the method takes it.

    "integer" rounds the vectors that its matrices are multiplied by, too.

    Args:
        hmm: the model; it is not changed.
        method: a key of `METHODS`.
        bits: 1 to `METHODS[method].most_bits`.
        ratio: for "prune" only, instead of bits: the share of entries to drop, 0 to below 1.
        initial: whether the initial distribution is quantized too; None: as the method does (`Method.takes_initial`).

    Returns:
        A QuantizedHMM for methods that `ctrlg.quantize` takes (with its defaults), up to 8 bits; an HMM, dense, for
        other methods that keep rows normalized; else an UnnormalisedHMM, which says what rows that do not sum to 1 mean
        to the decoder. Matrices that have a form in codes (`Method.coded`) run compressed.

    Raises:
        ArgumentError: an unknown method; bits or ratio missing, out of range or not of the method; an initial
            distribution that is to be quantized by a method that leaves none; a model whose rows are no distributions.
    """
    found = find_method(method)
    quantiser = _quantiser(found, bits, ratio)
    takes_initial = quantizes_initial(method, initial)
    hmm.check()
    if found.stored and bits is not None and bits <= MOST_CODE_BITS:
        return quantize(hmm, method, bits, initial=initial)
    first = hmm.initial.float().clone()
    transition, emission = (quantiser(matrix.to_dense()) for matrix in (hmm.transition, hmm.emission))
    if found.normalised:
        last = quantiser(first[None]).to_dense()[0] if takes_initial else first
        return HMM.of_parameters(transition.to_dense(), emission.to_dense(), last, hmm.eos_token_id, hmm.fingerprint)
    return UnnormalisedHMM(
        transition,
        emission,
        first,
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
    coded = method.coded
    if coded is not None and bits <= MOST_CODE_BITS:
        return lambda p: arrange(coded(p, bits), bits, normalised=method.normalised)
    return lambda p: DenseMatrix(method(p, bits))
