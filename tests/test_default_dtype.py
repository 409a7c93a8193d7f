"""Nothing depends on torch's default dtype: models, compression, learning and generation are the same under any. Under
autocast the language model computes as the caller wishes, and everything else as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.constraints import Keywords, WordCount
from ctrlg.generation import generate
from ctrlg.hmm import HMM
from ctrlg.hmm.expectation import total_counts
from ctrlg.hmm.inference import Parameters, sample_tokens
from ctrlg.hmm.learning import maximize
from ctrlg.loading import load_hmm
from ctrlg.quantization import quantize
from normtweaking.rounding.codebooks import nearest_levels

TOKENIZER: Any = tiny_tokenizer()
SIZE = len(TOKENIZER)
MODEL = tiny_language_model(SIZE)


def random_hmm() -> HMM:
    torch.manual_seed(1)
    return HMM(6, SIZE, TOKENIZER.convert_tokens_to_ids("<|endoftext|>"))


HMM_MODEL = random_hmm()


def parameters() -> Parameters:
    return Parameters(HMM_MODEL.transition, HMM_MODEL.emission, HMM_MODEL.initial)


def learned() -> Any:
    sampled = sample_tokens(parameters(), 20, 8, torch.Generator().manual_seed(0))
    return [sampled, *maximize(total_counts(parameters(), [sampled]))]


def compressed(method: str, layout: str) -> Callable[[], Any]:
    def work() -> Any:
        small = quantize(HMM_MODEL, method, 4, layout=layout)
        tokens = torch.arange(12).view(2, 6)
        matrices = [small.transition.to_dense(), small.emission.to_dense(), small.emission.columns(tokens[0])]
        return [*matrices, small.emission.left(small.transition.to_dense()), small.initial]

    return work


def loaded(folder: Path) -> Callable[[], Any]:
    return lambda: [load_hmm(folder / kind).emission.to_dense() for kind in ("dense", "compressed")]


def written(small: bool, **options: Any) -> Callable[[], Any]:
    def work() -> Any:
        hmm = quantize(HMM_MODEL, "log-norm-q", 3) if small else HMM_MODEL
        constraint = Keywords(["dog"]) & WordCount(2, 5)
        return generate(
            MODEL, TOKENIZER, hmm, constraint, suffix=".", max_new_tokens=8, num_return_sequences=3, **options
        )

    return work


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    HMM_MODEL.save_pretrained(path / "dense")
    quantize(HMM_MODEL, "log-norm-q", 4).save_pretrained(path / "compressed")
    return path


@pytest.fixture(params=[torch.bfloat16, torch.float16, torch.float64], ids=str)
def default_dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    yield request.param
    torch.set_default_dtype(torch.float32)


def the_same(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype and torch.equal(first, second)
    elif isinstance(first, (list, tuple)) and not hasattr(first, "log_prob"):
        for pair in zip(first, second, strict=True):
            the_same(*pair)
    else:
        assert first == second


WORK: dict[str, Callable[[], Any]] = {
    "a random HMM": lambda: list(random_hmm().parameters()),
    "learning": learned,
    "norm-q, dense": compressed("norm-q", "dense"),
    "log-norm-q, sparse": compressed("log-norm-q", "sparse"),
    "search": written(False, num_beams=3),
    "search with a compressed HMM": written(True, num_beams=3),
    "sampling": written(True, do_sample=True, seed=1, top_p=0.9),
    "levels of weights": lambda: nearest_levels(torch.linspace(-1, 1, 999, dtype=torch.float32)[None] ** 3, 8, 5),
}


@pytest.mark.parametrize("name", WORK)
def test_results_do_not_depend_on_the_default_dtype(name: str, default_dtype: torch.dtype) -> None:
    usual = WORK[name]()
    torch.set_default_dtype(default_dtype)
    the_same(usual, WORK[name]())


def test_checkpoints_do_not_depend_on_the_default_dtype(folder: Path, default_dtype: torch.dtype) -> None:
    usual = loaded(folder)()
    torch.set_default_dtype(default_dtype)
    the_same(usual, loaded(folder)())


@pytest.mark.parametrize("name", ["learning", "norm-q, dense", "log-norm-q, sparse"])
def test_results_do_not_depend_on_autocast(name: str) -> None:
    usual = WORK[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        the_same(usual, WORK[name]())


@pytest.mark.parametrize("name", ["search", "search with a compressed HMM", "sampling"])
def test_constraints_are_kept_under_autocast(name: str) -> None:
    usual = WORK[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = WORK[name]()
    assert results and all(result.satisfied for result in results)
    assert results[0].log_prob == pytest.approx(usual[0].log_prob, abs=0.1)


def test_likelihood_does_not_depend_on_autocast() -> None:
    tokens = torch.arange(12).view(2, 6)
    small = quantize(HMM_MODEL, "log-norm-q", 3)
    usual = [HMM_MODEL.log_likelihood(tokens), small.log_likelihood(tokens), *HMM_MODEL(tokens)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        the_same(usual, [HMM_MODEL.log_likelihood(tokens), small.log_likelihood(tokens), *HMM_MODEL(tokens)])
