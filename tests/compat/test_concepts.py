"""Norm-Q's token patterns for CommonGen's concepts."""

from __future__ import annotations

from helpers.tiny_models import tiny_tokenizer

from ctrlg.compat import concepts2cnf

TOKENIZER = tiny_tokenizer()


def texts(clause: tuple[tuple[int, ...], ...]) -> set[str]:
    return {str(TOKENIZER.decode(list(ids))) for ids in clause}


def test_a_clause_holds_the_forms_that_do_not_begin_with_the_concept() -> None:
    run, park = concepts2cnf(["run", "park"], TOKENIZER)
    assert texts(run) == {" run", " ran"}  # "runs" and "running" begin with the tokens of " run"
    assert texts(park) == {" park"}
    assert TOKENIZER.decode(list(run[0])) == " run"
    for clause in (run, park):
        for ids in clause:
            assert isinstance(ids, tuple) and all(isinstance(token, int) for token in ids)


def test_a_form_that_is_another_concept_is_left_to_it() -> None:
    lie, _ = concepts2cnf(["lie", "lay"], TOKENIZER)
    assert " lay" not in texts(lie) and " lie" in texts(lie)
    assert " lay" in texts(concepts2cnf(["lie"], TOKENIZER)[0])


def test_without_inflections_and_with_repetitions() -> None:
    assert [texts(clause) for clause in concepts2cnf(["go", "dog", "go"], TOKENIZER, no_inflection=True)] == [
        {" go"},
        {" dog"},
        {" go"},
    ]
    assert concepts2cnf([], TOKENIZER) == ()
