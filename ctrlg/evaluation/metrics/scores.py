"""All scores of written sentences against references, each with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np

from ctrlg.arguments import Between, Seed, checked
from ctrlg.errors import DataError
from ctrlg.evaluation.metrics.bleu import ORDERS, bleu_of, bleu_statistics
from ctrlg.evaluation.metrics.meteor import meteor_of, meteor_statistics, require_meteor
from ctrlg.evaluation.metrics.similarity import cider, rouge_l
from ctrlg.evaluation.metrics.spice import require_spice, spice
from ctrlg.evaluation.metrics.success import constraints_kept, covered
from ctrlg.evaluation.metrics.tokens import require_scorers, tokenised
from ctrlg.evaluation.results import Written

Resamples = Annotated[int, Between(1, 1_000_000)]


class Score(NamedTuple):
    """A score and its 95 % interval by bootstrap over concept sets.

    Attributes:
        value: on all sentences.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@checked
def evaluate(
    written: Sequence[Written],
    references: Mapping[int, Sequence[str]],
    substring: bool = False,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    with_meteor: bool = False,
    with_spice: bool = False,
) -> dict[str, Score]:
    """Scores of sentences, each with its interval.

    Of the corpus: bleu_1 .. bleu_4, bleu_average (of these four) and, if asked for, meteor. Means over sentences:
    rouge_l (mean over references, no stemming) and rouge_l_max (the best reference) of the tokenized sentences;
    rouge_l_stemmed, the ROUGE-L that Norm-Q reports: stemmed, mean over references, of the texts as they are; cider;
    if asked for, spice; coverage (share of concepts used); success (all concepts used); constraints_accuracy, the same
    by Norm-Q's check (`constraints_kept`).

    Args:
        written: sentences of each concept set.
        references: human sentences of each concept set, by its number.
        substring: how concepts are looked for, see `covered`.
        resamples: of the bootstrap over concept sets; document frequencies of CIDEr are held.
        seed: of the bootstrap.
        with_meteor: some ten seconds more, the start of a Java process.
        with_spice: minutes more, the same.

    Returns:
        Scores by name, all in [0, 1] but cider, in [0, 10].

    Raises:
        DataError: no sentence, or concept sets without references.
        ArgumentError: as `require_scorers`, `require_meteor` and `require_spice`.
        ProcessError: their Java fails.
    """
    require_scorers()
    if with_meteor:
        require_meteor()
    if with_spice:
        require_spice()
    _check(written, references)
    items = [(group, text) for group in written for text in group.sentences]
    sentences = [tokenised(text) for _, text in items]
    tokens_of = {group.number: [tokenised(text) for text in references[group.number]] for group in written}
    groups = [tokens_of[group.number] for group, _ in items]
    used = [covered(text, group.concepts, substring) for group, text in items]
    rouge = rouge_l(sentences, groups)
    stemmed = rouge_l([text for _, text in items], [references[group.number] for group, _ in items], stemmed=True)
    means = {
        "rouge_l": rouge.mean,
        "rouge_l_max": rouge.largest,
        "rouge_l_stemmed": stemmed.mean,
        "cider": cider(sentences, groups),
        **({"spice": spice(sentences, groups)} if with_spice else {}),
        "coverage": np.array([np.mean(found) for found in used]),
        "success": np.array([float(all(found)) for found in used]),
        "constraints_accuracy": np.array([float(constraints_kept(text, group.concepts)) for group, text in items]),
    }
    weights = _weights([group.number for group, _ in items], resamples, seed)
    bleu = bleu_of(weights @ bleu_statistics(sentences, groups))
    scores = {f"bleu_{order + 1}": _score(bleu[:, order]) for order in range(ORDERS)}
    scores["bleu_average"] = _score(bleu.mean(1))
    if with_meteor:
        scores["meteor"] = _score(meteor_of(weights @ meteor_statistics(sentences, groups)))
    return scores | {name: _score(weights @ values / weights.sum(1)) for name, values in means.items()}


def mean_score(values: Sequence[float], sets: Sequence[int], resamples: Resamples = 1000, seed: Seed = 0) -> Score:
    """The mean of a value per sentence, with its interval.

    Args:
        values: one a sentence.
        sets: each sentence's concept set.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: no value.
    """
    if not values:
        raise DataError("there are no values to average", hint="at least one sentence")
    weights = _weights(sets, resamples, seed)
    return _score(weights @ np.array(values) / weights.sum(1))


def _check(written: Sequence[Written], references: Mapping[int, Sequence[str]]) -> None:
    if not any(group.sentences for group in written):
        raise DataError("there are no sentences to judge", hint="a results file with at least one sentence")
    without = [group.number for group in written if not references.get(group.number)]
    if without:
        raise DataError(
            f"concept set {without[0]} has no references ({len(without)} sets in all)",
            hint="judge against the file that the concept sets came from",
        )


def _weights(sets: Sequence[int], resamples: int, seed: int) -> np.ndarray:
    """How often each sentence counts: once, then as often as its concept set was sampled, [1 + resamples, n]."""
    numbers, set_of = np.unique(np.array(sets), return_inverse=True)
    resampled = np.random.default_rng(seed).multinomial(
        len(numbers), np.full(len(numbers), 1 / len(numbers)), resamples
    )
    return np.concatenate([np.ones((1, len(numbers))), resampled])[:, set_of]


def _score(values: np.ndarray) -> Score:
    """The first value, and the interval of the others."""
    low, high = np.percentile(values[1:], [2.5, 97.5]) if len(values) > 1 else (values[0], values[0])
    return Score(float(values[0]), float(low), float(high))
