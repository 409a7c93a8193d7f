"""Token classes, and the tokens of each class side by side in tiles, for kernels that work on one class at a time."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 256
"""Tokens of a tile."""


class Tiles(NamedTuple):
    """tokens: int32 [tiles, TILE], ascending, -1 where a class has no more. class_of: int32 [tiles]."""

    tokens: Tensor
    class_of: Tensor


class TokenClasses:
    """class_of: int [V] in [0, K), on the device that works on them."""

    def __init__(self, class_of: Tensor) -> None:
        self.class_of = class_of

    @cached_property
    def tiles(self) -> Tiles:
        """All tokens, each once. Waits for the device, once for an automaton."""
        classes = self.class_of.long()
        # Tokens in the order of their classes, every class padded to whole tiles: at most K tiles more than V / TILE.
        order = torch.argsort(classes, stable=True)
        counts = torch.bincount(classes)
        tiles_of = counts.add(TILE - 1).div(TILE, rounding_mode="floor")
        class_of_tile = torch.repeat_interleave(torch.arange(len(counts), device=classes.device), tiles_of)
        first_token, first_tile = counts.cumsum(0) - counts, tiles_of.cumsum(0) - tiles_of
        # Tokens of a class are ascending, since the sort is stable: a tile reads columns from left to right.
        sorted_classes = classes[order]
        # Which of its class a token is; its place is that number behind the first tile of the class.
        within = torch.arange(len(order), device=classes.device) - first_token[sorted_classes]
        tokens = torch.full((len(class_of_tile) * TILE,), -1, dtype=torch.int32, device=classes.device)
        tokens[first_tile[sorted_classes] * TILE + within] = order.int()
        tokens = tokens.view(-1, TILE)
        by_place = tokens[:, 0].argsort()  # neighbors in memory are read at about the same time
        return Tiles(tokens[by_place], class_of_tile.int()[by_place])
