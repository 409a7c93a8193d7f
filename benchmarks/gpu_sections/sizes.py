"""The sizes that are measured: the full ones of a card, and toy ones at which a CPU runs every line in seconds."""

from __future__ import annotations

from typing import NamedTuple


class Llama(NamedTuple):
    """Shape of a Llama decoder: width, layers, heads, key-value heads, width between."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int


class Expectation(NamedTuple):
    """One EM step: H states over V tokens, `batch` sequences of `length` tokens."""

    hidden_states: int
    vocab_size: int
    batch: int
    length: int


class Sizes(NamedTuple):
    """hidden_states: widths H; the first one is used wherever one is enough. entries: stored codes a row. beams: the
    first one is what goals speak of. automata: (keywords, most words), of 2^keywords * (words + 1) + 1 states; the last
    one is what goals speak of. tokens: most of a text. steps: decoding steps that are timed. prompt: tokens in the
    language model's cache. copy_bytes, product: of the ceilings. repeats: most calls that a median is taken of.
    shapes: most that kernels are launched in to find the best.
    """

    hidden_states: tuple[int, ...]
    vocab_size: int
    entries: int
    beams: tuple[int, ...]
    automata: tuple[tuple[int, int], ...]
    tokens: int
    steps: int
    prompt: int
    copy_bytes: int
    product: int
    repeats: int
    shapes: int
    llamas: dict[str, Llama]
    expectation: Expectation


FULL = Sizes(
    hidden_states=(4096, 8192, 16384, 32768),
    vocab_size=50257,
    entries=150,
    beams=(128, 16, 1),
    automata=((2, 9), (4, 11)),
    tokens=32,
    steps=10,
    prompt=64,
    copy_bytes=2**31,
    product=8192,
    repeats=30,
    shapes=100,
    llamas={"1B": Llama(2048, 16, 32, 8, 8192), "7B": Llama(4096, 32, 32, 32, 11008)},
    expectation=Expectation(4096, 49152, 256, 32),
)

TOY = Sizes(
    hidden_states=(24, 40),
    vocab_size=157,
    entries=6,
    beams=(4, 1),
    automata=((1, 2), (2, 3)),
    tokens=12,
    steps=2,
    prompt=4,
    copy_bytes=2**16,
    product=32,
    repeats=2,
    shapes=2,
    llamas={"toy": Llama(32, 2, 4, 2, 64)},
    expectation=Expectation(16, 101, 4, 6),
)
