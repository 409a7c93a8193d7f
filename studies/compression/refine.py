"""Can training make a compressed HMM better in the same bytes? One line per HMM, compression and way of training.

    python -m studies.compression.refine --hmm runs/h0/best runs/h1/best runs/h2/best --output runs/refine.jsonl \\
        --held_out runs/samples/commongen.test
    python -m studies.compression.refine --summarize runs/refine.jsonl --table runs/refine.md

Ways: "as compressed"; "rows refitted" (levels, scales and backgrounds to the float rows, no sequences); "refine"
(`ctrlg.quantization.refine`, on samples of the float HMM); "refine on text" (on --training instead, where given);
"codes too" (entries also change their level); "values free" (kept entries take any value in EM, the codebook is fitted
once at the end). The last two have a prior of --prior_strength observations of the float row for every state. Each HMM
has its own seed for all samples. KLseq is measured on other samples than those trained on. Only the kept set is fixed
in all of them, so that all take the bytes of "as compressed".
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.files.records import markdown_rows, mean_and_deviation
from ctrlg.hmm import HMM, Parameters
from ctrlg.hmm.learning import total_counts
from ctrlg.inspection import held_out_log_likelihood
from ctrlg.matrices import CompressedMatrix, DenseMatrix
from ctrlg.quantization import QuantizedHMM, quantize, state_occupancy
from ctrlg.quantization.refine import refine
from ctrlg.quantization.restricted import (
    CodedRows,
    EntryCounts,
    coded_rows,
    compressed,
    entry_counts,
    restricted_maximum,
)
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped

LENGTH = 24  # tokens of a sample
ON_TEXT = "refine on text"
WAYS = ("as compressed", "rows refitted", "refine", ON_TEXT, "codes too", "values free")
SMALL = "log-norm-q 4 bits, small"
PLAIN = [("log-norm-q", 2), ("norm-q", 8), ("norm-q", 4), ("log-norm-q", 3), ("log-norm-q", 4)]
SETTINGS = {SMALL: ("log-norm-q", 4)} | {f"{method} {bits} bits": (method, bits) for method, bits in PLAIN}
Fit = Callable[[CodedRows, EntryCounts], CodedRows]


class Run(NamedTuple):
    """One float HMM with what is sampled from it: sequences to train on, and others to judge by."""

    hmm: HMM
    training: Tensor
    judging: Tensor
    text: Tensor
    steps: int
    prior_strength: float
    seed: int


class Refine(Study):
    key = ("compression", "way", "seed")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--hmm", nargs="+", required=True, help="folders of float HMMs, one for each seed")
        add("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="of training")
        add("--held_out", default="", help="sequences of the language model that no HMM has seen")
        add("--judging", type=int, default=2000, help="samples judged by")
        add("--prior_strength", type=float, default=300.0, help="of 'codes too' and 'values free'")
        add("--small_share", type=float, default=0.0013, help="bytes of the small log-norm-q, of float32's")
        flags.share("seed", training=[], sequences=6000, steps=8, threads=1)

    def check(self) -> None:
        path = self.arguments.held_out
        self.held_out = read_sequences(path) if path else None
        self.run_of = lru_cache(maxsize=1)(self._run_of)

    def batches(self) -> Iterable[Sequence[Key]]:
        ways = [way for way in self.arguments.ways if way != ON_TEXT or self.arguments.training]
        for number in range(len(self.arguments.hmm)):
            for label in SETTINGS:
                yield [(label, way, self.arguments.seed + number) for way in ways]

    def measure(self, keys: Sequence[Key]) -> Measured:
        label, _, seed = keys[0]
        run = self.run_of(seed)
        method, bits = SETTINGS[label]
        budget = int(run.hmm.nbytes * self.arguments.small_share) if label == SMALL else None
        start = quantize(run.hmm, method, bits, max_bytes=budget)
        float_score = held_out_log_likelihood(run.hmm, run.judging)
        for key in keys:
            began = time.perf_counter()
            model = trained(run, start, way=key[1])
            yield (
                key,
                {
                    "kl": float_score - held_out_log_likelihood(model, run.judging),
                    "held_out": None if self.held_out is None else held_out_log_likelihood(model, self.held_out),
                    "bytes": model.packed_nbytes,
                    "seconds": round(time.perf_counter() - began, 1),
                },
            )

    def _run_of(self, seed: int) -> Run:
        chosen = self.arguments
        number = seed - chosen.seed
        hmm = HMM.from_pretrained(chosen.hmm[number], map_location=chosen.device)
        generator = torch.Generator(hmm.device).manual_seed(1000 + seed)
        training, judging = (hmm.sample(n, LENGTH, generator) for n in (chosen.sequences, chosen.judging))
        text = read_sequences(chosen.training[number]) if chosen.training else training[:0]
        return Run(hmm, training, judging, text, chosen.steps, chosen.prior_strength, seed)

    def table(self, lines: Sequence[Line]) -> str:
        """Mean ± standard deviation over seeds of KLseq, of its change, and of held-out text."""
        rows: list[list[object]] = [
            [
                "compression",
                "bytes",
                "way",
                "KLseq (nats/token)",
                "change within seeds",
                "held-out text (nats/token)",
                "s",
            ]
        ]
        for (compression,), chosen in grouped(lines, "compression").items():
            before = {line["seed"]: line["kl"] for line in chosen if line["way"] == WAYS[0]}
            for (way,), group in grouped(chosen, "way").items():
                change = [100 * (line["kl"] / before[line["seed"]] - 1) for line in group]
                size = round(statistics.mean(line["bytes"] for line in group))
                seconds = statistics.mean(line["seconds"] for line in group)
                text = (
                    "" if group[0]["held_out"] is None else mean_and_deviation([each["held_out"] for each in group], 3)
                )
                loss = mean_and_deviation([line["kl"] for line in group], 4)
                changed = f"{mean_and_deviation(change, 1)} %"
                rows.append([compression, f"{size:,}", way, loss, changed, text, f"{seconds:.0f}"])
        return markdown_rows(rows)


def trained(run: Run, start: QuantizedHMM, way: str) -> QuantizedHMM:
    """The compressed HMM after one way of training."""
    ways: dict[str, Callable[[], QuantizedHMM]] = {
        "as compressed": lambda: start,
        "rows refitted": lambda: rows_refitted(run.hmm, start),
        "refine": lambda: refine(start, run.training, run.steps, prior=run.hmm, seed=run.seed),
        ON_TEXT: lambda: refine(start, run.text, run.steps, seed=run.seed),
        "codes too": lambda: codes_too(run, start),
        "values free": lambda: values_free(run, start),
    }
    return ways[way]()


def rows_refitted(hmm: HMM, start: QuantizedHMM) -> QuantizedHMM:
    """Levels, scales and backgrounds with the least KL to the float rows, weighted by how often states are visited."""
    occupancy = state_occupancy(hmm.initial, hmm.transition.to_dense(), LENGTH)[:, None]
    counts = occupancy * hmm.transition.to_dense(), occupancy * hmm.emission.to_dense()
    return fitted(start, counts, start.initial, lambda rows, wanted: restricted_maximum(rows, wanted, rounds=10))


def codes_too(run: Run, start: QuantizedHMM) -> QuantizedHMM:
    """EM in which stored entries move to the level that explains their counts best."""
    model = start
    for _ in range(run.steps):
        transition, emission, initial = smoothed_counts(run, model.inference_parameters)
        model = fitted(model, (transition, emission), initial, fit_with_codes)
    return model


def values_free(run: Run, start: QuantizedHMM) -> QuantizedHMM:
    """EM in which stored entries take any value; the codebook is fitted to the last counts."""
    parameters = start.inference_parameters
    kept = [stored_entries(matrix) for matrix in (start.transition, start.emission)]
    counts = smoothed_counts(run, parameters)
    for _ in range(run.steps - 1):
        transition, emission = (free_rows(rows, mask) for rows, mask in zip(counts[:2], kept, strict=True))
        counts = smoothed_counts(run, Parameters(DenseMatrix(transition), DenseMatrix(emission), counts[2]))
    return fitted(start, counts[:2], counts[2], fit_with_codes)


def smoothed_counts(run: Run, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    """Expected counts of the training sequences plus the prior's: transition, emission; initial as probabilities."""
    dense = Parameters(
        DenseMatrix(parameters.transition.to_dense()), DenseMatrix(parameters.emission.to_dense()), parameters.initial
    )
    counts = total_counts(dense, run.training.split(250))
    transition = counts.transition + run.prior_strength * run.hmm.transition.to_dense()
    emission = counts.emission.T + run.prior_strength * run.hmm.emission.to_dense()
    initial = counts.initial + run.prior_strength * run.hmm.initial
    return transition, emission, initial / initial.sum()


def fitted(start: QuantizedHMM, counts: tuple[Tensor, Tensor], initial: Tensor, fit: Fit) -> QuantizedHMM:
    """The compressed HMM with both matrices fitted to counts [H, H] and [H, V]."""

    def refit(matrix: CompressedMatrix, wanted: Tensor) -> CompressedMatrix:
        rows = coded_rows(matrix)
        return compressed(fit(rows, entry_counts(rows, wanted)), matrix.layout)

    return QuantizedHMM(
        refit(start.transition, counts[0]),
        refit(start.emission, counts[1]),
        initial,
        start.eos_token_id,
        method=start.method,
        bits=start.bits,
        fingerprint=start.fingerprint,
    )


def fit_with_codes(rows: CodedRows, counts: EntryCounts) -> CodedRows:
    for _ in range(3):
        rows = restricted_maximum(assign_codes(restricted_maximum(rows, counts, 1), counts), counts, 1)
    return rows


def assign_codes(rows: CodedRows, counts: EntryCounts) -> CodedRows:
    """Every stored entry at the level > 0 that explains its count best.

    Levels `q_i < q_j` are equally good at their logarithmic mean `(q_j - q_i) / log(q_j / q_i)`.
    """
    order = 1 + rows.codebook[1:].argsort(stable=True)
    value = rows.scale[:, None] * rows.codebook[order] + rows.background[:, None]
    low, high = value[:, :-1].clamp_min(1e-300), value[:, 1:].clamp_min(1e-300)
    apart = torch.log(high / low)
    edges = torch.where(apart > 1e-9, (high - low) / apart.clamp_min(1e-9), high)
    total = counts.total[rows.row]
    share = counts.stored / torch.where(total > 0, total, 1)
    first, last = torch.zeros_like(rows.codes), torch.full_like(rows.codes, edges.shape[1])
    while bool((first < last).any()):  # one binary search for all entries
        middle = (first + last) // 2
        above = (first < last) & (share > edges[rows.row, middle.clamp_max(edges.shape[1] - 1)])
        first, last = torch.where(above, middle + 1, first), torch.where(above, last, torch.minimum(middle, last))
    return rows._replace(codes=torch.where((rows.codes > 0) & (total > 0), order[first], rows.codes))


def stored_entries(matrix: CompressedMatrix) -> Tensor:
    """Which entries are stored, bool [H, N]."""
    rows = coded_rows(matrix)
    mask = torch.zeros(matrix.shape, dtype=torch.bool, device=matrix.device)
    mask[rows.row, rows.column] = True
    return mask


def free_rows(counts: Tensor, kept: Tensor) -> Tensor:
    """Rows of counts divided by their sums, what is not kept spread evenly."""
    rows = counts / counts.sum(1, keepdim=True)
    spread = (rows * ~kept).sum(1, keepdim=True) / (~kept).sum(1, keepdim=True).clamp_min(1)
    return torch.where(kept, rows, spread)


if __name__ == "__main__":
    Refine.main()
