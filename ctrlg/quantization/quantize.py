"""`quantize`: an HMM in, its compressed form out."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from ctrlg.arguments import Between, NonNegative, OneOf, Positive, checked
from ctrlg.defaults import BITS, METHOD
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM
from ctrlg.matrices import CompressedMatrix, QuantizedRows
from ctrlg.quantization.budget import HIGHEST, largest_within
from ctrlg.quantization.log_norm_q import DEFAULT_THRESHOLD, LogNormQuantizer, state_occupancy
from ctrlg.quantization.methods import METHODS, STORED, quantizes_initial
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.quantization.norm_q import EPS, norm_q_rows
from ctrlg.storage.layouts import LAYOUTS, arrange

_SMALL_MATRIX = 1 << 22  # entries


@checked
@torch.no_grad()
def quantize(
    hmm: HMM,
    method: Annotated[str, OneOf(STORED)] = METHOD,
    bits: Annotated[int, Between(1, 8)] = BITS,
    *,
    layout: Annotated[str, OneOf(LAYOUTS)] = "auto",
    threshold: NonNegative | None = None,
    max_bytes: Positive | None = None,
    eps: float = EPS,
    initial: bool | None = None,
) -> QuantizedHMM:
    """Compress transition and emission of an HMM, and its initial distribution where that is asked for.

    Args:
        hmm: the model; it is not changed.
        method: "log-norm-q"; "norm-q", as published (arXiv 2509.25439), which loses far more; or another of `STORED` to
            compare them with.
        bits: 1 to 8, per code.
        layout: "dense" or "sparse"; "auto" takes the one that is smaller on disk, for each matrix.
        threshold: log-norm-q only; nats per token that an entry must gain to be stored, >= 0. 0 stores whatever helps;
            the default, DEFAULT_THRESHOLD, loses little more and takes a fraction of the bytes.
        max_bytes: log-norm-q only, instead of a threshold; `model.safetensors` takes at most so many, and the threshold
            is the lowest with which it does.
        eps: norm-q only; added to every quantized entry, keeps what rounds to nothing possible.
        initial: whether the initial distribution is quantized too, like a matrix of one row; else it takes 4 bytes a
            state. None: as the method does, yes for norm-q, as published, no for log-norm-q.

    Returns:
        The compressed model, over the same states and tokens.

    Raises:
        ArgumentError: arguments out of range or that do not go with the method, a model whose rows are no
            distributions, and a budget that cannot be met.
    """
    takes_initial = quantizes_initial(method, initial)
    if method != "log-norm-q" and (threshold is not None or max_bytes is not None):
        raise ArgumentError(f"{method} has no threshold and no budget", hint='choose its bits, or method="log-norm-q"')
    if method != "norm-q" and eps != EPS:
        raise ArgumentError(f"{method} has no eps", hint="norm-q alone takes one")
    if method == "norm-q":
        rows = (norm_q_rows(p, bits, eps) for p in _parts(hmm, takes_initial))
        return _assemble(hmm, method, bits, layout, *rows, settings={"eps": eps})
    coded = METHODS[method].coded
    if method != "log-norm-q" and coded is not None:
        return _assemble(hmm, method, bits, layout, *(coded(p, bits) for p in _parts(hmm, takes_initial)), settings={})
    if threshold is not None and max_bytes is not None:
        raise ArgumentError("both a threshold and max_bytes are given", hint="give one of them")

    transition, emission, *row = _parts(hmm, takes_initial)
    occupancy = state_occupancy(hmm.initial, transition)
    quantizers = [LogNormQuantizer(p, bits, occupancy) for p in (transition, emission)]
    quantizers += [LogNormQuantizer(p, bits) for p in row]

    def at(value: float) -> QuantizedHMM:
        rows = (quantizer.at(value) for quantizer in quantizers)
        return _assemble(hmm, method, bits, layout, *rows, settings={"threshold": value})

    if max_bytes is not None:
        return largest_within(at, max_bytes, DEFAULT_THRESHOLD)
    return at(DEFAULT_THRESHOLD if threshold is None else threshold)


def _parts(hmm: HMM, takes_initial: bool) -> list[Tensor]:
    """Transition [H, H] and emission [H, V], and the initial distribution [1, H] if it is taken."""
    return [hmm.transition.to_dense(), hmm.emission.to_dense(), *([hmm.initial.float()[None]] if takes_initial else [])]


def least_bytes(hidden_states: int, vocab_size: int, bits: int) -> int:
    """The smallest `max_bytes` that log-norm-q can always meet for an HMM of this size, known before there is one.

    It holds scale and background of every row, the initial distribution and the codebooks, without any entry. (Of a few
    states over a few hundred tokens, where headers are most of a file, codes for all entries may take fewer.)

    Args:
        hidden_states: H.
        vocab_size: V.
        bits: of a code, 1 to 8.
    """
    transition, emission = (_empty_rows(hidden_states, size, bits) for size in (hidden_states, vocab_size))
    initial = torch.full((hidden_states,), 1 / hidden_states)
    settings = {"threshold": HIGHEST}
    smallest = QuantizedHMM(
        transition, emission, initial, 0, method="log-norm-q", bits=bits, fingerprint="0" * 64, settings=settings
    )
    return smallest.packed_nbytes


def _empty_rows(states: int, size: int, bits: int) -> CompressedMatrix:
    """Uniform rows as log-norm-q stores them: the background alone."""
    codebook = torch.arange(2**bits, dtype=torch.float32) / 2**bits
    scale, background = torch.zeros(states), torch.full((states,), 1 / size)
    if states * size <= _SMALL_MATRIX:  # where a code for every entry can be less than a list of none
        codes = torch.zeros(states, size, dtype=torch.uint8)
        return arrange(QuantizedRows(codes, codebook, scale, background), bits)
    nothing = torch.empty(0, dtype=torch.uint8)
    offsets = torch.zeros(states + 1, dtype=torch.int64)
    return CompressedMatrix.from_rows(offsets, nothing, nothing, scale, background, codebook, (states, size))


def _assemble(
    hmm: HMM,
    method: str,
    bits: int,
    layout: str,
    transition: QuantizedRows,
    emission: QuantizedRows,
    initial: QuantizedRows | None = None,
    *,
    settings: dict[str, Any],
) -> QuantizedHMM:
    return QuantizedHMM(
        arrange(transition, bits, layout),
        arrange(emission, bits, layout),
        hmm.initial.float().clone() if initial is None else arrange(initial, bits, layout),
        hmm.eos_token_id,
        method=method,
        bits=bits,
        fingerprint=hmm.fingerprint,
        settings=settings,
    )
