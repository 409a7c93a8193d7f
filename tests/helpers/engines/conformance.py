"""What every engine's adapter passes: subclasses say how the engine writes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ctrlg import Keywords, WordCount
from ctrlg.engines.requests import Request
from helpers.engines.worlds import World


class Conformance:
    """An engine under constraints writes what transformers writes, and every text keeps its constraint.

    Attributes:
        together: requests that the engine runs at a time.
        sampled: requests for texts at temperature 1.
    """

    together = 6
    sampled = 20

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        """The tokens after the prompt for each request, as many at a time as the engine can; those of cancelled ones
        are not looked at."""
        raise NotImplementedError

    def test_greedy_texts_are_those_of_transformers(self, world: World) -> None:
        requests = world.requests(self.together)
        assert self.write(world, requests, greedy=True) == [world.greedy(request) for request in requests]

    def test_a_batch_of_different_constraints_is_one_by_one(self, world: World) -> None:
        requests = world.requests(self.together, seed=1)
        alone = [self.write(world, [request], greedy=True)[0] for request in requests]
        assert self.write(world, requests, greedy=True) == alone

    def test_every_sampled_text_keeps_its_constraint(self, world: World) -> None:
        requests = world.requests(self.sampled, seed=2)
        texts = self.write(world, requests, greedy=False)
        assert [world.keeps(request, text) for request, text in zip(requests, texts, strict=True)] == [True] * len(
            texts
        )

    def test_cancelled_and_unconstrained_requests_leave_no_trace(self, world: World) -> None:
        requests: list[Request | None] = [*world.requests(self.together, seed=3)]
        expected = self.write(world, requests, greedy=True)
        mixed = [*requests, None, *world.requests(3, seed=4), None]
        gone = range(len(requests) + 1, len(requests) + 4)
        assert self.write(world, mixed, greedy=True, cancelled=gone)[: len(requests)] == expected

    def test_what_cannot_be_kept_ends_and_the_others_go_on(self, world: World) -> None:
        impossible = Request(Keywords([["dog"]]) & WordCount(0, 0), max_new_tokens=8)
        possible = world.requests(2, seed=5)
        first, failed, last = self.write(world, [possible[0], impossible, possible[1]], greedy=True)
        assert (first, last) == tuple(self.write(world, possible, greedy=True))
        assert failed == [world.end]
