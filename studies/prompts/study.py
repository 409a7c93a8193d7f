"""Answers to prompts that must hold keywords: how strongly the HMM should pull, and what it is worth.

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

import argparse
import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from torch import Tensor

from ctrlg.constraints import Keywords, OneLine, WordCount
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.devices import fast_dtype
from ctrlg.distillation.sampling.prompts import encode_prompts
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.metrics.scores import mean_score
from ctrlg.figures import DARK, check_figure_path, new_figure, save_figure
from ctrlg.files.reading import parse_json_lines, read_text
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.generation import generate_many
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import INSTRUCT, load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

KEY = ("way", "prompt")
MASK_ALONE, FREE, FALLING = "mask alone", "free", "falling"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "no trigram twice": {"no_repeat_ngram_size": 3},
    "mean": {"length_penalty": 1.0},
}
FILLER = (r"\b(\w+)\s+\1\b", r"[^\w\s'\"().]\s*[^\w\s'\"()]", r"([^\w\s.]\s*){4}")
TOKENS_A_WORD = 2


def main() -> None:
    arguments = parse_arguments()
    tests = read_tests(arguments.tests)[: arguments.prompts]
    if arguments.plot:
        check_figure_path(arguments.plot)
    with StudyLines(arguments.output, KEY) as lines:
        if any((way, test["prompt"]) not in lines for way in arguments.ways for test in tests):
            models = load_language_model(arguments.base_model, arguments.device, fast_dtype(arguments.device))
            hmm = load_hmm(arguments.hmm_model_path, device=arguments.device)
            for first in range(0, len(tests), arguments.together):
                group = tests[first : first + arguments.together]
                for way in arguments.ways:
                    missing = [test for test in group if (way, test["prompt"]) not in lines]
                    if missing:
                        answer(lines, way, missing, models, hmm, arguments.beams)
    say(table(lines.lines, arguments.ways, tests))
    if arguments.plot:
        plot_places(lines.lines, [way for way in arguments.ways if not way.startswith(FREE)], tests, arguments.plot)


def answer(
    lines: StudyLines, way: str, tests: Sequence[Mapping[str, Any]], models: tuple[Any, Any], hmm: Any, beams: int
) -> None:
    """One answer to each prompt, side by side."""
    keywords = [Keywords([[word] for word in test["keywords"]]) for test in tests]
    lengths = [WordCount(*test["words"]) & OneLine() for test in tests]
    free = way.startswith(FREE)
    constraints = lengths if free else [a & b for a, b in zip(keywords, lengths, strict=True)]
    most = TOKENS_A_WORD * max(test["words"][1] for test in tests)
    strength, falling, options = Way.named(way)
    with falling_strength(strength, most) if falling else nullcontext():
        results = generate_many(
            *models,
            None if way.startswith(MASK_ALONE) else hmm,
            constraints,
            encode_prompts(models[1], [test["prompt"] for test in tests], chat_template=True),
            max_new_tokens=most,
            num_beams=beams,
            strength=strength,
            eos_token_id=hmm.eos_token_id,
            progress=False,
            **options,
        )
    for test, words, (best, *_) in zip(tests, keywords, results, strict=True):
        places = [] if free else sorted(first_places(words, best.text, test["keywords"]))
        lines.add(
            (way, test["prompt"]),
            {
                "text": best.text,
                "kept": best.satisfied,
                "log_prob": best.log_prob,
                "tokens": len(best.token_ids),
                "places": places,
                "symbolic": best.timing.symbolic,
                "neural": best.timing.neural,
            },
        )


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


@contextmanager
def falling_strength(strength: float, tokens: int) -> Iterator[None]:
    """Inside, processors begin with this strength and end, after so many tokens, with 1."""

    class Falling(ConstraintLogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            written = input_ids.shape[1] - len(self.prompt_ids)
            self.strength = 1 + (strength - 1) * max(0.0, 1 - written / tokens)
            return super().__call__(input_ids, scores)

    with patch("ctrlg.generation.generate.ConstraintLogitsProcessor", Falling):
        yield


def has_filler(text: str) -> bool:
    """See the top of this file."""
    return any(re.search(rule, text, re.IGNORECASE) for rule in FILLER)


def repeated_trigrams(text: str) -> float:
    """The share of three words in a row that stand in the text already."""
    words = re.findall(r"\w+", text.lower())
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / max(1, len(trigrams))


def table(lines: Sequence[Mapping[str, Any]], ways: Sequence[str], tests: Sequence[Mapping[str, Any]]) -> str:
    """A row for each way, all of the same prompts; log-probabilities are paired with the way "1", if it is there."""
    found = {(line["way"], line["prompt"]): line for line in lines}
    prompts = [test["prompt"] for test in tests if all((way, test["prompt"]) in found for way in ways)]
    base = "1" if "1" in ways else ways[0]
    rows: list[list[Any]] = [
        ["way", "prompts", "kept", "filler", "nats a token", f"more than {base!r}, paired", "first keyword", "last",
         "trigrams again", "words", "symbolic s", "neural s"]
    ]  # fmt: skip
    for way in ways:
        mine = [found[way, prompt] for prompt in prompts]
        gains = [line["log_prob"] - found[base, line["prompt"]]["log_prob"] for line in mine]
        first, last = ([pick(line["places"]) for line in mine if line["places"]] for pick in (min, max))
        rows.append(
            [way, len(mine), f"{sum(line['kept'] for line in mine)}/{len(mine)}",
             f"{100 * statistics.mean(has_filler(line['text']) for line in mine):.0f} %",
             mean_score([line["log_prob"] for line in mine], prompts),
             "" if way == base else mean_score(gains, prompts),
             *(f"{100 * statistics.mean(places):.0f} %" if places else "" for places in (first, last)),
             f"{100 * statistics.mean(repeated_trigrams(line['text']) for line in mine):.0f} %",
             f"{statistics.mean(len(line['text'].split()) for line in mine):.0f}",
             f"{statistics.mean(line['symbolic'] for line in mine):.2f}",
             f"{statistics.mean(line['neural'] for line in mine):.2f}"]
        )  # fmt: skip
    return markdown_rows(rows)


def plot_places(
    lines: Sequence[Mapping[str, Any]], ways: Sequence[str], tests: Sequence[Mapping[str, Any]], path: str
) -> None:
    """Histograms of where the keywords stand, one for each way."""
    prompts = {test["prompt"] for test in tests}
    figure = new_figure(2.6 * len(ways), 2.6)
    axes = figure.subplots(1, len(ways), sharey=True, squeeze=False)[0]
    for axis, way in zip(axes, ways, strict=True):
        mine = [line for line in lines if line["way"] == way and line["prompt"] in prompts]
        axis.hist([100 * place for line in mine for place in line["places"]], bins=range(0, 101, 10), color=DARK)
        axis.set(title=way if way.startswith(MASK_ALONE) else f"strength {way}", xlabel="place in the text, %")
    axes[0].set_ylabel("keywords")
    save_figure(figure, path)


def read_tests(path: str) -> list[dict[str, Any]]:
    """Prompts with their keywords and ranges of words. Raises DataError."""
    return [record for _, record in parse_json_lines(read_text(Path(path)), Path(path), json.dumps({"prompt": "..."}))]


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--ways", nargs="+", default=[MASK_ALONE, "1"], help="('mask alone' 1)")
    parser.add_argument("--hmm_model_path", default=INSTRUCT, help="(%(default)s)")
    parser.add_argument("--base_model", default=INSTRUCT, help="the language model it comes from (%(default)s)")
    parser.add_argument("--tests", required=True, help="test.jsonl of studies/prompts/prompts.py")
    parser.add_argument("--prompts", type=int, default=100, help="the first so many (%(default)s)")
    parser.add_argument("--beams", type=int, default=8, help="of the search (%(default)s)")
    parser.add_argument("--together", type=int, default=5, help="prompts answered side by side (%(default)s)")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--plot", help="figure of the keywords' places")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
