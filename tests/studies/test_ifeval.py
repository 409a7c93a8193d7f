"""IFEval's instructions as constraints: what a constraint allows, IFEval's checker accepts."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from ctrlg.constraints import Json
from ctrlg.constraints.patterns.languages import texts_of
from ctrlg.errors import ConstraintError
from studies.ifeval.checker import checkers, followed
from studies.ifeval.instructions import CONSTRAINTS, constraint_of
from studies.language.texts import near

EXAMPLES = 2  # of each type
OF_LANGUAGE = {"change_case:english_capital", "change_case:english_lowercase"}


@pytest.fixture
def prompts(shared_data: Path) -> list[dict]:
    for module in ("lm_eval", "langdetect", "immutabledict"):
        pytest.importorskip(module)
    nltk_data = pytest.importorskip("nltk.data")
    folder = shared_data / "suites"
    if str(folder / "nltk_data") not in nltk_data.path:
        nltk_data.path.append(str(folder / "nltk_data"))
    return [json.loads(line) for line in (folder / "ifeval.jsonl").read_text(encoding="utf-8").splitlines()]


def test_all_types_but_one_are_covered(prompts: list[dict]) -> None:
    assert set(checkers()) - set(CONSTRAINTS) == {"language:response_language"}


def test_what_a_constraint_allows_the_checker_accepts(prompts: list[dict]) -> None:
    source = random.Random(0)
    seen: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for prompt in prompts:
        for kind, arguments in zip(prompt["instruction_id_list"], prompt["kwargs"], strict=True):
            if kind not in CONSTRAINTS or seen[kind] == EXAMPLES:
                continue
            try:
                constraint = constraint_of([(kind, arguments)])
            except ConstraintError:
                continue
            seen[kind] += 1
            language = texts_of(constraint)
            for text in near(language, source, 12):
                if text in language and text.strip():
                    accepted[kind] += 1
                    assert followed(text, [(kind, arguments)]) == [True] or kind in OF_LANGUAGE, (kind, arguments, text)
    assert set(accepted) == set(CONSTRAINTS)


def test_several_instructions_are_kept_together(prompts: list[dict]) -> None:
    instructions = [
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 12}),
        ("detectable_format:title", {"num_words": None}),
        ("keywords:frequency", {"relation": "less than", "keyword": "war", "frequency": 2}),
    ]
    language = texts_of(constraint_of(instructions))
    texts = [text for text in near(language, random.Random(1), 30) if text in language]
    assert texts and all(all(followed(text, instructions)) for text in texts)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("language:response_language", {"language": "fi"}),
        ("keywords:letter_frequency", {"letter": "!", "let_frequency": 3, "let_relation": "at least"}),
        ("keywords:frequency", {"relation": "about", "keyword": "war", "frequency": 2}),
    ],
)
def test_what_has_no_constraint_is_refused(kind: str, arguments: dict) -> None:
    with pytest.raises(ConstraintError):
        constraint_of([(kind, arguments)])


def test_json_of_any_kind() -> None:
    assert isinstance(CONSTRAINTS["detectable_format:json_format"](), Json)
