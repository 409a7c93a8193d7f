"""Every method of the registry as an HMM to decode with: of which kind it is, and that constraints are kept with
any."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from helpers.random_inputs.hmms import random_hmm, random_rows
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.constraints import Keywords, WordCount
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError
from ctrlg.generation import generate
from ctrlg.hmm import HMM
from ctrlg.matrices import CompressedMatrix, DenseMatrix
from ctrlg.quantization import METHODS, QuantizedHMM, UnnormalisedHMM, comparison_hmm
from ctrlg.quantization.baselines.integer import IntegerMatrix
from ctrlg.quantization.methods import quantize_rows
from ctrlg.vocabulary.token_bytes import Vocabulary

TOKENIZER = tiny_tokenizer()
EOS: int = cast(int, TOKENIZER.eos_token_id)
MODEL = tiny_language_model(len(TOKENIZER))
VOCABULARY = Vocabulary.of(TOKENIZER, len(TOKENIZER), EOS)
CONSTRAINT = Keywords([["dog", "dogs"], ["park"]]) & WordCount(2, 5)
UNNORMALISED = [name for name, method in METHODS.items() if not method.normalised]


def flat_hmm() -> HMM:
    """Entries near 1 / 6 and 1 / 270: few bits on [0, 1] leave nothing of them."""
    states, vocabulary = 6, len(TOKENIZER)
    transition, emission = (random_rows(states, size, 0.3, seed=size) for size in (states, vocabulary))
    return HMM.of_parameters(transition, emission, torch.full((states,), 1 / states), EOS)


@pytest.mark.parametrize("name", METHODS)
def test_matrices_are_what_the_method_says(name: str) -> None:
    hmm = random_hmm(6, 50)
    made = comparison_hmm(hmm, name, 4)
    assert (made.hidden_states, made.vocab_size, made.eos_token_id) == (6, 50, hmm.eos_token_id)
    assert made.fingerprint == hmm.fingerprint
    taken = METHODS[name].takes_initial
    torch.testing.assert_close(made.initial, quantize_rows(hmm.initial[None], name, 4)[0] if taken else hmm.initial)
    if name in ("norm-q", "log-norm-q", "norm-q-max", "matrix-max", "k-means"):
        assert isinstance(made, QuantizedHMM) and (made.method, made.bits) == (name, 4)
        if name in ("norm-q", "log-norm-q"):
            return
    else:
        assert isinstance(made, HMM if METHODS[name].normalised else UnnormalisedHMM)
    for ours, original in ((made.transition, hmm.transition), (made.emission, hmm.emission)):
        kind = CompressedMatrix if METHODS[name].coded is not None else DenseMatrix
        assert isinstance(ours, IntegerMatrix if name == "integer" else kind)
        expected = quantize_rows(original.to_dense(), name, 4)
        torch.testing.assert_close(ours.to_dense(), expected, rtol=1e-5, atol=1e-9)


def test_more_bits_than_codes_have_make_a_dense_hmm() -> None:
    hmm = random_hmm(6, 50)
    made = comparison_hmm(hmm, "norm-q", 12)
    assert isinstance(made, HMM)
    expected = quantize_rows(hmm.emission.to_dense(), "norm-q", 12)
    torch.testing.assert_close(made.emission.to_dense(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_the_initial_distribution_is_quantised_where_one_says_so(name: str) -> None:
    hmm = random_hmm(6, 50)
    if not METHODS[name].normalised:
        with pytest.raises(ArgumentError, match=f"{name!r} leaves rows that do not sum to 1") as refused:
            comparison_hmm(hmm, name, 3, initial=True)
        assert refused.value.hint
        return
    coded = quantize_rows(hmm.initial[None], name, 3)[0]
    torch.testing.assert_close(comparison_hmm(hmm, name, 3, initial=True).initial, coded, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(comparison_hmm(hmm, name, 3, initial=False).initial, hmm.initial)


@pytest.mark.parametrize("bits", [1, 6])
@pytest.mark.parametrize("name", METHODS)
def test_constraints_are_kept_with_every_method(name: str, bits: int) -> None:
    hmm = comparison_hmm(flat_hmm(), name, bits)
    options: dict[str, Any] = {"max_new_tokens": 9, "num_beams": 3, "num_return_sequences": 2}
    for result in generate(MODEL, TOKENIZER, hmm, CONSTRAINT, prefix="the", suffix=" run.", **options):
        assert result.satisfied and CONSTRAINT.holds(result.text)
        assert math.isfinite(result.log_prob)


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("name", UNNORMALISED)
def test_scores_are_log_probabilities_whatever_is_left_of_the_rows(name: str, bits: int) -> None:
    hmm = comparison_hmm(flat_hmm(), name, bits)
    dfa = CONSTRAINT.compile(VOCABULARY)
    dog = TOKENIZER.encode(" dog")
    processor = ConstraintLogitsProcessor(hmm, dfa, 1, 9, [EOS], prefix_ids=TOKENIZER.encode("the s"))
    for content in ([], dog, [*dog, *TOKENIZER.encode(" the")], [*dog, *TOKENIZER.encode(" park")]):
        ids = torch.tensor([[EOS, *content]])
        logits = torch.randn(1, hmm.vocab_size, generator=torch.Generator().manual_seed(0))
        scores = processor(ids, logits)
        assert not scores.isnan().any() and not (scores == torch.inf).any()
        assert float(scores.logsumexp(1)) == pytest.approx(0, abs=1e-4)
        assert not processor.log_ratio(ids).isnan().any()
    assert not math.isnan(processor.log_probability[0])


@pytest.mark.parametrize("name", ["none", "integer"])
def test_where_rounding_leaves_nothing_the_mask_and_the_language_model_decide(name: str) -> None:
    hmm = comparison_hmm(flat_hmm(), name, 1)
    assert hmm.transition.to_dense().eq(0).all() and hmm.emission.to_dense().eq(0).all()
    dfa = CONSTRAINT.compile(VOCABULARY)
    prefix = TOKENIZER.encode("the")
    guided = ConstraintLogitsProcessor(hmm, dfa, 1, 9, [EOS], prefix_ids=prefix)
    masked = ConstraintLogitsProcessor(None, dfa, 1, 9, [EOS], prefix_ids=prefix, eos_token_id=EOS)
    for content in ([], TOKENIZER.encode(" dog"), TOKENIZER.encode(" dogs the")):
        ids = torch.tensor([[EOS, *content]])
        logits = torch.randn(1, hmm.vocab_size, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(guided(ids, logits), masked(ids, logits))
    assert guided.log_probability == [-math.inf]


def test_pruning_takes_a_ratio_instead_of_bits() -> None:
    hmm = random_hmm(6, 50)
    made = comparison_hmm(hmm, "prune", ratio=0.9)
    assert isinstance(made, UnnormalisedHMM) and made.bits is None and made.settings == {"ratio": 0.9}
    assert int((made.emission.to_dense() == 0).sum()) == 270
    assert "ratio" in repr(made) and "4 bits" in repr(comparison_hmm(hmm, "prune", 4))


REFUSED: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "no such method": (("norm", 4), {}, "quantization method is 'norm'"),
    "no bits": (("row-max",), {}, "'row-max' is given no bits"),
    "bits out of range": (("k-means", 9), {}, "bits is 9"),
    "more bits than the method takes": (("norm-q", 17), {}, "bits is 17"),
    "a ratio of another method": (("none",), {"ratio": 0.5}, "method is 'none'"),
    "a ratio and bits": (("prune", 4), {"ratio": 0.5}, "bits is 4"),
    "a ratio of 1": (("prune",), {"ratio": 1.0}, "ratio is 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused(name: str) -> None:
    arguments, options, message = REFUSED[name]
    with pytest.raises(ArgumentError, match=message) as refused:
        comparison_hmm(random_hmm(3, 20), *arguments, **options)
    assert refused.value.hint


def test_a_model_that_is_none_is_refused() -> None:
    hmm = random_hmm(3, 20)
    hmm.alpha_exp.data[1] *= 2
    with pytest.raises(ArgumentError, match="row 1 of alpha_exp"):
        comparison_hmm(hmm, "none", 4)
    with pytest.raises(ArgumentError, match="row 1 of alpha_exp"):
        comparison_hmm(hmm, "prune", ratio=0.5)


def test_an_unnormalised_hmm_moves_and_checks_its_parts() -> None:
    made = comparison_hmm(random_hmm(3, 20), "integer", 4)
    assert isinstance(made, UnnormalisedHMM)
    assert made.to("meta").device == torch.device("meta") and made.to("cpu").method == "integer"
    half = DenseMatrix(torch.full((3, 20), 0.5))
    with pytest.raises(ArgumentError, match="transition"):
        UnnormalisedHMM(half, half, torch.ones(3), 0, method="none", bits=4)
    with pytest.raises(ArgumentError, match="eos_token_id 20"):
        UnnormalisedHMM(DenseMatrix(torch.ones(3, 3)), half, torch.ones(3), 20, method="none", bits=4)
