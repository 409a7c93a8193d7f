"""The operations of a compressed matrix on a GPU: torch tensors in and out, the work in Triton.

    M = diag(scale) @ levels[codes] + background,  so  x @ M = (x * scale) @ levels[codes] + x @ background

What a function computes is defined by its namesake in `ctrlg.kernels.reference`. Nothing here waits for the device.
Under `TRITON_INTERPRET=1` the same kernels run on CPU tensors, for tests.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ctrlg.kernels.entries import HEAD, PIECE, EntryLists
from ctrlg.kernels.gpu import scores as score_kernels
from ctrlg.kernels.gpu import sums
from ctrlg.kernels.reference import LARGEST_LOGIT, ones_where_missing
from ctrlg.kernels.scoring import HEADROOM, ScoringStep

MOST_ELEMENTS = 2**31 - 1
"""Of a tensor that a kernel addresses by 32-bit offsets; more lanes are worked on in turns."""

CLASSES_AT_A_TIME = 256
"""One-hot rows [classes, N] of `class_sums` that are held at once."""

COLUMN_ENTRIES = 1024
"""Entries of a column that one program scatters."""


class CompressedEntries(Protocol):
    """What these kernels need of a matrix: its entries by column and by row, and what gives them values."""

    codebook: Tensor
    scale: Tensor
    background: Tensor

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def by_column(self) -> EntryLists: ...
    @property
    def by_row(self) -> EntryLists: ...


def left(matrix: CompressedEntries, x: Tensor) -> Tensor:
    """`x @ M`: [B, H] -> [B, N]."""
    size = matrix.shape[1]
    # Lists are columns here: the scale belongs to an entry's row, so x takes it in, and the background's share is one
    # number of a lane, the same for all columns.
    ones = x.new_ones(1).expand(size).contiguous()
    return _list_sums(matrix, matrix.by_column, x * matrix.scale, ones, ones, x @ matrix.background)


def right(matrix: CompressedEntries, y: Tensor) -> Tensor:
    """`y @ M.T`: [S, N] -> [S, H]."""
    # Lists are rows here: scale and background belong to the whole list and come in after its sum.
    return _list_sums(matrix, matrix.by_row, y, matrix.scale, matrix.background, y.sum(dim=1))


def columns(matrix: CompressedEntries, ids: Tensor) -> Tensor:
    """`M[:, ids].T`: int64 [n] in [-1, N) -> [n, H]; -1 gives ones."""
    states, lists = matrix.shape[0], matrix.by_column
    # The background everywhere; the kernel overwrites the places that are stored, each of which has one entry only.
    out = ones_where_missing(matrix.background.expand(len(ids), states), ids)
    if len(ids) and lists.longest:
        # A program for each id and COLUMN_ENTRIES entries; those beyond a column's end are masked.
        grid = (len(ids), _programs(lists.longest, COLUMN_ENTRIES))
        arguments = (ids, lists.starts, lists.indices, lists.codes, matrix.codebook, matrix.scale, matrix.background)
        sums.launcher(sums.scatter_columns, *grid)(*arguments, out, states, ENTRIES=COLUMN_ENTRIES)
    return out


def class_sums(matrix: CompressedEntries, class_of: Tensor, num_classes: int) -> Tensor:
    """Sum of the columns of each class: int [N] in [0, K) -> [K, H]."""
    # One-hot rows, [256, N] float32 at a time: 51 MB at 50,000 tokens. A product with them has each sum in
    # one place, so there are no atomic additions.
    parts = []
    for first in range(0, num_classes, CLASSES_AT_A_TIME):
        classes = torch.arange(first, min(first + CLASSES_AT_A_TIME, num_classes), device=class_of.device)
        parts.append(right(matrix, (class_of == classes[:, None]).float()))
    return torch.cat(parts)


def scores(matrix: CompressedEntries, step: ScoringStep) -> Tensor:
    """Log-ratios [B, N]."""
    return _weighted_scores(matrix, None, step, None)[0]


def add_scores(
    matrix: CompressedEntries,
    log_probs: Tensor,
    step: ScoringStep,
    out: Tensor,
) -> Tensor:
    """`log_probs + scores` into `out`, contiguous [B, N], may be `log_probs`; returns its rows' log-sum-exp [B]."""
    return _weighted_scores(matrix, log_probs, step, out)[1]


def add_paired_scores(
    matrix: CompressedEntries,
    logits: Tensor,
    predictive: Tensor,
    rows: Tensor,
    row_of: Tensor,
    offset: Tensor,
    class_of: Tensor,
) -> tuple[Tensor, Tensor]:
    """`add_scores` whose weights are predictive[b] * rows[r] for r = row_of[b, k], with offset[b, k] added.

    rows: float32 [n, H]; row_of: int32 [B, K] in [-1, n); offset: float32 [B, K].
    """
    # The numerator sums predictive * row * M. The predictive state carries scale and headroom (`x` in `_scores`), so
    # rows go in as they are; the background's share is [B, n], one number for every pair of a sequence and a row.
    background = matrix.background * HEADROOM
    above_start = (predictive * background) @ rows.T
    out = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    return _scores(matrix, logits, predictive, rows, above_start, len(rows), True, row_of, offset, class_of, out)


def _weighted_scores(
    matrix: CompressedEntries,
    logits: Tensor | None,
    step: ScoringStep,
    out: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Each row of weights is divided by its largest entry, whose logarithm becomes the offset."""
    weights, predictive, row_of, class_of = step
    peak = weights.amax(dim=1) if len(weights) else weights.new_empty(0)
    # One row more than there are: the dead index -1 has an offset, and the kernel a row to point to where none is live.
    peak = torch.cat([torch.where(peak > 0, peak, 1.0), peak.new_ones(1)])
    unit = torch.cat([weights / peak[:-1, None], weights.new_zeros(1, weights.shape[1])])
    out = predictive.new_empty(len(predictive), matrix.shape[1]) if out is None else out
    above_start = unit @ (matrix.background * HEADROOM)
    # Weights replace the predictive state in the numerator, so they carry scale and headroom themselves. Their share of
    # the background is [R + 1], the same for every sequence: hence a lane stride of 0 below.
    scaled = unit * _scale(matrix)
    offset = peak.log()[row_of.long()]
    return _scores(matrix, logits, predictive, scaled, above_start, 0, False, row_of, offset, class_of, out)


def _scores(
    matrix: CompressedEntries,
    logits: Tensor | None,
    predictive: Tensor,
    rows: Tensor,
    above_start: Tensor,
    start_lane_stride: int,
    paired: bool,
    row_of: Tensor,
    offset: Tensor,
    class_of: Tensor,
    out: Tensor,
) -> tuple[Tensor, Tensor]:
    """Scores in `out` [B, N] and their log-sum-exp [B], of no meaning without logits."""
    lists, lanes, size = matrix.by_column, len(predictive), matrix.shape[1]
    if not lanes or not row_of.shape[1]:
        return out, out.new_full((lanes,), -torch.inf)
    # Transposed to [H, B]: one entry reads its state's values of neighboring sequences, a stretch of memory. x
    # carries scale, largest level and headroom: times level / largest level that is 2^60 M, and 2^60 cancels at last.
    x = (predictive * _scale(matrix)).T.contiguous()
    below_start = predictive @ (matrix.background * HEADROOM)
    w = rows.T.contiguous()
    levels = matrix.codebook / _largest_level(matrix)
    # [K, B]: the rows of one class for neighboring sequences lie side by side.
    by_class = (class_of, row_of.int().T.contiguous(), x, w)
    width = sums.lanes_of_program(lanes)
    entries = (lists.indices, lists.codes, levels)
    # Partial sums of the pieces, [P, B] each.
    above = x.new_empty(max(1, len(lists.piece_list)), lanes)
    below = torch.empty_like(above)
    if len(lists.piece_list):
        grid = (len(lists.piece_list), _programs(lanes, width))
        sums.launcher(score_kernels.score_pieces, *grid)(
            lists.starts, lists.piece_list, lists.piece_begin, *entries, *by_class, above, below, lanes,
            w.stride(0), w.stride(1), PAIRED=paired, LANES=width, CHUNK=sums.entries_of_chunk(width), PIECE=PIECE,
        )  # fmt: skip
    tile = sums.lists_of_program(width)
    blocks = _programs(size, tile)
    # Log-sum-exp in two steps: every block of columns writes its own, and the last line adds them.
    peaks = x.new_empty(blocks, lanes)
    masses = torch.empty_like(peaks)
    sums.launcher(score_kernels.score_lists, blocks, _programs(lanes, width))(
        lists.starts, lists.first_piece, *entries, *by_class, above, below, above_start.contiguous(), below_start,
        offset.float().T.contiguous(), out if logits is None else logits.contiguous(), out, peaks, masses, size, lanes,
        w.stride(0), w.stride(1), start_lane_stride, LARGEST_LOGIT, PAIRED=paired, JOINED=logits is not None,
        COLUMNS=tile, LANES=width, HEAD=HEAD,
    )  # fmt: skip
    return out, (peaks + masses.log()).logsumexp(dim=0)


def _list_sums(
    matrix: CompressedEntries, lists: EntryLists, x: Tensor, factor: Tensor, offset: Tensor, lane_total: Tensor
) -> Tensor:
    """factor[i] * (sum of list i over lane l of `x` [L, m]) + offset[i] * lane_total[l], float32 [L, lists]."""
    # x [m, L] and the pieces' sums [P, L] are addressed by 32-bit offsets.
    most = max(1, MOST_ELEMENTS // max(1, x.shape[1], len(lists.piece_list)))
    if len(x) > most:
        # Turns of `most` lanes each; their results are put one below the other.
        spans = [slice(first, first + most) for first in range(0, len(x), most)]
        return torch.cat([_list_sums(matrix, lists, x[span], factor, offset, lane_total[span]) for span in spans])
    lanes = len(x)
    out = x.new_empty(lanes, lists.number)
    if not lanes:
        return out
    x = x.T.contiguous()
    width = sums.lanes_of_program(lanes)
    entries = (lists.indices, lists.codes, matrix.codebook)
    partial = x.new_empty(max(1, len(lists.piece_list)), lanes)
    if len(lists.piece_list):
        grid = (len(lists.piece_list), _programs(lanes, width))
        sums.launcher(sums.piece_sums, *grid)(
            lists.starts, lists.piece_list, lists.piece_begin, *entries, x, partial, lanes,
            LANES=width, CHUNK=sums.entries_of_chunk(width), PIECE=PIECE,
        )  # fmt: skip
    tile = sums.lists_of_program(width)
    sums.launcher(sums.list_sums, _programs(lists.number, tile), _programs(lanes, width))(
        lists.starts, lists.first_piece, *entries, x, partial, factor, offset, lane_total, out, lists.number, lanes,
        LISTS=tile, LANES=width, HEAD=HEAD,
    )  # fmt: skip
    return out


def _programs(work: int, of_one: int) -> int:
    """How many programs do so much work."""
    return -(-work // of_one)


def _largest_level(matrix: CompressedEntries) -> Tensor:
    largest = matrix.codebook.abs().amax()
    return torch.where(largest > 0, largest, 1.0)


def _scale(matrix: CompressedEntries) -> Tensor:
    """What weights are multiplied by before levels of at most 1 are: float32 [H]."""
    return matrix.scale * (_largest_level(matrix) * HEADROOM)
