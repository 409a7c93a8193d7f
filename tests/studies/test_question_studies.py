"""The studies of the paper's open questions: what they count, by hand, and each from a tiny model to its table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.evaluation.synthetic import synthetic_hmm
from ctrlg.hmm import HMM
from ctrlg.matrices import DenseMatrix
from studies.aware_em.sentences import AwareSentences
from studies.compression.initial import InitialDistribution
from studies.compression.levels import Levels, levels
from studies.compression.pruning import Pruning
from studies.shared.study import Study
from studies.tracing import memory_bound
from studies.tracing.memory_bound import MemoryBound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, an HMM over its vocabulary, sequences and two concept sets."""
    folder = tmp_path_factory.mktemp("questions")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(folder / "hmm")
    rows = torch.randint(1, len(tokenizer), (30, 6), generator=torch.Generator().manual_seed(0))
    rows[:, 4:] = eos
    write_samples(folder / "samples", Samples(rows, None))
    sets = [{"concept_set_idx": n, "concepts": [word], "references": ["The dog runs."]} for n, word in enumerate(WORDS)]
    (folder / "sets.jsonl").write_text("\n".join(map(json.dumps, sets)))
    return folder


WORDS = ("dog", "park")


def run(study: type[Study], capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the study prints; a second run prints the same and adds nothing to its output."""
    printed, written = [], []
    output = Path(str(arguments[arguments.index("--output") + 1]))
    for _ in range(2):
        study.run([str(argument) for argument in arguments])
        printed.append(capsys.readouterr().out)
        written.append(output.read_bytes())
    assert written[0] == written[1] and written[0]
    assert printed[0] == printed[1]
    return printed[0]


def test_levels_are_counted() -> None:
    rows = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.25, 0.25, 0.25, 0.25]])
    found = levels(rows)
    assert (found["distinct"], found["most_in_a_row"], found["mean_in_a_row"]) == (3, 3, 2)
    first = math.exp(0.5 * math.log(2) + 2 * 0.25 * math.log(4))
    assert found["effective"] == pytest.approx((first + 1) / 2)
    assert found["background_share"] == pytest.approx((0.25 + 1) / 2)


def test_levels_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = run(Levels, capsys, "--hmm", folder / "hmm", "--bits", 2, "--output", tmp_path / "levels.jsonl")
    assert "| norm-q-max | 2 |" in table and "| matrix-max | 2 |" in table


def test_initial_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--hmm", folder / "hmm", "--base_model", folder / "model", "--dataset_path", folder / "sets.jsonl")
    sizes = ("--keywords", 1, "--sequences", 20, "--bits", 3, "--output", tmp_path / "initial.jsonl")
    table = run(InitialDistribution, capsys, *arguments, *sizes)
    assert table.count("| 3 |") == 3
    lines = [json.loads(line) for line in (tmp_path / "initial.jsonl").read_text().splitlines()]
    assert {(line["method"], line["initial"]) for line in lines} >= {("norm-q", True), ("norm-q", False)}


def test_pruning_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--hmm_model_path", folder / "hmm", "--base_model", folder / "model", "--beams", 2)
    data = ("--dataset_path", folder / "sets.jsonl", "--ratios", 0.0, 0.99, "--output", tmp_path / "pruning.jsonl")
    table = run(Pruning, capsys, *arguments, *data).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]
    assert [row[0] for row in cells] == ["0.0", "0.99"]
    assert [row[6] for row in cells] == ["2/2", "2/2"]  # under the hard mask
    assert int(cells[1][2]) >= int(cells[0][2])


def test_aware_sentences(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ("--checkpoint", folder / "hmm", "--base_model", folder / "model", "--training", folder / "samples")
    sizes = ("--bits", 3, "--steps", 4, "--interval", 2, "--beams", 2, "--save_float", tmp_path / "float")
    output = ("--dataset_path", folder / "sets.jsonl", "--output", tmp_path / "aware.jsonl")
    run(AwareSentences, capsys, *models, *sizes, *output)
    lines = [json.loads(line) for line in (tmp_path / "aware.jsonl").read_text().splitlines()]
    assert [(line["method"], line["bits"]) for line in lines[::2]] == [
        *(("float", 32), ("norm-q afterwards", 3), ("norm-q aware", 3))
    ]
    assert all(line["kept"] for line in lines)
    assert HMM.from_pretrained(tmp_path / "float").hidden_states == 4


def test_flops_and_bytes_of_products_are_exact() -> None:
    recorder = memory_bound.Recorder()
    recorder.on = True
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    with recorder:
        (left @ right).add_(1)
    product, added = recorder.calls
    assert (product.operator, product.flops, product.bytes) == ("aten.mm", 2 * 3 * 5 * 7, 4 * (15 + 35 + 21))
    assert (added.flops, added.bytes) == (21, 4 * 21)


def test_an_operation_of_a_matrix_is_one_operator_with_the_same_result() -> None:
    hmm = synthetic_hmm(6, 40, 3, 4)
    for matrix, entries in ((hmm.emission, 18), (DenseMatrix(hmm.emission.to_dense()), 240)):
        recorder = memory_bound.Recorder()
        recorder.on = True
        measured = memory_bound.MeasuredMatrix(matrix, recorder, "emission")
        x = torch.rand(2, 6)
        with recorder:
            found = measured.left(x)
        torch.testing.assert_close(found, matrix.left(x))
        (call,) = recorder.calls
        assert (call.operator, call.flops) == ("emission: left", 2 * 2 * entries)
        assert call.bytes == matrix.nbytes + 4 * (2 * 6 + 2 * 40)


def test_memory_bound_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--hidden_states", 6, "--entries", 3, "--kinds", "compressed", "--beams", 2)
    output = tmp_path / "memory_bound.jsonl"
    table = run(MemoryBound, capsys, "--model", folder / "model", *sizes, "--output", output)
    assert "| 6 | compressed | 2 |" in table
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert {line["half"] for line in lines} == {"neural", "symbolic"}
    assert any(line["operator"] == "emission: scores" for line in lines)
    assert all(0 <= line["memory_bound_seconds"] <= line["seconds"] for line in lines)
