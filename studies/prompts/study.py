"""How strongly should the HMM pull, and what is it worth? Answers to prompts that must hold keywords.

    python -m studies.prompts.prompts --output runs/instruct
    python -m studies.prompts.study --tests runs/instruct/test.jsonl --output runs/prompts.jsonl \\
        --ways "mask alone" 1 1.5 "2, falling" free --plot fig/keyword_places.svg

A way is a strength, "mask alone" (no HMM) or "free" (the same number of words, no keywords); after a comma, "falling"
(the strength falls to 1 as the tokens run out), "no trigram twice" (no three tokens come a second time) or "mean"
(length penalty 1). Each writes one answer to every prompt, as `ctrlg.generate` does; answers are lines of OUTPUT, and
what is there already is not written again. Filler, by rule: a word twice in a row, two marks of punctuation together
(quotation marks, brackets and dots apart), or four of any but dots. A keyword's place is where its first occurrence
begins, as a share of the text.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.constraints import Keywords, OneLine, WordCount
from ctrlg.distillation.sampling.prompts import encode_prompts
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.metrics.scores import mean_score
from ctrlg.figures import DARK, new_figure
from ctrlg.files.reading import parse_json_lines, read_text
from ctrlg.generation import generate_many
from ctrlg.loading.language_models import INSTRUCT
from studies.shared import (
    IN_ANSWERS,
    Key,
    Line,
    Measured,
    Study,
    StudyFlags,
    falling_strength,
    has_filler,
    kept,
    table_of,
)

MASK_ALONE, FREE, FALLING = "mask alone", "free", "falling"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "no trigram twice": {"no_repeat_ngram_size": 3},
    "mean": {"length_penalty": 1.0},
}
TOKENS_A_WORD = 2


class Prompts(Study):
    key = ("way", "prompt")
    figures = ("figure",)
    for_table = ("tests",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--ways", nargs="+", default=[MASK_ALONE, "1"])
        flags.add_argument("--tests", required=True, help="test.jsonl of studies.prompts.prompts")
        flags.add_argument("--prompts", type=int, default=100, help="the first so many")
        flags.add_argument("--together", type=int, default=5, help="prompts answered side by side")
        flags.share("beams", hmm=INSTRUCT, model=INSTRUCT)

    def check(self) -> None:
        for way in self.arguments.ways:
            Way.named(way)

    @cached_property
    def tests(self) -> list[dict[str, Any]]:
        """Prompts with their keywords and ranges of words."""
        path = Path(self.arguments.tests)
        lines = parse_json_lines(read_text(path), path, json.dumps({"prompt": "..."}))
        return [record for _, record in lines][: self.arguments.prompts]

    def batches(self) -> Iterable[Sequence[Key]]:
        for first in range(0, len(self.tests), self.arguments.together):
            for way in self.arguments.ways:
                group = self.tests[first : first + self.arguments.together]
                yield [(way, test["prompt"]) for test in group]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """One answer to each prompt, side by side."""
        way, missing = keys[0][0], {prompt for _, prompt in keys}
        tests = [test for test in self.tests if test["prompt"] in missing]
        keywords = [Keywords([[word] for word in test["keywords"]]) for test in tests]
        lengths = [WordCount(*test["words"]) & OneLine() for test in tests]
        free = way.startswith(FREE)
        constraints = lengths if free else [a & b for a, b in zip(keywords, lengths, strict=True)]
        most = TOKENS_A_WORD * max(test["words"][1] for test in tests)
        strength, falling, options = Way.named(way)
        with falling_strength(strength, most) if falling else nullcontext():
            results = generate_many(
                *self.models,
                None if way.startswith(MASK_ALONE) else self.hmm,
                constraints,
                encode_prompts(self.models[1], [test["prompt"] for test in tests], chat_template=True),
                max_new_tokens=most,
                suffix=".",
                num_beams=self.arguments.beams,
                strength=strength,
                eos_token_id=self.hmm.eos_token_id,
                progress=False,
                **options,
            )
        for test, words, (best, *_) in zip(tests, keywords, results, strict=True):
            values = {
                "text": best.text,
                "kept": best.satisfied,
                "log_prob": best.log_prob,
                "tokens": len(best.token_ids),
                "places": [] if free else sorted(first_places(words, best.text, test["keywords"])),
                "symbolic": best.timing.symbolic,
                "neural": best.timing.neural,
            }
            yield (way, test["prompt"]), values

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each way, all of the same prompts; log-probabilities are paired with the way "1" if it is there."""
        found = {(line["way"], line["prompt"]): line for line in lines}
        prompts = [
            test["prompt"] for test in self.tests if all((way, test["prompt"]) in found for way in self.arguments.ways)
        ]
        base = "1" if "1" in self.arguments.ways else self.arguments.ways[0]
        rows: list[dict[str, object]] = []
        for way in self.arguments.ways:
            mine = [found[way, prompt] for prompt in prompts]
            gains = [line["log_prob"] - found[base, line["prompt"]]["log_prob"] for line in mine]
            first, last = ([pick(line["places"]) for line in mine if line["places"]] for pick in (min, max))
            rows.append(
                {
                    "way": way,
                    "prompts": len(mine),
                    "kept": kept(mine),
                    "filler": percent([has_filler(line["text"], IN_ANSWERS) for line in mine]),
                    "nats a token": mean_score([line["log_prob"] for line in mine], prompts),
                    f"more than {base!r}, paired": "" if way == base else mean_score(gains, prompts),
                    "first keyword": percent(first),
                    "last": percent(last),
                    "trigrams again": percent([repeated_trigrams(line["text"]) for line in mine]),
                    "words": f"{statistics.mean(len(line['text'].split()) for line in mine):.0f}",
                    "symbolic s": f"{statistics.mean(line['symbolic'] for line in mine):.2f}",
                    "neural s": f"{statistics.mean(line['neural'] for line in mine):.2f}",
                }
            )
        return table_of(rows)

    def figure(self, lines: Sequence[Line]) -> Any:
        """Histograms of where the keywords stand, one for each way."""
        prompts = {test["prompt"] for test in self.tests}
        ways = [way for way in self.arguments.ways if not way.startswith(FREE)]
        figure = new_figure(2.6 * len(ways), 2.6)
        axes = figure.subplots(1, len(ways), sharey=True, squeeze=False)[0]
        for axis, way in zip(axes, ways, strict=True):
            mine = [line for line in lines if line["way"] == way and line["prompt"] in prompts]
            axis.hist([100 * place for line in mine for place in line["places"]], bins=range(0, 101, 10), color=DARK)
            axis.set(title=way if way.startswith(MASK_ALONE) else f"strength {way}", xlabel="place in the text, %")
        axes[0].set_ylabel("keywords")
        return figure


def first_places(keywords: Keywords, text: str, words: Sequence[str]) -> list[float]:
    """Where each word occurs first, as a share of the text."""
    spans = keywords.kept_spans(text)
    first: dict[str, int] = {}
    for start, end in sorted(spans):
        first.setdefault(text[start:end].lower(), start)
    return [first[word.lower()] / len(text) for word in words if word.lower() in first]


class Way(NamedTuple):
    """What the name of a way says: `options` are of `generate`."""

    strength: float
    falling: bool
    options: Mapping[str, Any]

    @classmethod
    def named(cls, name: str) -> Way:
        """See the top of this file. Raises ArgumentError."""
        base, *rest = name.split(", ")
        try:
            strength = 1.0 if base in (MASK_ALONE, FREE) else float(base)
            options = {key: value for each in rest if each != FALLING for key, value in OPTIONS[each].items()}
        except (KeyError, ValueError) as error:
            known = ", ".join([FALLING, *OPTIONS])
            raise ArgumentError(f"--ways {name!r}", hint=f"'mask alone', 'free' or a number; then {known}") from error
        return cls(strength, FALLING in rest, options)


def percent(shares: Sequence[float]) -> str:
    """The mean of shares, "" of none."""
    return f"{100 * statistics.mean(shares):.0f} %" if shares else ""


def repeated_trigrams(text: str) -> float:
    """The share of three words in a row that stand in the text already."""
    words = re.findall(r"\w+", text.lower())
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / max(1, len(trigrams))


if __name__ == "__main__":
    Prompts.main()
