"""Parts of a kernel in torch's team of threads and in our own: every part runs once, and errors are raised."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ctrlg.kernels import threads


@pytest.fixture(params=["team", "pool"])
def two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "pool":
        monkeypatch.setattr(threads, "torch_team", lambda: None)
    elif threads.torch_team() is None:
        pytest.skip("this torch does not use GNU OpenMP")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def mark(done: np.ndarray, part: int, parts: int) -> None:
    done[part::parts] += 1


@pytest.mark.parametrize("parts", [1, 2, 3, 64])
def test_every_part_runs_once(two_threads: None, parts: int) -> None:
    done = np.zeros(257, dtype=np.int64)
    for _ in range(20):
        threads.run_parts(mark, parts, done)
    assert (done == 20).all()


def test_parts_run_at_the_same_time(two_threads: None) -> None:
    met = threading.Barrier(2, timeout=30)

    def meet(part: int, parts: int) -> None:
        met.wait()

    threads.run_parts(meet, 2)


def test_an_error_of_any_part_is_raised(two_threads: None) -> None:
    def fail(part: int, parts: int) -> None:
        if part == 1:
            raise ValueError("part 1")

    with pytest.raises(ValueError, match="part 1"):
        threads.run_parts(fail, 2)


def test_python_threads_do_not_disturb_each_other(two_threads: None) -> None:
    arrays = [np.zeros(100, dtype=np.int64) for _ in range(4)]

    def use(done: np.ndarray) -> None:
        for _ in range(50):
            threads.run_parts(mark, 2, done)
            torch.ones(100_000).add_(1)  # an operation of torch in the same team

    users = [threading.Thread(target=use, args=(array,)) for array in arrays]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert all((array == 50).all() for array in arrays)


def test_torch_team_is_the_library_that_torch_uses() -> None:
    """The binary wheels of Linux come with GNU OpenMP: a silent way back to the slow pool would be a loss."""
    if sys.platform != "linux" or "OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("torch has other threads here")
    assert threads.torch_team() is not None
