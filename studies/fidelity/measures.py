"""Rate-distortion and guidance fidelity of every compression method, a line of JSON for each thing measured.

A *point* is a method at so many bits, or log-norm-q at a threshold. Three parts make the lines: "text", which the
float HMM has written for a keyword; "rate", bytes and nats lost of a point; "guidance", divergences of a point before
every token of a keyword's text (`studies.fidelity.guidance`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ctrlg.arguments import Natural, Positive, Seed, TwoOrMore, checked
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.benchmark import FLOAT, MASK_ONLY, Setting, float_hmm, guide, stored_bytes
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, write_sentences
from ctrlg.files.records import StudyLines
from ctrlg.hmm import HMM, SequenceModel
from ctrlg.inspection.fidelity import held_out_log_likelihood, kl_sequence
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization import quantize
from ctrlg.quantization.methods import METHODS, find_method
from ctrlg.quantization.rows import check_bits
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.fidelity.guidance import GuidedText, divergences, frequent_keywords, guided, guided_text

KEY = ("part", "method", "bits", "threshold", "keyword")
"""Columns by which a line is told from others; threshold is None at the method's default, keyword "" in "rate"."""

SUFFIX = "."


class Point(NamedTuple):
    """A method of `METHODS` at `bits`, "mask-only" at 0; threshold: of log-norm-q, None for its default."""

    method: str
    bits: int
    threshold: float | None = None


@checked
@dataclass(frozen=True)
class FidelitySettings:
    """hmm: of a float HMM, or a compressed one that is unpacked first. model: for `load_language_model`. test: file of
    sequences sampled from it. dataset_path: concept sets, for `read_concept_sets`. output: JSON lines.

    keywords, beams, most_tokens (of a content), sequences (that KLseq samples, of 32 tokens): all >= 1, sequences >= 2.
    least_words, most_words: of a text. seed: of what KLseq samples. device: of both models.
    """

    hmm: str
    model: str
    test: str
    dataset_path: str
    output: str
    keywords: Positive = 50
    beams: Positive = 4
    most_tokens: Positive = 24
    sequences: TwoOrMore = 500
    least_words: Natural = LEAST_WORDS
    most_words: Natural = MOST_WORDS
    seed: Seed = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.most_words < self.least_words:
            raise ArgumentError(f"{self.least_words} to {self.most_words} words", hint="the least first")


def points(methods: Sequence[str], bits: Sequence[int], thresholds: Sequence[float] = ()) -> list[Point]:
    """The mask alone, log-norm-q at 4 bits and each threshold, and each method at all bits it takes, bits outermost.

    Raises ArgumentError for unknown methods, for bits that no method takes and for thresholds below 0.
    """
    for threshold in thresholds:
        if not threshold >= 0:
            raise ArgumentError(f"threshold is {threshold}", hint="nats per token, 0 or more")
    most = max(find_method(method).most_bits for method in methods)
    for number in bits:
        check_bits(number, most)
    grid = [Point(method, number) for number in bits for method in methods if number <= METHODS[method].most_bits]
    return [Point(MASK_ONLY, 0), *(Point("log-norm-q", 4, threshold) for threshold in thresholds), *grid]


def run_fidelity(
    settings: FidelitySettings,
    wanted: Sequence[Point],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> StudyLines:
    """Measure what the output lacks of the wanted points; returns all its lines.

    report: told after every point how many of how many are there. Raises, before any work, DataError for data that
    cannot be used, ArgumentError for an output that cannot be written, CheckpointError for models that do not load.
    """
    test = read_sequences(settings.test)
    keywords = frequent_keywords(read_concept_sets(settings.dataset_path), settings.keywords)
    with StudyLines(settings.output, KEY) as lines:
        reference = float_hmm(settings.hmm, settings.device)
        if int(test.max()) >= reference.vocab_size:
            raise DataError(f"{settings.test} holds token {int(test.max())}", hint="was another model sampled?")
        texts: dict[str, GuidedText] | None = None
        expected: dict[str, Tensor] = {}
        held_out = math.nan
        for done, point in enumerate(wanted):
            report(done, len(wanted))
            missing = [word for word in keywords if ("guidance", *point, word) not in lines]
            rate_is_missing = ("rate", *point, "") not in lines
            if not missing and not rate_is_missing:
                continue
            if texts is None:
                texts = _texts(settings, reference, keywords, lines)
                expected = {word: guided(text, reference).log_probs.float() for word, text in texts.items()}
                held_out = held_out_log_likelihood(reference, test)
            hmm = _compressed(reference, point)
            if rate_is_missing:
                lines.add(("rate", *point, ""), _rate(settings, reference, held_out, hmm, point, test))
            for word in missing:
                lines.add(("guidance", *point, word), _guidance(texts[word], expected[word], hmm))
        report(len(wanted), len(wanted))
    return lines


def _compressed(reference: HMM, point: Point) -> Any:
    """The HMM as the point leaves it; None for the mask alone."""
    if point.threshold is not None:
        return quantize(reference, point.method, point.bits, threshold=point.threshold)
    return guide(reference, Setting(point.method, point.bits))


def _rate(
    settings: FidelitySettings, reference: HMM, held_out: float, hmm: Any, point: Point, test: Tensor
) -> dict[str, float | int | None]:
    """Bytes; nats per token lost on the test sequences, where the float HMM has `held_out`, and on its own samples.

    None of what has no likelihood; of what finds a sequence impossible, too, and then `likelihood` is true."""
    size = stored_bytes(reference, hmm, Setting(point.method, point.bits))
    if not isinstance(hmm, SequenceModel):
        return {"bytes": size, "likelihood": False, "held_out_loss": None, "kl_sequence": None, "kl_error": None}
    lost = kl_sequence(reference, hmm, sequences=settings.sequences, seed=settings.seed)
    return {
        "bytes": size,
        "likelihood": True,
        "held_out_loss": _number(held_out - held_out_log_likelihood(hmm, test)),
        "kl_sequence": _number(lost.mean),
        "kl_error": _number(lost.error),
        "held_out_float": _number(held_out),
    }


def _guidance(text: GuidedText, expected: Tensor, hmm: Any) -> dict[str, list[float | None] | int]:
    """Divergences from the float HMM's distributions before every token, and how often the guide was silent."""
    found = guided(text, hmm)
    columns = divergences(expected, found.log_probs)._asdict()
    return {name: [_number(value) for value in values.tolist()] for name, values in columns.items()} | {
        "silent": int(found.silent.sum())
    }


def _texts(
    settings: FidelitySettings, reference: HMM, keywords: Sequence[str], lines: StudyLines
) -> dict[str, GuidedText]:
    """A text for each keyword, written with the float HMM where the output has none, read by the language model."""
    model, tokenizer = load_language_model(settings.model, settings.device)
    vocabulary = Vocabulary.of(tokenizer, reference.vocab_size, reference.eos_token_id)
    for word, content, text in _written(settings, model, tokenizer, reference, keywords, lines):
        lines.add(("text", FLOAT, 32, None, word), {"token_ids": list(content), "text": text})
    contents = {line["keyword"]: line["token_ids"] for line in lines.lines if line["part"] == "text"}
    suffix_ids = [*tokenizer.encode(SUFFIX, add_special_tokens=False), reference.eos_token_id]
    texts = {}
    for word in keywords:
        promise = ConceptSet(0, (word,), ()).promise(settings.least_words, settings.most_words)
        dfa = promise.compile(vocabulary, suffix=SUFFIX)
        texts[word] = guided_text(model, vocabulary, dfa, contents[word], suffix_ids, settings.most_tokens)
    return texts


def _written(
    settings: FidelitySettings, model: Any, tokenizer: Any, hmm: HMM, keywords: Sequence[str], lines: StudyLines
) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """(keyword, content, text) of the keywords without a text, by beam search."""
    sets = [ConceptSet(number, (word,), ()) for number, word in enumerate(keywords)]

    def there(each: ConceptSet) -> bool:
        return ("text", FLOAT, 32, None, each.concepts[0]) in lines

    words = settings.least_words, settings.most_words
    sentences = write_sentences(
        model, tokenizer, hmm, sets, settings.beams, settings.most_tokens, words=words, there=there
    )
    for sentence in sentences:
        yield sentence.concept_set.concepts[0], sentence.best.token_ids, sentence.best.text


def _number(value: float) -> float | None:
    """Six digits of a finite number; None for infinity, which JSON cannot hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
