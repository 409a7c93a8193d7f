"""Compiles every Triton kernel for sm_90; run as a program without TRITON_INTERPRET, for it decides at import."""

from __future__ import annotations

import itertools
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ctrlg.kernels.gpu import products, scores, sums

TYPES = {
    "*i32": "tokens class_of_tile starts piece_list piece_begin first_piece class_of row_of",
    "*u16": "indices",
    "*u8": "codes",
    "*i64": "ids",
    "*fp32": "levels x w above below above_start below_start offset logits out peaks masses partial factor lane_total "
    "scale background",
    "i32": "lanes w_index_stride w_row_stride start_lane_stride columns lists states",
    "fp32": "largest_logit",
}
TYPE_OF = {name: kind for kind, names in TYPES.items() for name in names.split()}


def compile_kernel(
    kernel: Any,
    types: dict[str, str] | None = None,
    options: dict[str, int] | None = None,
    **constants: int | bool | str,
) -> None:
    names = kernel.arg_names
    type_of = TYPE_OF | (types or {})
    signature = {name: "constexpr" if name in constants else type_of[name] for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def main() -> None:
    for lanes, paired in itertools.product((1, 16, 64), (True, False)):
        tile, chunk = sums.lists_of_program(lanes), sums.entries_of_chunk(lanes)
        compile_kernel(sums.piece_sums, LANES=lanes, CHUNK=chunk, PIECE=128)
        compile_kernel(sums.list_sums, LISTS=tile, LANES=lanes, HEAD=32)
        compile_kernel(scores.score_pieces, PAIRED=paired, LANES=lanes, CHUNK=chunk, PIECE=128)
        compile_kernel(scores.score_lists, PAIRED=paired, JOINED=paired, COLUMNS=tile, LANES=lanes, HEAD=32)
    compile_kernel(sums.scatter_columns, ENTRIES=1024)
    for number, lanes in itertools.product(("fp32", "bf16"), (16, 64)):
        floats = {"matrix": f"*{number}", "x": f"*{number}", "w": f"*{number}"}
        states = 32 if number == "fp32" else 64
        shape = {"TILE": 256, "LANES": lanes, "STATES": states, "states": 4096, "UPCAST": False}
        compile_kernel(products.dense_scores, floats, {"num_warps": 8, "num_stages": 3}, PRECISION="tf32", **shape)
    print("compiled")


if __name__ == "__main__":
    main()
