"""The grid of a benchmark: methods and their bits, read and checked once where they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM
from ctrlg.matrices import CompressedMatrix, WrappedMatrix
from ctrlg.quantization import QuantizedHMM
from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.methods import find_method
from ctrlg.quantization.rows import check_bits
from ctrlg.storage.layouts import pack_matrix

FLOAT, MASK_ONLY = "float32", "mask-only"
WITHOUT_BITS = {FLOAT: 32, MASK_ONLY: 0}
"""What is no method of `METHODS`, and the bits that stand for it in results."""


class Setting(NamedTuple):
    """One way to guide: a method and its bits.

    Attributes:
        method: a key of `METHODS`; "float32" is the HMM as it is, "mask-only" none.
        bits: of a code; 32 for "float32", 0 for "mask-only".
    """

    method: str
    bits: int

    def guide(self, reference: HMM) -> Any:
        """What steers.

        Args:
            reference: the float HMM.

        Returns:
            The HMM as the method leaves it; None for the mask alone.

        Raises:
            ArgumentError: as `comparison_hmm`.
        """
        if self.method in WITHOUT_BITS:
            return reference if self.method == FLOAT else None
        return comparison_hmm(reference, self.method, self.bits)

    def stored_bytes(self, reference: HMM, hmm: Any) -> int:
        """Bytes that transition and emission take on disk.

        As our files hold codes where they are held as codes, else bits times entries, as the Norm-Q paper counts.

        Args:
            reference: the float HMM, H states over V tokens.
            hmm: what `guide` made of it.
        """
        if hmm is None:
            return 0
        if isinstance(hmm, QuantizedHMM):
            return hmm.packed_nbytes
        matrices = [m.inside if isinstance(m, WrappedMatrix) else m for m in (hmm.transition, hmm.emission)]
        coded = [pack_matrix(matrix, self.bits).nbytes for matrix in matrices if isinstance(matrix, CompressedMatrix)]
        if len(coded) == len(matrices):
            return sum(coded)
        states, tokens = reference.emission.shape
        return -(-states * (states + tokens) * self.bits // 8)


@dataclass(frozen=True)
class Grid:
    """Settings in order, each once: what a benchmark runs through.

    `Grid.parse("norm-q:8,4 float32")` is the usual way to one; `str` writes it so again.

    Args:
        settings: methods and bits; doubles are dropped.

    Raises:
        ArgumentError: an unknown method, or bits out of its range.
    """

    settings: tuple[Setting, ...]

    def __post_init__(self) -> None:
        for method, bits in self.settings:
            if WITHOUT_BITS.get(method) != bits:
                check_bits(bits, find_method(method).most_bits)
        object.__setattr__(self, "settings", tuple(dict.fromkeys(self.settings)))

    @classmethod
    def parse(cls, text: str | Iterable[str]) -> Grid:
        """The grid of a text.

        Args:
            text: parts such as "norm-q:8,4,3", "float32" and "mask-only", with spaces between them or one by one.

        Raises:
            ArgumentError: a part of another form, an unknown method, or bits out of its range.
        """
        parts = text.split() if isinstance(text, str) else text
        return cls(tuple(setting for part in parts for setting in _settings(part)))

    @classmethod
    def of(cls, method: str, bits: int) -> Grid:
        """The grid of one setting.

        Args:
            method: a key of `METHODS`, "float32" or "mask-only".
            bits: of the method; "float32" and "mask-only" take none and ignore them.

        Raises:
            ArgumentError: an unknown method, or bits out of its range.
        """
        return cls((Setting(method, WITHOUT_BITS.get(method, bits)),))

    @classmethod
    def product(cls, methods: Iterable[str], bits: Iterable[int]) -> Grid:
        """Each method at all of these bits that it takes, bits outermost.

        Args:
            methods: keys of `METHODS`, at least one.
            bits: of codes.

        Raises:
            ArgumentError: an unknown method, or bits that no method takes.
        """
        most = {method: find_method(method).most_bits for method in methods}
        bits = list(bits)
        for number in bits:
            check_bits(number, max(most.values()))
        return cls(tuple(Setting(method, number) for number in bits for method in most if number <= most[method]))

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    def __str__(self) -> str:
        groups = groupby(self.settings, key=lambda setting: setting.method)
        return " ".join(
            method if method in WITHOUT_BITS else f"{method}:{','.join(str(bits) for _, bits in settings)}"
            for method, settings in groups
        )


def _settings(part: str) -> list[Setting]:
    """The settings of one part, as "norm-q:8,4"."""
    method, _, numbers = part.partition(":")
    if method in WITHOUT_BITS and not numbers:
        return [Setting(method, WITHOUT_BITS[method])]
    find_method(method)  # a wrong name is named before its bits are
    try:
        return [Setting(method, int(number)) for number in numbers.split(",")]
    except ValueError as error:
        raise ArgumentError(f"{part!r} names no bits", hint='write it as "norm-q:8,4,3"') from error
