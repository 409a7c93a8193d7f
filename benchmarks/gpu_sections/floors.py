"""Bytes and operations that each operation of a matrix cannot do without, and the time they take at best.

Bytes: everything that is read or written is so once. Operations: two for each product of a stored entry and a number.
A floor is the longer of both times, as a device does both at once.
"""

from __future__ import annotations

from typing import NamedTuple

from gpu_sections.ceilings import COPY, PRODUCTS
from gpu_sections.models import LEVELS, STORAGES, Storage
from gpu_sections.sizes import FULL

ENTRY_BYTES = 3  # a code and a row index of 16 bits
FLOAT_BYTES = 4  # of inputs and results, whatever the matrix is stored as
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}
UNITS = {"compressed": "float32", "float32": "tf32", "bfloat16": "bfloat16"}  # that multiply
OPERATIONS = ("left", "add_paired_scores", "add_scores", "columns", "right")


class Floor(NamedTuple):
    """bytes: read and written. operations: multiplications and additions. unit: the ceiling that bounds these."""

    bytes: float
    operations: float
    unit: str

    def seconds(self, copy: float, products: dict[str, float]) -> float:
        """At `copy` bytes a second and `products[unit]` operations a second."""
        return max(self.bytes / copy, self.operations / products[self.unit])


def floor(
    operation: str, storage: Storage, rows: int, columns: int, entries: int, vectors: int, weights: int = 0
) -> Floor:
    """Of an operation on [rows, columns] with `entries` codes a row.

    vectors: rows of what is multiplied, or ids of `columns`. weights: rows of weights of `add_scores`, of tables of
    `add_paired_scores`.
    """
    unit = UNITS[storage]
    if storage == "compressed":
        stored = rows * entries
        matrix = stored * ENTRY_BYTES + FLOAT_BYTES * (columns + 1) + 2 * FLOAT_BYTES * rows + FLOAT_BYTES * LEVELS
        picked = vectors * (stored / columns * ENTRY_BYTES + 2 * FLOAT_BYTES) + 2 * FLOAT_BYTES * rows
    else:
        stored = rows * columns
        matrix = stored * ELEMENT_BYTES[storage]
        picked = vectors * rows * ELEMENT_BYTES[storage]
    if operation == "columns":
        return Floor(picked + FLOAT_BYTES * vectors * rows, vectors * rows, "float32")
    if operation in ("left", "right"):  # cuBLAS multiplies float32 as such
        unit = "float32" if storage == "float32" else unit
        return Floor(matrix + FLOAT_BYTES * vectors * (rows + columns), 2 * vectors * stored, unit)
    # Scores in and out, both mixtures, a class of each token; a numerator and a denominator for each score.
    inputs = FLOAT_BYTES * (2 * vectors * columns + (vectors + weights) * rows + columns + vectors)
    return Floor(matrix + inputs, 4 * vectors * stored, unit)


def table(copy: float = COPY, products: dict[str, float] | None = None) -> list[str]:
    """Lines of the floors at the full sizes, without a card."""
    products = products or PRODUCTS
    rates = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in products.items())
    keywords, words = FULL.automata[-1]
    states = 2**keywords * (words + 1) + 1
    lines = [
        f"Floors in microseconds at {copy / 1e12:.1f} TB/s and {rates} TFLOP/s; V = {FULL.vocab_size}, {FULL.entries} "
        "codes a row.",
        f"left and right of the transition [H, H] (right: {states} rows), add_scores, columns of the emission [H, V].",
        "",
        f"{'operation':12s} {'storage':11s} {'H':>6s} {'B':>4s} {'MB':>10s} {'MFLOP':>12s} {'bytes us':>9s} "
        f"{'FLOP us':>9s} {'floor us':>9s}",
    ]
    for operation in OPERATIONS:
        for storage in STORAGES:
            for hidden_states in FULL.hidden_states:
                for beams in reversed(FULL.beams):
                    if operation == "right" and beams != FULL.beams[0]:
                        continue
                    least = of_model(operation, storage, hidden_states, beams, states, keywords)
                    times = (least.bytes / copy, least.operations / products[least.unit])
                    count = states if operation == "right" else beams
                    lines.append(
                        f"{operation:12s} {storage:11s} {hidden_states:6d} {count:4d} {least.bytes / 1e6:10.2f} "
                        f"{least.operations / 1e6:12.1f} {1e6 * times[0]:9.2f} {1e6 * times[1]:9.2f} "
                        f"{1e6 * max(times):9.2f}"
                    )
    return lines


def of_model(
    operation: str,
    storage: Storage,
    hidden_states: int,
    beams: int,
    states: int,
    keywords: int,
    vocab_size: int = FULL.vocab_size,
    entries: int = FULL.entries,
) -> Floor:
    """Of a model's matrix that the operation is used on: the transition for `left` and `right` (of `states` rows, a
    look-ahead table's), the emission for `add_scores` and `columns`."""
    columns = hidden_states if operation in ("left", "right") else vocab_size
    vectors = states if operation == "right" else beams
    weights = {"add_scores": beams * (keywords + 2), "add_paired_scores": states}.get(operation, 0)
    return floor(operation, storage, hidden_states, columns, min(entries, columns), vectors, weights)
