"""How many levels does a compressed HMM really have? Distinct probabilities in a matrix and in its rows.

    python -m studies.compression.levels --output runs/levels.jsonl
    python -m studies.compression.levels --hmm runs/hmm/best --methods norm-q k-means --bits 8 --output levels.jsonl

A method of b bits has at most 2^b levels in the matrix before rows are normalised, which gives every row levels of its
own. "Effective" is the number of equally frequent levels with the entropy that the entries' levels have, e^H: how many
levels do the work where one of them, the background, takes nearly all entries. Each result is a line of OUTPUT.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.quantization import comparison_hmm
from ctrlg.quantization.methods import METHODS, find_method
from ctrlg.quantization.rows import check_bits
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

KEY = ("hmm", "method", "bits", "matrix")
COLUMNS = {
    "distinct": "distinct",
    "most_in_a_row": "most in a row",
    "mean_in_a_row": "mean in a row",
    "effective": "effective in a row",
    "background_share": "entries at the lowest level of their row",
}


def main() -> None:
    arguments = parse_arguments()
    for method in arguments.methods:
        for bits in arguments.bits:
            check_bits(bits, find_method(method).most_bits)
    lines = StudyLines(arguments.output, KEY)
    reference = float_hmm(arguments.hmm, arguments.device)
    for method in arguments.methods:
        for bits in arguments.bits:
            keys = {name: (arguments.hmm, method, bits, name) for name in ("transition", "emission")}
            if any(key not in lines for key in keys.values()):
                hmm = comparison_hmm(reference, method, bits)
                for name, key in keys.items():
                    if key not in lines:
                        lines.add(key, levels(getattr(hmm, name).to_dense()))
    lines.close()
    say(table([line for line in lines.lines if line["hmm"] == arguments.hmm]))


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


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each method and bits; emission, with the transition in brackets."""
    found = {tuple(line[name] for name in KEY[1:]): line for line in lines}
    rows: list[list[Any]] = [["method", "bits", *COLUMNS.values()]]
    for method, bits in dict.fromkeys(key[:2] for key in found):
        emission, transition = (found[method, bits, matrix] for matrix in ("emission", "transition"))
        cells = [f"{shown(name, emission[name])} ({shown(name, transition[name])})" for name in COLUMNS]
        rows.append([method, bits, *cells])
    return markdown_rows(rows)


def shown(name: str, value: float) -> str:
    if name == "background_share":
        return f"{value:.2%}"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}"


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmm", default="default", help="folder or hub id; unpacked if compressed (%(default)s)")
    defaults = ["norm-q", "norm-q-max", "matrix-max", "row-max", "k-means", "log-norm-q"]
    parser.add_argument("--methods", nargs="+", default=defaults, help=f"of {', '.join(METHODS)}")
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4, 3, 2])
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
