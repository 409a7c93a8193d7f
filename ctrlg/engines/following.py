"""A cursor that follows what an engine has written, however the engine got there."""

from __future__ import annotations

from collections.abc import Sequence

from ctrlg.decoding.cursors import Cursor, advance_all


def follow_all(cursors: Sequence[Cursor], outputs: Sequence[Sequence[int]]) -> None:
    """Take every cursor to the end of its output: forward, or back first where tokens were taken back.

    Args:
        cursors: of one HMM, each once.
        outputs: the tokens after each prompt.
    """
    behind: list[tuple[Cursor, list[int]]] = []
    for cursor, output in zip(cursors, outputs, strict=True):
        same = _common(cursor.tokens, output)
        cursor.back(len(cursor.tokens) - same)
        behind.append((cursor, list(output[same:])))
    # One token of each at a time, so that the HMM's part of all is one product.
    while behind := [(cursor, rest) for cursor, rest in behind if rest]:
        advance_all([cursor for cursor, _ in behind], [rest.pop(0) for _, rest in behind])


def _common(tokens: Sequence[int], output: Sequence[int]) -> int:
    """How many tokens agree from the start on."""
    shorter = min(len(tokens), len(output))
    if list(tokens[:shorter]) == list(output[:shorter]):  # the common case, at the speed of lists
        return shorter
    return next(place for place in range(shorter) if tokens[place] != output[place])
