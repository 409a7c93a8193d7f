"""Tracing a tiny model and tiny HMMs: halves, operators, the study's lines and figure, refusals."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg import devices as memory
from ctrlg.errors import ArgumentError, CtrlGError, DataError, VocabularyError
from ctrlg.evaluation.synthetic import float_bytes, synthetic_hmm
from studies.tracing import operators
from studies.tracing.figure import finding, plot_trace
from studies.tracing.tracing import TracedGeneration

SCRIPT = Path(__file__).parents[2] / "scripts" / "test_trace.py"
TOKENS = "8"


def trace_script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["test_trace.py", *arguments])
    runpy.run_path(str(SCRIPT))["main"]()


@pytest.fixture
def model_folder(tmp_path: Path) -> str:
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_the_dense_copy_has_the_same_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    hmm = synthetic_hmm(6, 50, entries=5, bits=4, seed=3)
    monkeypatch.setattr("ctrlg.evaluation.synthetic.BLOCK_ENTRIES", 40)  # several blocks, the last one short
    dense = hmm.dense()
    for name in ("transition", "emission"):
        expected = getattr(hmm, name).to_dense()
        torch.testing.assert_close(getattr(dense, name).to_dense(), expected)
        torch.testing.assert_close(expected.sum(1), torch.ones(6))
    assert dense.nbytes == float_bytes(6, 50) == 4 * 6 * 57


def test_many_states_are_never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    """16,384 states over 49,152 tokens: a few megabytes of codes."""

    def refused(*_: Any) -> None:
        raise AssertionError("decoded into a dense matrix")

    monkeypatch.setattr("ctrlg.matrices.CompressedMatrix.column_block", refused)
    hmm = synthetic_hmm(16384, 49152, entries=4, bits=8)
    assert hmm.nbytes < 2e6 < float_bytes(16384, 49152) / 1000


@pytest.mark.parametrize("wrong", [{"entries": 0}, {"bits": 9}, {"hidden_states": 0}, {"vocab_size": 1}])
def test_synthetic_sizes_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    sizes = {"hidden_states": 4, "vocab_size": 20, "entries": 3, "bits": 4} | wrong
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        synthetic_hmm(**sizes)


def test_both_halves_are_timed_and_their_operators_named() -> None:
    model = tiny_language_model(60)
    hmm = synthetic_hmm(8, 60, entries=5, bits=4)
    generation = TracedGeneration(model, hmm, tokens=10)
    times = generation.measure(beams=2, repeats=2)
    assert times.steps == 2 * (10 - 3)
    for middle, (lower, upper) in (
        (times.neural, times.neural_quartiles),
        (times.symbolic, times.symbolic_quartiles),
    ):
        assert 0 < lower <= middle <= upper
    assert 0 < times.share < 1
    for half, some in (
        ("neural", {operators.LINEAR, operators.REST_NEURAL}),
        ("symbolic", {operators.SCORES, operators.TRANSITION, operators.EMITTED, operators.REST_SYMBOLIC}),
    ):
        assert some <= set(times.operators[half])
        assert sum(times.operators[half].values()) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in times.operators[half].values())
    assert operators.SCORES not in times.operators["neural"]
    assert operators.LINEAR not in times.operators["symbolic"]


def test_a_traced_matrix_computes_what_it_wraps() -> None:
    hmm = synthetic_hmm(6, 50, entries=5, bits=4)
    wrapped = operators.traced(hmm)
    x, ids = torch.rand(2, 6), torch.tensor([3, -1])
    torch.testing.assert_close(wrapped.transition.left(x), hmm.transition.left(x))
    torch.testing.assert_close(wrapped.transition.right(x), hmm.transition.right(x))
    torch.testing.assert_close(wrapped.emission.columns(ids), hmm.emission.columns(ids))
    assert wrapped.nbytes == hmm.nbytes and wrapped.hidden_states == 6
    torch.testing.assert_close(wrapped.emission.to_dense(), hmm.emission.to_dense())


def test_impossible_traces_are_refused() -> None:
    model, hmm = tiny_language_model(60), synthetic_hmm(4, 61, entries=3, bits=4)
    with pytest.raises(VocabularyError, match="60 tokens, the HMM 61"):
        TracedGeneration(model, hmm, tokens=10)
    with pytest.raises(ArgumentError, match="tokens is 7"):
        TracedGeneration(model, hmm, tokens=7)
    generation = TracedGeneration(model, synthetic_hmm(4, 60, entries=3, bits=4), tokens=8)
    with pytest.raises(ArgumentError, match="beams is 0"):
        generation.measure(0)


def test_the_script_measures_once_and_draws(
    model_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, plot = tmp_path / "trace.jsonl", tmp_path / "fig" / "trace.svg"
    options = ["--model", model_folder, "--tokens", TOKENS, "--repeats", "1", "--output", str(output)]
    options += ["--entries", "3", "--plot", str(plot)]
    trace_script(monkeypatch, "--hidden_states", "8", "--beams", "1", "2", *options)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(line["kind"], line["beams"]) for line in lines] == [
        (kind, beams) for kind in ("float", "compressed") for beams in (1, 2)
    ]
    assert lines[0]["hmm_bytes"] > lines[-1]["hmm_bytes"]
    assert "arameters" not in capsys.readouterr().err
    assert "test_trace.py" in plot.read_text(encoding="utf-8")
    trace_script(monkeypatch, "--hidden_states", "8", "12", "--beams", "2", *options)
    more = output.read_text().splitlines()[len(lines) :]
    assert [json.loads(line)["hidden_states"] for line in more] == [12, 12]


def test_a_float_hmm_without_room_is_left_out(
    model_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 5000)
    options = ["--model", model_folder, "--tokens", TOKENS, "--repeats", "1", "--entries", "3", "--beams", "1"]
    output = tmp_path / "trace.jsonl"
    trace_script(monkeypatch, "--hidden_states", "8", *options, "--output", str(output))
    assert [json.loads(line)["kind"] for line in output.read_text().splitlines()] == ["compressed"]
    assert "8 states in float32 are left out: they take 0.0 GB" in capsys.readouterr().err


def test_memory_is_asked_for() -> None:
    assert memory.lacking_memory(1) is None
    free = memory.free_memory()
    if free is not None:
        assert "GB are free" in (memory.lacking_memory(100 * free) or "")


def test_the_finding_and_an_empty_figure() -> None:
    lines = [
        {"kind": kind, "hidden_states": states, "beams": 16, "share": share}
        for kind, states, share in (("float", 512, 0.2), ("float", 1024, 0.4), ("compressed", 512, 0.1))
    ]
    assert finding(lines).endswith("16 beams: float 20% at 512 states to 40% at 1,024; compressed 10% at 512")
    with pytest.raises(DataError, match="nothing was measured"):
        plot_trace([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden_states", "0"], "--hidden_states 0"),
        (["--tokens", "3"], "tokens is 3"),
        (["--bits", "9"], "--bits 9"),
        (["--plot", "drawing.gif"], "drawing.gif"),
        (["--output", "/proc/folder/trace.jsonl"], "/proc"),
        (["--device", "nowhere"], "nowhere"),
        (["--model", "/nowhere", "--hidden_states", "4"], "/nowhere"),
    ],
)
def test_wrong_input_is_refused(arguments: list[str], message: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CtrlGError, match=message) as refused:
        trace_script(monkeypatch, *arguments)
    assert refused.value.hint
