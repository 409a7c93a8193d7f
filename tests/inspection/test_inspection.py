"""What an inspection says, against numbers worked out by hand and by enumeration; the command, and its refusals."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from helpers.command import shown_by
from helpers.random_inputs.hmms import hmms, random_hmm, random_rows
from helpers.tiny_models import tiny_tokenizer
from hypothesis import given, settings

from ctrlg import assets
from ctrlg.errors import ArgumentError, CtrlGError, VocabularyError
from ctrlg.hmm import HMM
from ctrlg.inspection.figure import plot_inspection
from ctrlg.inspection.inspect import Inspection, MatrixInspection, inspect_hmm, inspect_matrix, occupancy
from ctrlg.inspection.report import as_record, quartiles
from ctrlg.matrices import CompressedMatrix, DenseMatrix
from ctrlg.quantization import QuantizedHMM, quantize
from ctrlg.vocabulary.token_bytes import Vocabulary


def test_entropies_and_histogram_are_those_worked_out_by_hand() -> None:
    rows = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.997, 0.001, 0.001, 0.001]])
    found = inspect_matrix(DenseMatrix(rows))
    last = -0.997 * math.log(0.997) - 0.003 * math.log(0.001)
    assert found.entropy.tolist() == pytest.approx([math.log(4), 0, math.log(2), last], abs=1e-6)
    assert (found.layout, found.kept, found.density, found.background_mass) == ("float", 11, 11 / 16, 0)
    histogram = found.histogram
    assert histogram.zeros == 5
    assert int(histogram.entries.sum()) == 11
    assert float(histogram.mass.sum()) == pytest.approx(4, abs=1e-6)
    filled = {round(float(histogram.edges[i]), 2): int(n) for i, n in enumerate(histogram.entries) if n}
    # 1e-3 lies on the bound between two bins, and rounds to either
    below = filled.pop(-3.0, 0) + filled.pop(-3.25, 0)
    assert below == 3 and filled == {-0.75: 4, -0.5: 2, -0.25: 2}
    assert histogram.share_below(-1) == pytest.approx((8 / 16, 0.003 / 4), abs=1e-6)


def test_rows_that_rounding_left_off_one_are_normalised() -> None:
    found = inspect_matrix(DenseMatrix(torch.tensor([[0.4, 0.4], [0.5, 0.5]], dtype=torch.float64)))
    assert found.entropy.tolist() == pytest.approx([math.log(2)] * 2)
    assert found.row_sum_error == pytest.approx(0.2)


@given(hmms(max_states=5))
@settings(max_examples=40, deadline=None)
def test_a_compressed_matrix_says_what_its_float_copy_says(hmm: HMM) -> None:
    for method, layout in (("log-norm-q", "sparse"), ("log-norm-q", "dense"), ("norm-q", "sparse")):
        matrix = quantize(hmm, method, 3, layout=layout).emission
        found, float_copy = inspect_matrix(matrix), inspect_matrix(DenseMatrix(matrix.to_dense()))
        assert found.layout == layout
        assert found.shape == float_copy.shape
        torch.testing.assert_close(found.entropy, float_copy.entropy, atol=1e-5, rtol=1e-5)
        # one rounding can carry an entry over a bin's bound, so the sums from below are compared with a bin's slack
        entries, others = (m.histogram.entries.cumsum(0) + m.histogram.zeros for m in (found, float_copy))
        assert bool((entries[1:] >= others[:-1]).all() and (others[1:] >= entries[:-1]).all())
        assert int(entries[-1]) == int(others[-1]) == matrix.shape[0] * matrix.shape[1]
        assert float(found.histogram.mass.sum()) == pytest.approx(matrix.shape[0], abs=1e-3)


def test_both_layouts_keep_the_same_entries() -> None:
    hmm = random_hmm(4, 30, spread=4.0)
    sparse, dense = (
        inspect_matrix(quantize(hmm, "log-norm-q", 2, layout=layout, threshold=1e-3).emission)
        for layout in ("sparse", "dense")
    )
    assert 0 < sparse.kept == dense.kept < 120
    assert 0 < sparse.background_mass == pytest.approx(dense.background_mass, abs=1e-7)


def test_what_is_kept_and_what_the_background_holds() -> None:
    # rows (0.7, 0.1, 0.1, 0.1) and (0.1, 0.4, 0.4, 0.1): scales 0.6 and 0.3, background 0.1
    matrix = CompressedMatrix.from_rows(
        torch.tensor([0, 1, 3]),
        torch.tensor([0, 1, 2]),
        torch.tensor([1, 1, 1]),
        torch.tensor([0.6, 0.3]),
        torch.tensor([0.1, 0.1]),
        torch.tensor([0.0, 1.0]),
        (2, 4),
    )
    found = inspect_matrix(matrix)
    assert (found.kept, found.density) == (3, 3 / 8)
    assert found.background_mass == pytest.approx((0.3 + 0.2) / 2)
    assert float(found.entropy[0]) == pytest.approx(-0.7 * math.log(0.7) - 0.3 * math.log(0.1), abs=1e-6)


def test_a_matrix_of_several_blocks_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(3, 50, 2.0, seed=1)
    whole = inspect_matrix(DenseMatrix(rows))
    monkeypatch.setattr("ctrlg.inspection.inspect._BLOCK_ENTRIES", 21)
    parts = inspect_matrix(DenseMatrix(rows))
    torch.testing.assert_close(parts.entropy, whole.entropy)
    assert torch.equal(parts.histogram.entries, whole.histogram.entries)


@pytest.mark.parametrize("tokens", [1, 4])
def test_occupancy_counts_the_states_of_all_paths(tokens: int) -> None:
    hmm = random_hmm(3, 5)
    initial, transition = hmm.initial.double(), hmm.transition.to_dense().double()
    visits = torch.zeros(3, dtype=torch.float64)
    for path in itertools.product(range(3), repeat=tokens):
        probability = float(initial[path[0]])
        for before, after in itertools.pairwise(path):
            probability *= float(transition[before, after])
        for state in path:
            visits[state] += probability / tokens
    torch.testing.assert_close(occupancy(hmm.inference_parameters, tokens), visits, atol=1e-6, rtol=0)
    compressed = quantize(hmm, "log-norm-q", 8, threshold=0.0)
    torch.testing.assert_close(occupancy(compressed.inference_parameters, tokens), visits, atol=1e-2, rtol=0)


def ending_hmm(vocab_size: int = 6, fingerprint: str | None = None) -> HMM:
    """State 0 writes tokens 2 and 3, state 1 tokens 4 and 5, state 2 ends: after one token, half of the texts do."""
    emission = torch.zeros(3, vocab_size)
    emission[0, 2:4] = torch.tensor([0.75, 0.25])
    emission[1, 4:6] = torch.tensor([0.4, 0.6])
    emission[2, 0] = 1
    transition = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    return HMM.of_parameters(transition, emission, torch.tensor([1.0, 0, 0]), 0, fingerprint)


def test_the_end_of_text_state_and_the_most_used_states() -> None:
    found = inspect_hmm(ending_hmm(), tokens=4, states=5, words=2)
    assert found.end_state is not None
    # t = 1: state 0; t = 2: states 1 and 2 half each; then state 2
    assert found.occupancy.tolist() == pytest.approx([1 / 4, 1 / 8, 5 / 8])
    assert found.end_state == pytest.approx((2, 1.0, 1.0, 5 / 8))
    assert found.text_occupancy.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert found.effective_states == pytest.approx(math.exp(math.log(3) - 2 / 3 * math.log(2)))
    assert [(state.state, state.tokens) for state in found.most_used] == [(0, (2, 3)), (1, (5, 4))]
    assert found.most_used[0].probabilities == pytest.approx((0.75, 0.25))


def test_an_hmm_without_an_end_state_says_so() -> None:
    even = torch.full((2, 4), 0.25)
    found = inspect_hmm(HMM.of_parameters(torch.full((2, 2), 0.5), even, torch.tensor([0.5, 0.5]), 0), tokens=3)
    assert found.end_state is None
    assert found.effective_states == pytest.approx(2)
    assert as_record(found, 1, None)["end_state"] is None


def test_sizes_and_method() -> None:
    hmm = random_hmm(4, 30)
    found, packed = inspect_hmm(hmm), inspect_hmm(quantize(hmm, "norm-q", 4))
    assert (found.method, found.bits, found.memory_bytes, found.float_bytes) == ("float32", 32, hmm.nbytes, 4 * 4 * 35)
    assert (packed.method, packed.bits, packed.float_bytes) == ("norm-q", 4, 4 * 4 * 35)


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"states": -1}, {"words": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(wrong))} is"):
        inspect_hmm(random_hmm(2, 5), **wrong)


def test_quartiles() -> None:
    spread = quartiles(torch.tensor([4.0, 1.0, 3.0, 2.0, 5.0]))
    assert list(spread.values()) == [1, 2, 3, 4, 5]


def run(*arguments: str) -> str:
    return shown_by("inspect", *arguments)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str, str]:
    """Folders of a float HMM, of the same compressed, and of the tokenizer of both."""
    tokenizer = tiny_tokenizer()
    hmm = ending_hmm(len(tokenizer), Vocabulary.of(tokenizer, eos_token_id=0).fingerprint)
    hmm.save_pretrained(tmp_path / "float")
    quantize(hmm, "log-norm-q", 4).save_pretrained(tmp_path / "compressed")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return str(tmp_path / "float"), str(tmp_path / "compressed"), str(tmp_path / "tokenizer")


def test_the_command_says_the_same_of_a_float_and_a_compressed_hmm(folders: tuple[str, str, str]) -> None:
    plain, compressed, tokenizer = folders
    found = [json.loads(run(hmm, "--model", tokenizer, "--tokens", "4", "--json")) for hmm in (plain, compressed)]
    assert [record["method"] for record in found] == ["float32", "log-norm-q"]
    for record, folder in zip(found, (plain, compressed), strict=True):
        assert record["file_bytes"] == (Path(folder) / "model.safetensors").stat().st_size
        assert record["end_state"]["state"] == 2
        # log-norm-q at 4 bits is not exact
        assert record["emission"]["row_entropy_nats"]["most"] == pytest.approx(0.67, abs=0.02)
        best = record["most_used_states"][0]["tokens"][0]
        assert best["token"] == 2 and best["text"] == tiny_tokenizer().decode([2])
    assert found[1]["emission"]["density"] < found[0]["emission"]["density"] + 1e-9


def test_the_command_prints_tables_and_draws(
    folders: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = tmp_path / "figures" / "inspect.svg"
    monkeypatch.setattr("sys.argv", ["ctrlg", "inspect", folders[1]])  # what a figure says drew it
    shown = run(folders[1], "--model", folders[2], "--plot", str(plot))
    for expected in (
        "log-norm-q, 4 bits",
        "bytes on disk",
        "row entropy",
        "end of text is state 2",
        "like 2 equally",
        "75.",
    ):
        assert expected in shown
    drawn = plot.read_text(encoding="utf-8")
    assert f"<dc:description>ctrlg inspect {folders[1]}" in drawn


def test_ids_alone_need_no_tokenizer(folders: tuple[str, str, str]) -> None:
    record = json.loads(run(folders[0], "--model", "none", "--json", "--states", "1"))
    assert [set(token) for token in record["most_used_states"][0]["tokens"]] == [{"token", "probability"}] * 6


def test_another_tokenizer_is_refused_before_the_work(folders: tuple[str, str, str], tmp_path: Path) -> None:
    hmm = random_hmm(2, 400)  # whose fingerprint is no tokenizer's
    hmm.save_pretrained(tmp_path / "other")
    random_hmm(2, 20).save_pretrained(tmp_path / "small")
    for folder, message in (("other", "knows vocabulary ffff"), ("small", "tokens, the HMM 20")):
        with pytest.raises(VocabularyError, match=message) as refused:
            run(str(tmp_path / folder), "--model", folders[2])
        assert "--model none" in refused.value.hint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere"], "/nowhere"),
        (["default", "--model", "none", "--plot", "drawing.gif"], "drawing.gif"),
        (["default", "--model", "none", "--plot", "/proc/folder/a.png"], "/proc"),
        (["default", "--model", "none", "--tokens", "0"], "tokens is 0"),
        (["default", "--model", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_input_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(CtrlGError, match=message) as refused:
        run(*arguments)
    assert refused.value.hint


def test_help_has_examples() -> None:
    assert "ctrlg inspect default" in run("--help")


def test_the_embedded_hmm(default_hmm: QuantizedHMM) -> None:
    found = inspect_hmm(default_hmm)
    config = json.loads((assets.default_hmm_path() / "config.json").read_text(encoding="utf-8"))
    assert found.transition.kept == config["transition"]["entries"]
    assert found.emission.kept == config["emission"]["entries"]
    assert found.end_state is not None and found.end_state.emission > 0.99 and found.end_state.stays > 0.99
    assert 100 < found.effective_states < 1024
    assert float(found.emission.entropy.max()) < math.log(49152)


def test_zeros_and_single_states_can_be_drawn(tmp_path: Path) -> None:
    for number, hmm in enumerate((ending_hmm(), random_hmm(1, 3))):
        found: Inspection = inspect_hmm(hmm)
        matrix: MatrixInspection = found.emission
        assert matrix.histogram.zeros == int((hmm.emission.to_dense() == 0).sum())
        plot_inspection(found, tmp_path / f"{number}.png", "drawn by a test")
        assert (tmp_path / f"{number}.png").stat().st_size > 10_000
