"""What a refused continuation says about the settings that differ."""

from __future__ import annotations

from ctrlg.errors import differing_settings


def test_only_what_differs_is_named_and_digests_are_cut() -> None:
    found = {"seed": 5, "same": 1, "data": "0" * 64, "name": "abc"}
    wanted = {"seed": 6, "same": 1, "data": "f" * 64, "extra": None, "name": "abc"}
    assert differing_settings(found, wanted) == "data was 00000000... and is ffffffff...; seed was 5 and is 6"
    assert differing_settings(wanted, wanted) == ""
    assert differing_settings({}, {"word": "g" * 64}) == f"word was None and is '{'g' * 64}'"
