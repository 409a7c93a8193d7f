"""Can training make a compressed HMM better in the same bytes? One line per HMM, compression and way of training.

    python -m studies.compression.refine --hmm runs/h0/best runs/h1/best runs/h2/best --output runs/refine.jsonl \\
        --held_out runs/samples/commongen.test
    python -m studies.compression.refine --summarise runs/refine.jsonl --table runs/refine.md

Ways: "as compressed"; "rows refitted" (levels, scales and backgrounds to the float rows, no sequences); "refine"
(`ctrlg.quantization.refine`, on samples of the float HMM); "refine on text" (on --training instead, where given);
"codes too" (entries also change their level); "values free" (kept entries take any value in EM, the codebook is fitted
once at the end). The last two have a prior of --prior_strength observations of the float row for every state. Each HMM
has its own seed for all samples. KLseq is measured on other samples than those trained on. Only the kept set is fixed
in all of them, so that all take the bytes of "as compressed".
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError
from ctrlg.files.atomic import write_lines
from ctrlg.files.outputs import check_output_file
from ctrlg.files.records import StudyLines, markdown_rows, mean_and_deviation, read_study
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
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

LENGTH = 24  # tokens of a sample
WAYS = ("as compressed", "rows refitted", "refine", "refine on text", "codes too", "values free")
Fit = Callable[[CodedRows, EntryCounts], CodedRows]


class Study(NamedTuple):
    """One float HMM with what is drawn from it: sequences to train on, and others to judge by."""

    hmm: HMM
    training: Tensor
    judging: Tensor
    text: Tensor | None
    held_out: Tensor | None
    steps: int
    prior_strength: float
    seed: int


COLUMNS = ("compression", "way", "seed")


def main() -> None:
    arguments = parse_arguments()
    if arguments.table:
        check_output_file(arguments.table, "--table")
    if arguments.summarise:
        table = summary(read_study(arguments.summarise, COLUMNS))
        say(table)
        if arguments.table:
            write_lines(arguments.table, table)
        return
    unknown = [way for way in arguments.ways if way not in WAYS]
    if unknown:
        raise ArgumentError(f"--ways {unknown[0]!r} is unknown", hint=f"some of: {', '.join(WAYS)}")
    torch.set_num_threads(arguments.threads)
    results = StudyLines(arguments.output, COLUMNS)
    held_out = read_sequences(arguments.held_out) if arguments.held_out else None
    for number, folder in enumerate(arguments.hmm):
        hmm = HMM.from_pretrained(folder, map_location=arguments.device)
        seed = arguments.seed + number
        generator = torch.Generator(hmm.device).manual_seed(1000 + seed)
        training, judging = (hmm.sample(n, LENGTH, generator) for n in (arguments.sequences, arguments.judging))
        text = read_sequences(arguments.training[number]) if arguments.training else None
        study = Study(hmm, training, judging, text, held_out, arguments.steps, arguments.prior_strength, seed)
        for label, setting in settings(hmm, arguments.small_share).items():
            ways = [way for way in arguments.ways if (label, way, seed) not in results]
            for way, values in outcomes(study, setting, ways):
                say(results.add((label, way, seed), values))


def settings(hmm: HMM, small_share: float) -> dict[str, dict[str, Any]]:
    """The compressions studied, as arguments of `quantize`."""
    small = {"method": "log-norm-q", "bits": 4, "max_bytes": int(hmm.nbytes * small_share)}
    plain = [("log-norm-q", 2), ("norm-q", 8), ("norm-q", 4), ("log-norm-q", 3), ("log-norm-q", 4)]
    others = {f"{method} {bits} bits": {"method": method, "bits": bits} for method, bits in plain}
    return {"log-norm-q 4 bits, small": small, **others}


def outcomes(study: Study, setting: dict[str, Any], ways: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each way of training makes of one compression, as it comes."""
    if not ways:
        return
    start = quantize(study.hmm, **setting)
    float_score = held_out_log_likelihood(study.hmm, study.judging)
    for way in ways:
        began = time.perf_counter()
        model = trained(study, start, way)
        if model is None:
            continue
        yield (
            way,
            {
                "kl": float_score - held_out_log_likelihood(model, study.judging),
                "held_out": None if study.held_out is None else held_out_log_likelihood(model, study.held_out),
                "bytes": model.packed_nbytes,
                "seconds": round(time.perf_counter() - began, 1),
            },
        )


def trained(study: Study, start: QuantizedHMM, way: str) -> QuantizedHMM | None:
    """The compressed HMM after one way of training; None where the way has no data."""
    if way == "as compressed":
        return start
    if way == "rows refitted":
        return rows_refitted(study.hmm, start)
    if way == "refine":
        return refine(start, study.training, study.steps, prior=study.hmm, seed=study.seed)
    if way == "refine on text":
        return None if study.text is None else refine(start, study.text, study.steps, seed=study.seed)
    return codes_too(study, start) if way == "codes too" else values_free(study, start)


def rows_refitted(hmm: HMM, start: QuantizedHMM) -> QuantizedHMM:
    """Levels, scales and backgrounds with the least KL to the float rows, weighted by how often states are visited."""
    occupancy = state_occupancy(hmm.initial, hmm.transition.to_dense(), LENGTH)[:, None]
    counts = occupancy * hmm.transition.to_dense(), occupancy * hmm.emission.to_dense()
    return fitted(start, counts, start.initial, lambda rows, wanted: restricted_maximum(rows, wanted, rounds=10))


def codes_too(study: Study, start: QuantizedHMM) -> QuantizedHMM:
    """EM in which stored entries move to the level that explains their counts best."""
    model = start
    for _ in range(study.steps):
        transition, emission, initial = smoothed_counts(study, model.inference_parameters)
        model = fitted(model, (transition, emission), initial, fit_with_codes)
    return model


def values_free(study: Study, start: QuantizedHMM) -> QuantizedHMM:
    """EM in which stored entries take any value; the codebook is fitted to the last counts."""
    parameters = start.inference_parameters
    kept = [stored_entries(matrix) for matrix in (start.transition, start.emission)]
    counts = smoothed_counts(study, parameters)
    for _ in range(study.steps - 1):
        transition, emission = (free_rows(rows, mask) for rows, mask in zip(counts[:2], kept, strict=True))
        counts = smoothed_counts(study, Parameters(DenseMatrix(transition), DenseMatrix(emission), counts[2]))
    return fitted(start, counts[:2], counts[2], fit_with_codes)


def smoothed_counts(study: Study, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    """Expected counts of the training sequences plus the prior's: transition, emission; initial as probabilities."""
    dense = Parameters(
        DenseMatrix(parameters.transition.to_dense()), DenseMatrix(parameters.emission.to_dense()), parameters.initial
    )
    counts = total_counts(dense, study.training.split(250))
    transition = counts.transition + study.prior_strength * study.hmm.transition.to_dense()
    emission = counts.emission.T + study.prior_strength * study.hmm.emission.to_dense()
    initial = counts.initial + study.prior_strength * study.hmm.initial
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


def summary(lines: list[dict[str, Any]]) -> str:
    """A Markdown table: mean ± standard deviation over seeds of KLseq, of its change, and of held-out text."""
    table: list[list[object]] = [
        ["compression", "bytes", "way", "KLseq (nats/token)", "change within seeds", "held-out text (nats/token)", "s"]
    ]
    for compression in dict.fromkeys(line["compression"] for line in lines):
        chosen = [line for line in lines if line["compression"] == compression]
        before = {line["seed"]: line["kl"] for line in chosen if line["way"] == WAYS[0]}
        for way in dict.fromkeys(line["way"] for line in chosen):
            group = [line for line in chosen if line["way"] == way]
            change = [line["kl"] / before[line["seed"]] - 1 for line in group]
            size = round(statistics.mean(line["bytes"] for line in group))
            seconds = statistics.mean(line["seconds"] for line in group)
            text = "" if group[0]["held_out"] is None else mean_and_deviation([line["held_out"] for line in group], 3)
            loss = mean_and_deviation([line["kl"] for line in group], 4)
            changed = f"{mean_and_deviation([100 * part for part in change], 1)} %"
            table.append([compression, f"{size:,}", way, loss, changed, text, f"{seconds:.0f}"])
    return markdown_rows(table)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmm", nargs="+", default=[], help="folders of float HMMs, one for each seed")
    parser.add_argument("--training", nargs="+", default=[], help="a file of sequences for each HMM, for 'on text'")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), help="of training (all)")
    parser.add_argument("--held_out", default="", help="sequences of the language model that no HMM has seen")
    parser.add_argument("--sequences", type=int, default=6000, help="samples trained on")
    parser.add_argument("--judging", type=int, default=2000, help="samples judged by")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--prior_strength", type=float, default=300.0, help="of 'codes too' and 'values free'")
    parser.add_argument("--small_share", type=float, default=0.0013, help="bytes of the small log-norm-q, of float32's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", default="refine.jsonl", help="JSON lines; what is there is not run again")
    parser.add_argument("--summarise", default="", help="JSON lines to make a table of, instead")
    parser.add_argument("--table", default="", help="Markdown file for that table")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
