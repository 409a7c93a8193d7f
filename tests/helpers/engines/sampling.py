"""How fake engines choose tokens, and requests as they go over a wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ctrlg.engines.requests import Request
from helpers.engines.fake_vllm import Job, parameters
from helpers.engines.worlds import World


def choose(greedy: bool) -> Callable[[torch.Tensor], int]:
    generator = torch.Generator().manual_seed(0)

    def chosen(scores: torch.Tensor) -> int:
        if greedy:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(0), 1, generator=generator))

    return chosen


def on_wire(request: Request | None) -> Any:
    if request is None:
        return None
    asked = {"constraint": request.constraint.to_dict(), "suffix": request.suffix}
    return json.dumps(asked | {"max_new_tokens": request.max_new_tokens})


def jobs(world: World, requests: Sequence[Request | None]) -> list[Job]:
    limits = [20 if request is None else world.limit(request) for request in requests]
    return [
        Job(number, parameters(on_wire(request), limit), world.prompt)
        for number, (request, limit) in enumerate(zip(requests, limits, strict=True))
    ]
