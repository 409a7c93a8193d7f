"""Token classes: tokens with equal columns in a transition table share one.

Only the distinct columns are kept, so tables stay small whatever the size of the vocabulary.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_DENSE_CODES = 2**24  # codes below this are compacted by a table, others by sorting
_SPARSE = 64  # so many times as many possible codes as codes are sorted, too: the table would take longer


def first_tokens(class_of: NDArray[np.int32], classes: int) -> NDArray[np.int64]:
    """The smallest token of every class, int64 [K]; every class has one."""
    first = np.empty(classes, dtype=np.int64)
    first[class_of[::-1]] = np.arange(len(class_of) - 1, -1, -1)
    return first


def joint(
    first_class_of: NDArray[np.int32],
    second_class_of: NDArray[np.int32],
    first_classes: int,
    second_classes: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Classes of tokens alike in two partitions: that of every token, and the two classes each joins."""
    codes = first_class_of.astype(np.int64) * second_classes + second_class_of
    pairs, class_of = compacted(codes, first_classes * second_classes)
    return class_of.astype(np.int32), pairs // second_classes, pairs % second_classes


def compacted(codes: NDArray[np.integer], stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct ones of some codes in [0, stop), ascending, and the position of each code among them."""
    if stop > min(_DENSE_CODES, _SPARSE * len(codes)):
        distinct, position = np.unique(codes, return_inverse=True)
        return distinct.astype(np.int64, copy=False), position.astype(np.int64, copy=False)
    found = np.zeros(stop, dtype=bool)
    found[codes] = True
    return np.flatnonzero(found), (np.cumsum(found) - 1)[codes]


def join_equal(class_of: NDArray[np.int32], delta: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Classes with equal columns of delta [S, K] become one; they are numbered by their smallest token."""
    columns = np.ascontiguousarray(delta.T)
    joined = np.empty(len(columns), dtype=np.int32)
    number: dict[bytes, int] = {}
    kept: list[int] = []
    for column in np.argsort(first_tokens(class_of, len(columns))).tolist():
        digest = hashlib.blake2b(columns[column].data, digest_size=16).digest()
        joined[column] = number.setdefault(digest, len(number))
        if joined[column] == len(kept):
            kept.append(column)
    return joined[class_of], np.take(delta, kept, axis=1)
