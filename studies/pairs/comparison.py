"""Pairs of a language model and an HMM, float or compressed: what they write, and what both halves weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ctrlg.errors import CheckpointError
from ctrlg.evaluation.metrics.scores import Score, evaluate, mean_score
from ctrlg.evaluation.results import Written
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.records import markdown_rows
from ctrlg.loading.hmms import hmm_folder
from ctrlg.loading.language_models import weight_files
from studies.shared import log_probabilities

COLOURS, MARKERS = (DARK, MIDDLE, LIGHT, "0.5"), "osD^vPX"
PANELS = {"cider": "CIDEr", "log_prob": "nats per token, under one judge"}
TICKS = (100, 150, 200, 300, 500, 800, 1200)


class Pair(NamedTuple):
    """name: in the results. model: for `load_language_model`. hmm: for `load_hmm`."""

    name: str
    model: str
    hmm: str

    def sizes(self) -> tuple[int, int]:
        """Bytes on disk of the language model's weights and of the HMM's.

        Raises CheckpointError where this machine does not have them as files.
        """
        model, hmm = weight_files(self.model), sorted(hmm_folder(self.hmm).glob("*.safetensors"))
        for files, name in ((model, self.model), (hmm, self.hmm)):
            if not files:
                raise CheckpointError(f"{name} has no weights on this machine", hint="give a folder or a .gguf file")
        return sum(file.stat().st_size for file in model), sum(file.stat().st_size for file in hmm)


class PairResult(NamedTuple):
    """What a pair wrote.

    kept: constraints. scores: those of `evaluate`, and "log_prob": nats per token under the judge. gained: of these
    over the first pair, set by set; None for the first pair. model_bytes, hmm_bytes: on disk; None where not looked
    for.
    """

    pair: Pair
    kept: int
    sentences: int
    scores: Mapping[str, Score]
    gained: Score | None
    model_bytes: int | None
    hmm_bytes: int | None


def pair_results(
    pairs: Sequence[Pair],
    lines: Sequence[Mapping[str, Any]],
    references: Mapping[int, Sequence[str]],
    judge: tuple[Any, Any],
    sizes: Mapping[str, tuple[int, int]],
) -> list[PairResult]:
    """One result a pair.

    lines: records of `Sentence` with the pair's name as "pair", the same concept sets for all pairs. judge: a language
    model and its tokenizer. sizes: those of `Pair.sizes` by the pair's name. Raises as `evaluate`.
    """
    results, first = [], []
    for pair in pairs:
        rows = sorted((line for line in lines if line["pair"] == pair.name), key=lambda line: line["concept_set_idx"])
        numbers = [line["concept_set_idx"] for line in rows]
        judged = log_probabilities(*judge, [line["sentences"][0] for line in rows])
        scores = evaluate([Written.of(line, pair.name).best() for line in rows], references)
        scores["log_prob"] = mean_score(judged, numbers)
        gained = mean_score([one - other for one, other in zip(judged, first, strict=True)], numbers) if first else None
        first = first or judged
        kept = sum(line["kept"] for line in rows)
        results.append(PairResult(pair, kept, len(rows), scores, gained, *sizes.get(pair.name, (None, None))))
    return results


def pairs_table(results: Sequence[PairResult], judge: str) -> str:
    """A Markdown table; scores with their 95 % intervals."""
    weighed = any(result.model_bytes for result in results)
    size_heads = ("bytes, language model", "bytes, HMM", "together") * weighed
    rows: list[Sequence[object]] = [
        ("pair", *size_heads, "kept", "BLEU-4", "CIDEr", f"log-probability ({judge})", "gained")
    ]
    for result in results:
        sizes = (result.model_bytes or 0, result.hmm_bytes or 0)
        cells = [f"{size:,}" for size in (*sizes, sum(sizes))] * weighed
        scores = [result.scores[name] for name in ("bleu_4", "cider", "log_prob")]
        kept = f"{result.kept}/{result.sentences}"
        rows.append((result.pair.name, *cells, kept, *scores, "" if result.gained is None else result.gained))
    return markdown_rows(rows)


def plot_pairs(results: Sequence[PairResult]) -> Any:
    """Quality against bytes, a colour for each language model, a marker for each HMM."""
    figure = new_figure(11, 5)
    models = list(dict.fromkeys(result.pair.model for result in results))
    hmms = list(dict.fromkeys(result.pair.hmm for result in results))
    for axes, (name, label) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        sizes = [((result.model_bytes or 0) + (result.hmm_bytes or 0)) / 1e6 for result in results]
        for result, size in zip(results, sizes, strict=True):
            score = result.scores[name]
            axes.errorbar(
                size,
                score.value,
                [[score.value - score.low], [score.high - score.value]],
                color=COLOURS[models.index(result.pair.model) % len(COLOURS)],
                marker=MARKERS[hmms.index(result.pair.hmm) % len(MARKERS)],
                label=result.pair.name,
                linestyle="",
            )
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xlim(least := 0.85 * min(sizes), most := 1.18 * max(sizes))
        axes.set_xticks(shown := [tick for tick in TICKS if least <= tick <= most], shown)
        axes.set_xlabel("megabytes of both halves (logarithmic)")
        axes.set_ylabel(label)
        axes.grid(color="0.92")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Both halves: what is written, and what they weigh (95 % intervals)")
    return figure
