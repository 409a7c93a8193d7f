"""Wrong calls end in an error of ours that names the value and says what would be right; unusual ones work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.random_inputs.hmms import random_hmm, random_rows
from helpers.tiny_models import END_OF_TEXT, tiny_language_model, tiny_tokenizer
from helpers.wrong_calls import RIGHT, WRONG, lines_of
from hypothesis import given
from hypothesis import strategies as st

import ctrlg
import normtweaking
from ctrlg.arguments import Between, Positive, check, checked, shown
from ctrlg.errors import ArgumentError, CtrlGError
from ctrlg.hmm import HMM
from ctrlg.loading.language_models import load_language_model, load_tokenizer
from ctrlg.quantization import quantize


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    here = tmp_path_factory.mktemp("calls")
    tokenizer = tiny_tokenizer()
    end = int(tokenizer.convert_tokens_to_ids(END_OF_TEXT))  # type: ignore[arg-type]
    model = tiny_language_model(len(tokenizer), eos_token_id=end)
    hmm = random_hmm(4, len(tokenizer), spread=1.0)
    hmm = HMM.of_parameters(hmm.transition.to_dense(), hmm.emission.to_dense(), hmm.initial, end)
    small = quantize(hmm, "log-norm-q", 4)
    small.save_pretrained(here / "small")
    dfa = ctrlg.Keywords(["dog"]).compile(tokenizer, len(tokenizer))
    public = {name: getattr(package, name) for package in (ctrlg, normtweaking) for name in package.__all__}
    return public | {
        "model": model,
        "tokenizer": tokenizer,
        "hmm": hmm,
        "small": small,
        "dog": ctrlg.Keywords(["dog"]),
        "dfa": dfa,
        "graph": ctrlg.DFA_minimize(dfa),
        "rows": random_rows(3, 5, 1.0, 0),
        "load_language_model": load_language_model,
        "load_tokenizer": load_tokenizer,
        "here": here,
        "nan": math.nan,
        "inf": math.inf,
        "np": np,
        "torch": torch,
        "Path": Path,
    }


@pytest.mark.parametrize("call", lines_of(WRONG))
def test_a_wrong_call_is_refused_with_a_hint(call: str, names: dict[str, Any]) -> None:
    with pytest.raises(CtrlGError) as refused:
        eval(call, dict(names))
    assert refused.value.hint
    str(refused.value).encode()  # can be printed, lone surrogates and all


@pytest.mark.parametrize("call", lines_of(RIGHT))
def test_an_unusual_call_works(call: str, names: dict[str, Any]) -> None:
    assert eval(call, dict(names)) is not None


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        ("generate(model, tokenizer, dog)", "hmm is a Keywords", "generate(model, tokenizer, hmm, constraint"),
        ("generate(model, tokenizer, hmm)", "missing a required argument: 'constraint'", "hmm, constraint"),
        ("generate('default', tokenizer, hmm, dog)", "model is 'default'", "load_language_model"),
        ("Keywords('dog')", "groups is 'dog'", "['dog']"),
        ("Keywords(['dog', ['cat', 3]])", "groups[1][1] is 3", "a text"),
        ("Keywords([b'dog'])", "groups[0] is b'dog'", "decoded"),
        ("WordCount(6.5, 8)", "lo is 6.5", "a whole number"),
        ("norm_q([[1.0]], 8)", "p is a list", "Tensor"),
        ("dog & 'x'", "an operand of & is 'x'", "constraints"),
        ("Keywords(['dog'], inflected=True)", "unexpected keyword argument 'inflected'", "Keywords(groups, inflect"),
        ("quantize(hmm, 'norm_q')", "method is 'norm_q'", "'log-norm-q'"),
    ],
)
def test_messages_name_the_argument_the_value_and_what_is_right(
    call: str, message: str, hint: str, names: dict[str, Any]
) -> None:
    with pytest.raises(CtrlGError) as refused:
        eval(call, dict(names))
    assert message in refused.value.message
    assert hint in refused.value.hint


def checked_functions() -> list[Any]:
    """Everything public that is checked, methods and constructors too."""
    found = []
    for package in (ctrlg, normtweaking):
        for name in package.__all__:
            value = getattr(package, name)
            members = vars(value).values() if isinstance(value, type) else [value]
            found += [getattr(member, "__func__", member) for member in members]
    return [each for each in dict.fromkeys(filter(callable, found)) if hasattr(each, "checks")]


def test_annotations_of_everything_checked_are_understood() -> None:
    functions = checked_functions()
    assert len(functions) > 50
    for function in functions:
        function.checks()


@checked
def example(
    count: Positive, share: float = 0.5, names: Sequence[str] = (), call: Callable[[], int] | None = None
) -> Any:
    return count, share, names, call


@given(st.integers())
def test_whole_numbers_are_taken_in_their_range_and_nowhere_else(number: int) -> None:
    if 1 <= number < 2**31:
        assert example(number)[0] == number
    else:
        with pytest.raises(ArgumentError, match="count is"):
            example(number)


@given(st.one_of(st.floats(), st.text(), st.binary(), st.none(), st.booleans(), st.lists(st.integers())))
def test_what_is_no_whole_number_never_passes_for_one(value: Any) -> None:
    with pytest.raises(ArgumentError) as refused:
        example(value)
    refused.value.message.encode()


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_texts_with_lone_surrogates_are_refused_and_only_they(text: str) -> None:
    broken = any("\ud800" <= character <= "\udfff" for character in text)
    if broken:
        with pytest.raises(ArgumentError, match="whole characters"):
            example(1, names=[text])
    else:
        assert example(1, names=[text])[2] == [text]


def test_single_arguments_can_be_checked_without_a_call() -> None:
    check(example, count=3, share=1)
    with pytest.raises(ArgumentError, match="share is nan"):
        check(example, share=math.nan)


def test_a_range_says_what_it_holds() -> None:
    assert str(Between(1, 8)) == "at least 1, at most 8"
    assert str(Between(above=0)) == "above 0"
    assert str(Between(0, below=1)) == "at least 0, below 1"


def test_values_are_shown_short_and_whole() -> None:
    assert shown("a" * 100) == f"'{'a' * 59}..."
    assert shown(10**5000) == "a very large number"
    assert shown([1]) == "a list" and shown(HMM) == "the class HMM" and shown(random_hmm(1, 2)) == "an HMM"
    assert shown("\x1b[31m\ud800") == r"'\x1b[31m\ud800'"


def test_a_checked_function_keeps_its_name_and_documentation() -> None:
    assert ctrlg.generate.__name__ == "generate" and "best first" in (ctrlg.generate.__doc__ or "")
