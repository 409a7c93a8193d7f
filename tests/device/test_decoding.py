"""The decoding step on a device: scores, beams and samples are the CPU's, with few synchronisations of the host."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, cast

import pytest
import torch
from helpers.pretend_device import assert_same, synchronisations
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.automata.dfa import DFA
from ctrlg.constraints import Exclude, Keywords, WordCount
from ctrlg.constraints.base import Target
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.decoding.cursors import Cursor, CursorBatch, advance_all
from ctrlg.decoding.guides import guide_of
from ctrlg.generation import GenerationResult, generate, generate_many
from ctrlg.hmm import HMM
from ctrlg.parts import Factored
from ctrlg.quantization import quantize
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.fidelity.guidance import guided, guided_text

TOKENIZER = tiny_tokenizer()
EOS: int = cast(int, TOKENIZER.eos_token_id)
VOCABULARY = Vocabulary.of(TOKENIZER, len(TOKENIZER), EOS)
MODEL = tiny_language_model(len(TOKENIZER) + 3)
SHORT: dict[str, Any] = {"suffix": ".", "max_new_tokens": 7, "num_beams": 3, "num_return_sequences": 3}
CONSTRAINTS = [
    Keywords([["dog", "dogs"], ["park"]]) & WordCount(2, 5),
    Exclude(["dog"]) & WordCount(3, 4),
    Keywords([["park"]]),
]
MOST_SYNCHRONISATIONS = 2  # of a step of the processor


def float_model() -> HMM:
    torch.manual_seed(1)
    return HMM(4, len(TOKENIZER), EOS)


GUIDES: dict[str, Any] = {
    "float": float_model(),
    "sparse codes": quantize(float_model(), "log-norm-q", 4, layout="sparse"),
    "dense codes": quantize(float_model(), "norm-q", 8, layout="dense"),
    "none": None,
}


def guide_on(name: str, device: torch.device) -> Any:
    return None if GUIDES[name] is None else copy.deepcopy(GUIDES[name]).to(device)


def model_on(device: torch.device) -> Any:
    return copy.deepcopy(MODEL).to(device)


@cache
def automaton() -> DFA:
    """Of the first constraint."""
    return CONSTRAINTS[0].compile(VOCABULARY)


def processor(guide: Any, **changes: Any) -> ConstraintLogitsProcessor:
    suffix = [*TOKENIZER.encode(" run.", add_special_tokens=False), EOS]
    arguments: dict[str, Any] = {
        "hmm_model": guide,
        "dfa_model": automaton(),
        "min_new_tokens": 1,
        "max_new_tokens": 9,
        "prompt_ids": [EOS, 3],
        "suffix_ids": suffix,
        "eos_token_id": EOS,
    }
    return ConstraintLogitsProcessor(**(arguments | changes))


def rows_of(scores_of: ConstraintLogitsProcessor, device: torch.device, rows: int = 6, steps: int = 5) -> list[Any]:
    """The processor's scores of rows that each go on with one of its best tokens, step by step."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor([[EOS, 3]]).expand(rows, 2)
    found = []
    for _ in range(steps):
        logits = torch.randn(rows, len(TOKENIZER) + 3, generator=generator)
        scores = scores_of(ids.to(device), logits.to(device))
        found.append(scores)
        ranked = scores.cpu().argsort(dim=1, descending=True, stable=True)
        ids = torch.cat([ids, ranked.gather(1, torch.arange(rows)[:, None] % 3)], 1)
    return found


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize(
    "changes",
    [{}, {"prefix_ids": [5, 6]}, {"token_ranges": [[1, 4], [2, 9]]}, {"hmm_batch_size": 2}, {"soft_mask": True}],
)
def test_scores(device: torch.device, guide: str, changes: dict[str, Any]) -> None:
    if GUIDES[guide] is None and ("soft_mask" in changes or "prefix_ids" in changes):
        pytest.skip("asks for an HMM")
    expected = rows_of(processor(GUIDES[guide], **changes), torch.device("cpu"))
    found = rows_of(processor(guide_on(guide, device), **changes), device)
    assert_same(found, expected, rtol=1e-3, atol=1e-4)


def test_models_on_different_devices(device: torch.device) -> None:
    expected = rows_of(processor(GUIDES["float"]), torch.device("cpu"))
    assert_same(rows_of(processor(GUIDES["float"]), device), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("float_kernels")
@pytest.mark.parametrize("guide", ["float", "none"])
def test_a_step_hardly_waits(device: torch.device, guide: str) -> None:
    scores_of = processor(guide_on(guide, device))
    rows = 6
    ids = torch.tensor([[EOS, 3]], device=device).expand(rows, 2)
    logits = torch.randn(rows, len(TOKENIZER) + 3).to(device)
    counts = []
    for token in TOKENIZER.encode("run the s", add_special_tokens=False):
        with synchronisations() as seen:
            scores_of(ids, logits)
        counts.append(seen)
        ids = torch.cat([ids, torch.full((rows, 1), token, device=device)], 1)
    assert max(seen.number for seen in counts) <= MOST_SYNCHRONISATIONS, counts[-1]
    assert max(seen.largest for seen in counts) < len(TOKENIZER)


@pytest.mark.parametrize("guide", GUIDES)
def test_ratios(device: torch.device, guide: str) -> None:
    if GUIDES[guide] is None:
        pytest.skip("asks for an HMM")
    text = torch.tensor([EOS, 3, *TOKENIZER.encode("the dogs", add_special_tokens=False)])
    expected = processor(GUIDES[guide]).log_ratios(text)
    assert_same(processor(guide_on(guide, device)).log_ratios(text.to(device)), expected, rtol=1e-3, atol=1e-4)


def same(found: list[GenerationResult], expected: list[GenerationResult]) -> None:
    assert [result.text for result in found] == [result.text for result in expected]
    logs = [result.total_log_prob for result in expected]
    assert [result.total_log_prob for result in found] == pytest.approx(logs, rel=1e-4)


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": None, "do_sample": True, "seed": 3, "temperature": 0.8},
        {"prefix": "the dogs", "suffix": " run."},
        {"suffix": ""},
        {"prompt": [EOS, 3]},
        {"soft_mask": True},
        {"max_states": 1},
    ],
)
def test_generate(device: torch.device, guide: str, options: dict[str, Any]) -> None:
    if guide != "float" and options.keys() - {"do_sample", "num_beams", "seed", "temperature"}:
        pytest.skip("one guide is enough for what surrounds the search")
    expected = generate(MODEL, TOKENIZER, GUIDES[guide], CONSTRAINTS[0], **(SHORT | options))
    same(generate(model_on(device), TOKENIZER, guide_on(guide, device), CONSTRAINTS[0], **(SHORT | options)), expected)


@pytest.mark.parametrize("guide", ["float", "none"])
@pytest.mark.parametrize("prompts", [None, ["run", "run run the dog", [EOS]]])
def test_generate_many(device: torch.device, guide: str, prompts: Any) -> None:
    expected = generate_many(MODEL, TOKENIZER, GUIDES[guide], CONSTRAINTS, prompts, **SHORT)
    found = generate_many(model_on(device), TOKENIZER, guide_on(guide, device), CONSTRAINTS, prompts, **SHORT)
    for one, other in zip(found, expected, strict=True):
        same(one, other)


@pytest.mark.parametrize("guide", GUIDES)
def test_parts_and_cursors(device: torch.device, guide: str) -> None:
    automata = [constraint.clauses(Target(VOCABULARY)) for constraint in CONSTRAINTS]
    parts = [Factored.of(clauses, len(TOKENIZER), most_nodes=1) for clauses in automata]
    logits = torch.randn(len(parts), len(TOKENIZER), generator=torch.Generator().manual_seed(0))
    found = []
    for where in (torch.device("cpu"), device):
        hmm = guide_on(guide, where)
        cursors = [Cursor(guide_of(hmm, one, None, [], [(1, 9)], EOS), hmm) for one in parts]
        rows = [CursorBatch(hmm).log_ratios(cursors), CursorBatch(hmm).join(cursors, logits.to(where))]
        advance_all(cursors, TOKENIZER.encode("run", add_special_tokens=False)[:1] * len(cursors))
        rows.append(CursorBatch(hmm).log_ratios(cursors))
        # Masks alone are the host's.
        found.append([row.to(where) if hmm is None else row for row in rows])
    assert_same(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_a_guide_of_another_device_than_the_model(device: torch.device) -> None:
    expected = generate(MODEL, TOKENIZER, GUIDES["float"], CONSTRAINTS[0], **SHORT)
    same(generate(model_on(device), TOKENIZER, GUIDES["float"], CONSTRAINTS[0], **SHORT), expected)
    same(generate(MODEL, TOKENIZER, guide_on("float", device), CONSTRAINTS[0], **SHORT), expected)


def test_the_guide_of_evaluation(device: torch.device) -> None:
    content = TOKENIZER.encode("the dog park", add_special_tokens=False)
    suffix = [*TOKENIZER.encode(".", add_special_tokens=False), EOS]
    results = []
    for place in (torch.device("cpu"), device):
        text = guided_text(model_on(place), VOCABULARY, automaton(), content, suffix, 9)
        results.append(guided(text, guide_on("float", place)).log_probs)
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)
