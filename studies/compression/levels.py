"""How many levels does a compressed HMM really have? Distinct probabilities in a matrix and in its rows.

    python -m studies.compression.levels --output runs/levels.jsonl
    python -m studies.compression.levels --hmm runs/hmm/best --methods norm-q k-means --bits 8 --output levels.jsonl

A method of b bits has at most 2^b levels in the matrix before rows are normalised, which gives every row levels of its
own. "Effective" is the number of equally frequent levels with the entropy that the entries' levels have, e^H: how many
levels do the work where one of them, the background, takes nearly all entries. Each result is a line of OUTPUT.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product, starmap

import torch
from torch import Tensor

from ctrlg.evaluation.grid import Grid, Setting
from ctrlg.files.records import markdown_rows
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped

COLUMNS = {
    "distinct": "distinct",
    "most_in_a_row": "most in a row",
    "mean_in_a_row": "mean in a row",
    "effective": "effective in a row",
    "background_share": "entries at the lowest level of their row",
}


class Levels(Study):
    key = ("hmm", "method", "bits", "matrix")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        methods = ["norm-q", "norm-q-max", "matrix-max", "row-max", "k-means", "log-norm-q"]
        flags.share("hmm", "bits", methods=methods)

    def check(self) -> None:
        chosen = self.arguments
        self.grid = Grid(tuple(starmap(Setting, product(chosen.methods, chosen.bits))))

    def batches(self) -> Iterable[Sequence[Key]]:
        for setting in self.grid:
            yield [(self.arguments.hmm, *setting, matrix) for matrix in ("transition", "emission")]

    def measure(self, keys: Sequence[Key]) -> Measured:
        _, *setting, _ = keys[0]
        hmm = Setting(*setting).guide(self.reference)
        for key in keys:
            yield key, levels(getattr(hmm, key[-1]).to_dense())

    def wants(self, line: Line) -> bool:
        return line["hmm"] == self.arguments.hmm

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each method and bits; emission, with the transition in brackets."""
        rows: list[list[object]] = [["method", "bits", *COLUMNS.values()]]
        for (method, bits), pair in grouped(lines, "method", "bits").items():
            emission, transition = sorted(pair, key=lambda line: line["matrix"])
            cells = [f"{shown(name, emission[name])} ({shown(name, transition[name])})" for name in COLUMNS]
            rows.append([method, bits, *cells])
        return markdown_rows(rows)


def levels(rows: Tensor) -> dict[str, float]:
    """Distinct float32 values of rows [H, N]: in all and in a row. The effective number and the share of the lowest
    level are means over rows."""
    in_rows, effective, lowest = [], [], []
    values = []
    for row in rows:
        found, counts = row.unique(return_counts=True)
        share = counts.double() / len(row)
        values.append(found)
        in_rows.append(len(found))
        effective.append(float(torch.special.entr(share).sum().exp()))
        lowest.append(float(share[0]))
    return {
        "distinct": len(torch.cat(values).unique()),
        "most_in_a_row": max(in_rows),
        "mean_in_a_row": sum(in_rows) / len(in_rows),
        "effective": sum(effective) / len(effective),
        "background_share": sum(lowest) / len(lowest),
    }


def shown(name: str, value: float) -> str:
    if name == "background_share":
        return f"{value:.2%}"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    Levels.main()
