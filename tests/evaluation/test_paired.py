"""Rows set by set against one of them."""

from __future__ import annotations

from typing import Any

import pytest

from ctrlg.errors import DataError
from ctrlg.evaluation.paired import paired_markdown, paired_rows


def line(method: str, bits: int, number: int, log_prob: float, text: str = "a", mask: str = "hard") -> dict[str, Any]:
    names = {"method": method, "bits": bits, "mask": mask, "seed": 0, "concept_set_idx": number}
    return {**names, "concepts": ["a"], "sentences": [text], "log_prob": log_prob}


LINES = [
    line("norm-q", 8, 1, -3.0),
    line("norm-q", 8, 2, -2.0, "b"),
    line("norm-q", 8, 3, -9.0),  # the reference lacks this set
    line("float32", 32, 2, -1.5),
    line("float32", 32, 1, -2.0),
    line("float32", 32, 1, -7.0, mask="soft"),
    line("k-means", 4, 5, -1.0),
]


def test_differences_are_of_the_sets_that_both_have() -> None:
    norm_q, soft = paired_rows(LINES, "float32")
    assert norm_q[:5] == ("norm-q", 8, "hard", 2, 1)
    assert norm_q.gained.value == pytest.approx(-0.75)
    assert -1.0 <= norm_q.gained.low <= norm_q.gained.high <= -0.5
    assert soft[:5] == ("float32", 32, "soft", 1, 1) and soft.gained.value == pytest.approx(-5.0)
    assert "| norm-q | 8 | hard | 2 | 1 | -0.750 (" in paired_markdown([norm_q], "float32")


def test_a_reference_may_name_its_bits_and_must_be_there() -> None:
    assert [row.method for row in paired_rows(LINES, "norm-q:8")] == ["float32", "float32"]
    with pytest.raises(DataError, match="no row is 'norm-q:4'") as error:
        paired_rows(LINES, "norm-q:4")
    assert "norm-q:8, float32:32" in str(error.value.hint)
