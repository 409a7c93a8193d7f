"""What engines share: requests on a wire, constraints prepared once and side by side, cursors that follow outputs."""

from __future__ import annotations

import gc
import json
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import pytest
import torch
from helpers.engines.worlds import tiny_world

from ctrlg import Keywords, WordCount
from ctrlg.decoding.cursors import Cursor, advance_all
from ctrlg.decoding.guides import guide_of
from ctrlg.engines.following import follow_all
from ctrlg.engines.requests import Request
from ctrlg.engines.rows import Preparing
from ctrlg.errors import ArgumentError, BudgetError, ConstraintError
from ctrlg.generation import prepared

DOG = Request(Keywords([["dog"]]), suffix=".", max_new_tokens=8)


def test_requests_come_as_dictionaries_texts_or_themselves() -> None:
    asked = {"constraint": Keywords([["dog"]]).to_dict(), "suffix": ".", "max_new_tokens": 8}
    assert Request.from_wire(asked) == Request.from_wire(json.dumps(asked)) == DOG
    assert Request.from_wire(DOG) is DOG
    for wrong in ("[", "[" * 10**5, 5, None, [], {"suffix": "."}, asked | {"beams": 2}, asked | {"suffix": 5}):
        with pytest.raises(ArgumentError):
            Request.from_wire(wrong)
    with pytest.raises(ConstraintError):
        Request.from_wire({"constraint": {"kind": "Nothing"}})


def test_equal_constraints_are_prepared_once_and_others_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=60)
    made: list[Any] = []

    def both_at_once(*arguments: Any) -> Any:
        made.append(arguments)
        together.wait()  # for the other constraint: one after another would wait for ever
        return guide_of(*arguments)

    monkeypatch.setattr(prepared, "guide_of", both_at_once)
    guiding = tiny_world().guiding
    other = Request(WordCount(1, 3), max_new_tokens=8)
    with ThreadPoolExecutor(6) as threads:
        cursors = list(threads.map(guiding.cursor, [DOG, other, DOG, other, DOG, other]))
    assert len(made) == 2 and len({id(cursor) for cursor in cursors}) == 6
    assert len({id(cursor.guide) for cursor in cursors}) == 2


def test_a_request_that_fails_fails_for_all_who_wait_and_can_be_asked_again() -> None:
    guiding = tiny_world().guiding
    impossible = Request(Keywords([["dog"]]) & WordCount(0, 0), max_new_tokens=8)
    for _ in range(2):
        with ThreadPoolExecutor(3) as threads:
            asked = [threads.submit(guiding.cursor, impossible) for _ in range(3)]
        assert all(isinstance(one.exception(), ConstraintError) for one in asked)
    assert not guiding._running
    with pytest.raises(BudgetError, match="max_tokens"):
        guiding.cursor(DOG, most_tokens=2)


def test_what_is_prepared_is_ready_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    preparing = Preparing(tiny_world().guiding, threads=1)
    assert preparing.guiding.ready(DOG) is None
    first = preparing.row(DOG, []).cursor()
    monkeypatch.setattr(preparing, "_threads", None)
    again = preparing.row(Request(Keywords([["dog"]]), suffix=".", max_new_tokens=8), []).cursor()
    assert first is not None and again is not None and again is not first and again.guide is first.guide


def test_a_copy_goes_its_own_way() -> None:
    cursor = tiny_world().guiding.cursor(DOG)
    cursor.advance([5, 6])
    other = cursor.copy()
    other.advance([7])
    cursor.back(1)
    assert (cursor.tokens, other.tokens) == ([5], [5, 6, 7])
    assert (cursor.here.step, other.here.step) == (1, 3)


def test_cursors_follow_outputs_forward_and_back() -> None:
    guiding = tiny_world().guiding
    cursors = [guiding.cursor(DOG) for _ in range(3)]
    for outputs in ([[1], [2, 3], []], [[1, 4], [2], [9]], [[7, 7, 7], [2, 5], [9]], [[], [], []]):
        follow_all(cursors, outputs)
        for cursor, output in zip(cursors, outputs, strict=True):
            fresh = guiding.cursor(DOG)
            fresh.advance(output)
            assert cursor.tokens == output
            torch.testing.assert_close(cursor.here.predictive, fresh.here.predictive)


def test_tokens_that_are_not_known_yet_are_not_read() -> None:
    world = tiny_world()
    preparing = Preparing(world.guiding, threads=1)
    row = preparing.row(DOG, [1, -1])
    scores = torch.zeros(2, len(world.tokenizer))
    scores = preparing.join({1: row}, scores)
    cursor = row.cursor()
    assert cursor is not None and cursor.tokens == [1]
    assert not scores[0].any() and torch.isneginf(scores[1]).any()


def test_two_hundred_requests_over_fifty_constraints_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that come, end and are cancelled; what is prepared stays within its bytes, and nobody holds the rest."""
    choose = random.Random(0)
    world = tiny_world()
    guiding = world.guiding
    words = ["dog", "park", "run", "the"]
    asked = [
        Request(Keywords([some]) & WordCount(1, most), suffix=".", max_new_tokens=most + 6)
        for some in [[word] for word in words] + [list(pair) for pair in combinations(words, 2)]
        for most in range(2, 7)
    ]
    assert len(asked) == 50
    most_bytes = 12 * guiding.cursor(asked[0]).guide.nbytes
    monkeypatch.setattr(prepared, "TABLE_BYTES", most_bytes)
    running: list[tuple[Cursor, Request]] = []
    made: list[weakref.ref[Any]] = []
    finished = 0
    for number in range(200):
        request = asked[number % 50] if number < 50 else choose.choice(asked)
        cursor = guiding.cursor(request)
        if all(one() is not cursor.guide for one in made):
            made.append(weakref.ref(cursor.guide))
        running.append((cursor, request))
        if len(running) > 5:
            running.pop(choose.randrange(len(running)))
        choose.shuffle(running)
        for _ in range(3):
            cursors = [cursor for cursor, _ in running]
            scores = guiding.batch.log_ratios(cursors)
            advance_all(cursors, torch.multinomial(scores.softmax(1).nan_to_num(1.0), 1)[:, 0].tolist())
            over = [(cursor, request) for cursor, request in running if cursor.over]
            running = [(cursor, request) for cursor, request in running if not cursor.over]
            for cursor, request in over:
                finished += 1
                content = cursor.tokens[: -len(cursor.guide.suffix_ids)]
                text = guiding.vocabulary.join(content).decode() + request.suffix
                assert cursor.finished and request.constraint.holds(text), text
            if not running:
                break
        if number % 40 == 39:
            cursor = cursors = over = None  # nothing here holds on to a guide
            gc.collect()
            in_use = {id(cursor.guide) for cursor, _ in running}
            alive = [guide for guide in (one() for one in made) if guide is not None]
            assert sum(guide.nbytes for guide in alive if id(guide) not in in_use) <= most_bytes
            del alive
    assert finished > 100 and len(made) > 50
