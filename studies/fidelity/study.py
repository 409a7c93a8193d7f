"""What does compression cost? Nats per token against bytes, and how far the guide of the decoder moves.

    python -m studies.fidelity.study --test runs/samples/commongen.test --data validation.jsonl \\
        --output runs/fidelity.jsonl --plot fig/rate_distortion.svg --guidance_plot fig/guidance.svg
    python -m studies.fidelity.study --hmm runs/hmm/best --test runs/samples/commongen.test --keywords 3 --bits 8 3 \\
        --data validation.jsonl --methods norm-q log-norm-q --thresholds --output runs/few.jsonl

Every method at all bits it takes, the mask alone, and log-norm-q at 4 bits and each of --thresholds (more or fewer
entries stored). Rate: bytes on disk; nats lost on --test, and on what the float HMM samples. Guidance: for the most
frequent concepts of the data set, a sentence is written that holds the word, with the float HMM; before every token of
it, the distribution that the decoder samples from with the compressed HMM is compared to that with the float one. Each
result is a line of OUTPUT; what is there already is not measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import DataError, require_at_least
from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.evaluation.grid import FLOAT, Grid
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, write_sentences
from ctrlg.inspection.fidelity import held_out_log_likelihood
from ctrlg.quantization.methods import METHODS
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.fidelity.figures import Summary, plot_guidance, plot_rate_distortion, summaries, table
from studies.fidelity.guidance import GuidedText, frequent_keywords, guided, guided_text
from studies.fidelity.measures import Point, compressed, guidance, points, rate
from studies.shared import Key, Line, Measured, Study, StudyFlags

THRESHOLDS = [1e-5, 1e-6, 1e-7, 3e-8, 1e-8, 1e-9, 1e-10, 0.0]
SUFFIX = "."
TEXT, RATE, GUIDANCE = "text", "rate", "guidance"


class Fidelity(Study):
    """Three parts make the lines: "text", which the float HMM has written for a keyword; "rate", bytes and nats lost of
    a point, keyword ""; "guidance", divergences of a point before every token of a keyword's text. threshold is None at
    the method's default.
    """

    key = ("part", "method", "bits", "threshold", "keyword")
    figures = ("figure", "guidance_figure")
    for_table = ("concept_sets",)
    words = (LEAST_WORDS, MOST_WORDS)  # of a text
    most_tokens = 24  # of a content

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--thresholds", nargs="*", type=float, default=THRESHOLDS, help="of log-norm-q at 4 bits")
        flags.share("hmm", "model", "test", "concept_sets", "sequences", "seed")
        flags.share(keywords=50, methods=list(METHODS), bits=[8, 4, 3, 2, 6, 5, 1], beams=4)

    def check(self) -> None:
        chosen = self.arguments
        require_at_least(chosen, {"beams": 1, "sequences": 2})
        self.points = points(Grid.product(chosen.methods, chosen.bits), chosen.thresholds)
        self.test = read_sequences(chosen.test)
        if int(self.test.max()) >= self.reference.vocab_size:
            raise DataError(f"{chosen.test} holds token {int(self.test.max())}", hint="was another model sampled?")

    @cached_property
    def keywords(self) -> list[str]:
        """The most frequent concepts of the data set."""
        return frequent_keywords(self.sets.values(), self.arguments.keywords)

    def batches(self) -> Iterable[Sequence[Key]]:
        yield [(TEXT, FLOAT, 32, None, word) for word in self.keywords]
        for point in self.points:
            yield [(RATE, *point, ""), *((GUIDANCE, *point, word) for word in self.keywords)]

    def measure(self, keys: Sequence[Key]) -> Measured:
        if keys[0][0] == TEXT:
            yield from self.written({word for *_, word in keys})
            return
        _, *point, _ = keys[0]
        point = Point(*point)
        hmm = compressed(self.reference, point)
        for key in keys:
            part, *_, word = key
            if part == RATE:
                sampled = (self.arguments.sequences, self.arguments.seed)
                yield key, rate(self.reference, self.held_out, hmm, point, self.test, *sampled)
            else:
                yield key, guidance(self.texts[word], self.expected[word], hmm)

    def written(self, missing: set[str]) -> Measured:
        """A text for each of these keywords, written with the float HMM."""
        sets = [ConceptSet(number, (word,), ()) for number, word in enumerate(self.keywords)]
        for sentence in write_sentences(
            *self.exact_models,
            self.reference,
            sets,
            self.arguments.beams,
            self.most_tokens,
            words=self.words,
            there=lambda each: each.concepts[0] not in missing,
        ):
            values = {"token_ids": list(sentence.best.token_ids), "text": sentence.best.text}
            yield (TEXT, FLOAT, 32, None, sentence.concept_set.concepts[0]), values

    @cached_property
    def texts(self) -> dict[str, GuidedText]:
        """Every keyword's text, read by the language model."""
        (model, tokenizer), reference = self.exact_models, self.reference
        vocabulary = Vocabulary.of(tokenizer, reference.vocab_size, reference.eos_token_id)
        contents = {line["keyword"]: line["token_ids"] for line in self.lines if line["part"] == TEXT}
        suffix_ids = [*tokenizer.encode(SUFFIX, add_special_tokens=False), reference.eos_token_id]
        texts = {}
        for word in self.keywords:
            dfa = ConceptSet(0, (word,), ()).constraint(*self.words).compile(vocabulary, suffix=SUFFIX)
            texts[word] = guided_text(model, vocabulary, dfa, contents[word], suffix_ids, self.most_tokens)
        return texts

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        """What the decoder samples each token of a keyword's text from with the float HMM."""
        return {word: guided(text, self.reference).log_probs.float() for word, text in self.texts.items()}

    @cached_property
    def held_out(self) -> float:
        """Log-likelihood of the float HMM on the test sequences."""
        return held_out_log_likelihood(self.reference, self.test)

    def digest(self, lines: Sequence[Line]) -> list[Summary]:
        return summaries(lines, self.keywords, self.arguments.seed)

    def table(self, lines: Sequence[Summary]) -> str:
        return table(lines)

    def figure(self, lines: Sequence[Summary]) -> Any:
        states, tokens = self.reference.emission.shape
        return plot_rate_distortion(lines, states * (states + tokens), rate_title(lines))

    def guidance_figure(self, lines: Sequence[Summary]) -> Any:
        return plot_guidance(lines, guidance_title(lines))


def rate_title(rows: Sequence[Summary]) -> str:
    """What two points say, where both were measured."""
    found = {row.point: row.kl_sequence for row in rows}
    ours, theirs = found.get(Point("log-norm-q", 3)), found.get(Point("norm-q", 8))
    if ours is None or theirs is None:
        return "What compression loses"
    return f"log-norm-q at 3 bits loses {ours:.3f} nats per token, Norm-Q at 8 bits {theirs:.3f}"


def guidance_title(rows: Sequence[Summary]) -> str:
    """What two points say, where both were measured."""
    found = {row.point: row.kl.value for row in rows if row.kl is not None and not row.infinite}
    ours, theirs = found.get(Point("log-norm-q", 3)), found.get(Point("norm-q", 8))
    if ours is None or theirs is None:
        return f"How far compression moves the guide ({rows[0].keywords} keywords, {rows[0].steps} steps)"
    return f"The guide moves {ours:.3f} nats per step with log-norm-q at 3 bits, {theirs:.3f} with Norm-Q at 8"


if __name__ == "__main__":
    Fidelity.main()
