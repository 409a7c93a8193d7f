"""CommonGen's scores as a module of `evaluate`, computed by `ctrlg.evaluation`; it loads without a network:

import evaluate

metric = evaluate.load("eval_metrics/commongen")
metric.compute(predictions=["A dog runs."], references=[["The dog is running."]], concepts=[["dog", "run"]])
"""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from ctrlg.evaluation.metrics.scores import evaluate as evaluate_written
from ctrlg.evaluation.results import Written

_INPUTS = """
predictions: sentences.
references: for each of them human sentences.
concepts: for each of them the words that it must use.
substring: concepts count inside of other words, too.
resamples, seed: of the bootstrap over concept sets behind the 95 % intervals.
with_meteor: needs Java. with_spice: needs Java 8 and Stanford's models.
Returns each score under its name (bleu_1 .. bleu_4, bleu_average, rouge_l, rouge_l_max, rouge_l_stemmed, cider,
coverage, success, constraints_accuracy, and meteor and spice where asked for; they are those of
`ctrlg.evaluation.metrics.scores.evaluate`), and its interval as NAME_low and NAME_high. All but
cider, in [0, 10], in [0, 1].
"""


class CommonGen(evaluate.Metric):
    """How near sentences come to human ones, and whether they use their concepts."""

    def _info(self) -> evaluate.MetricInfo:
        texts = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="BLEU, METEOR, ROUGE-L, CIDEr, SPICE, coverage and success of sentences for concept sets.",
            citation="Lin et al. 2020, CommonGen, arXiv 1911.03705",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": texts, "concepts": texts}
            ),
        )

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]  # by name: `evaluate` passes the features
        self,
        *,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        concepts: Sequence[Sequence[str]],
        substring: bool = False,
        resamples: int = 1000,
        seed: int = 0,
        with_meteor: bool = False,
        with_spice: bool = False,
    ) -> dict[str, float]:
        # Sentences of the same concepts and references are of one concept set: the bootstrap draws them together.
        number_of: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        written = []
        for sentence, group, words in zip(predictions, references, concepts, strict=True):
            number = number_of.setdefault((tuple(words), tuple(group)), len(number_of))
            written.append(Written(number, tuple(words), (sentence,)))
        known = {number: group for (_, group), number in number_of.items()}
        scores = evaluate_written(written, known, substring, resamples, seed, with_meteor, with_spice)
        named: dict[str, float] = {}
        for name, score in scores.items():
            named |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        return named
