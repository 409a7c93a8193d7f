"""The study of ten families: its instances, its grammars, and each program from a tiny model to its table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.hmm import HMM
from studies.families.divergence import Divergence
from studies.families.grammars import grammar_of
from studies.families.instances import FAMILIES, MOST_STATES, Instance, instance_of
from studies.families.sizes import Sizes
from studies.families.study import Families

SETS = [ConceptSet(n, words, ()) for n, words in enumerate([("dog", "park"), ("run", "and", "the"), ("s", "dog")])]

KEPT = {  # of "dog" and "park" with k1 = 2; the first text keeps it, the second does not
    "k1-th word from the end": ("The dog ran.", "A dog ran home."),
    "again k1 words later": ("A dog and dog.", "A dog dog."),
    "k1 times or more": ("Dog, a dog", "A dog, a park"),
    "exactly once": ("A dog, a dog, a park", "dog dog"),
    "left only": ("A dog and a park", "A dog and a dog"),
    "right only": ("A park and a dog", "A dog, a park"),
    "on one side": ("A park and home", "A dog and a dog"),
    "on both sides": ("A dog and a dog", "A dog and a park"),
    "even, not never": ("A dog, a dog", "A dog and a park"),
    "odd": ("A dog, a dog, a dog", "A dog, a dog"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_and_their_grammars_say_what_they_are_called(family: str) -> None:
    instance = Instance(family, ("dog", "park"), 2 if FAMILIES[family].numbered else 0)
    expression = re.compile(_as_expression(grammar_of(instance)))
    for text, kept in zip(KEPT[family], (True, False), strict=True):
        assert instance.constraint.holds(text) == kept
        assert (expression.fullmatch(text) is not None) == kept


def _as_expression(grammar: str) -> str:
    """The one rule of a grammar as a regular expression: blanks outside of quotes and brackets mean nothing."""
    body = grammar.removeprefix("root ::= ").strip()
    return "".join(" " if piece == '" "' else piece.replace(" ", "") for piece in re.split(r'(" ")', body))


def test_instances_are_small_and_the_same_for_a_seed() -> None:
    for family, about in FAMILIES.items():
        for number in range(20):
            instance = instance_of(family, number, SETS, 0)
            assert instance == instance_of(family, number, SETS, 0)
            assert about.states(len(instance.words), instance.k1) <= MOST_STATES
            assert len(set(instance.words)) == len(instance.words) and "and" not in instance.words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, an HMM over its vocabulary and three concept sets."""
    folder = tmp_path_factory.mktemp("families")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(folder / "hmm")
    records = [{"concept_set_idx": one.number, "concepts": one.concepts, "references": ["A dog."]} for one in SETS]
    (folder / "sets.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


def _flags(folder: Path, output: Path) -> list[str]:
    names = {"hmm": folder / "hmm", "model": folder / "model", "dataset_path": folder / "sets.jsonl", "output": output}
    return [word for name, value in names.items() for word in (f"--{name}", str(value))]


def test_families_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--families", "exactly once", "odd", "--ways", "default", "mask", "exact", "--instances", "1"]
    Families.run([*_flags(folder, tmp_path / "families.jsonl"), *chosen, "--beams", "2"])
    shown = capsys.readouterr().out
    assert [f"| {way} | all | 2/2 | 0 |" in shown for way in ("default", "mask", "exact")] == [True] * 3


def test_sizes_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--keywords", "2", "--sets", "1", "--beams", "2"]
    Sizes.run([*_flags(folder, tmp_path / "sizes.jsonl"), *chosen])
    assert "| 2 | 1/1 | 1 |" in capsys.readouterr().out


def test_divergence_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--nodes", "1", "100000", "--sets", "1", "--kinds", "2 keywords"]
    Divergence.run([*_flags(folder, tmp_path / "divergence.jsonl"), *chosen])
    shown = capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "divergence.jsonl").read_text().splitlines()]
    whole = next(line for line in lines if line["most_nodes"] == 100_000)
    assert whole["clauses"] == 0 and whole["divergence"] == pytest.approx(0, abs=1e-4)
    assert "| 2 keywords | 1 | 1 |" in shown
