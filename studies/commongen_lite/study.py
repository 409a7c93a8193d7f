"""How often does a sentence cover all concepts of a set of CommonGen-Lite, as its leaderboard counts?

    python -m studies.commongen_lite.study --data commongen_lite.jsonl --sets 100 --output runs/commongen_lite.jsonl

DATA has a set a line: `id`, `concepts` and `pos`, N or V for each. The embedded pair writes one sentence for each as
`ctrlg generate` does, in three ways: "any" counts a concept's inflections of all parts of speech, "own" those of the
part that the set names alone, "mask" is "own" without the HMM. A pipeline of spaCy judges: a set is covered where the
lemma of every concept stands in the sentence, and covered as given where spaCy also says that it is a noun or a verb as
the set has it. Words are runs between spaces, log-probabilities those of the language model that wrote.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.constraints import Keywords, OneLine, OneSentence
from ctrlg.constraints.base import Constraint
from ctrlg.errors import DataError
from ctrlg.evaluation.metrics.scores import mean_score
from ctrlg.files.reading import parse_json_lines, read_text
from ctrlg.generation import generate_many
from studies.shared import Key, Line, Measured, Study, StudyFlags, kept, table_of

WAYS = ("any", "own", "mask")
PARTS = {"N": "NOUN", "V": "VERB"}


class ConceptsAs(NamedTuple):
    """A set: words and what part of speech each is, N or V."""

    concepts: tuple[str, ...]
    parts: tuple[str, ...]

    def constraint(self, way: str) -> Constraint:
        """One sentence with every concept."""
        if way == "any":
            keywords = Keywords([[concept] for concept in self.concepts], inflect=True)
        else:
            keywords = Keywords([inflections_as(*pair) for pair in zip(self.concepts, self.parts, strict=True)])
        return keywords & OneLine() & OneSentence()


class CommonGenLite(Study):
    key = ("way", "set")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
        flags.add_argument("--sets", type=int, default=0, help="so many, chosen by --seed; 0: all")
        flags.add_argument("--spacy", default="en_core_web_lg", help="name or folder of the pipeline")
        flags.add_argument("--together", type=int, default=4, help="sets written side by side")
        flags.share("concept_sets", "hmm", "model", "max_new_tokens", "beams", "seed")

    def check(self) -> None:
        self.pipeline  # noqa: B018 - fails early where there is none

    @cached_property
    def pipeline(self) -> Any:
        """What finds lemmas and parts of speech."""
        import spacy

        try:
            return spacy.load(self.arguments.spacy)
        except OSError as error:
            hint = "pip install -r studies/commongen_lite/requirements.txt, and --spacy names its folder"
            raise DataError(f"no pipeline of spaCy: {self.arguments.spacy}", hint=hint) from error

    @cached_property
    def chosen(self) -> dict[str, ConceptsAs]:
        """Sets by their ids."""
        path = Path(self.arguments.concept_sets)
        lines = [line for _, line in parse_json_lines(read_text(path), path, json.dumps({"id": "...", "pos": ["N"]}))]
        if self.arguments.sets:
            random.Random(self.arguments.seed).shuffle(lines)
            lines = lines[: self.arguments.sets]
        return {line["id"]: ConceptsAs(tuple(line["concepts"]), tuple(line["pos"])) for line in lines}

    def batches(self) -> Iterable[Sequence[Key]]:
        names = list(self.chosen)
        for first in range(0, len(names), self.arguments.together):
            for way in self.arguments.ways:
                yield [(way, name) for name in names[first : first + self.arguments.together]]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """The best sentence of each set."""
        way = keys[0][0]
        sets = [self.chosen[name] for _, name in keys]
        constraints = [one.constraint(way) for one in sets]
        results = generate_many(
            *self.models,
            None if way == "mask" else self.hmm,
            constraints,
            suffix=".",
            max_new_tokens=self.arguments.max_new_tokens,
            num_beams=self.arguments.beams,
            eos_token_id=self.hmm.eos_token_id,
            progress=False,
        )
        for key, one, (best, *_) in zip(keys, sets, results, strict=True):
            missing, other_part = judged(self.pipeline, one, best.text)
            yield (
                key,
                {
                    "concepts": list(one.concepts),
                    "parts": list(one.parts),
                    "text": best.text,
                    "kept": best.satisfied,
                    "missing": missing,
                    "other_part": other_part,
                    "words": len(best.text.split()),
                    "log_prob": best.log_prob,
                },
            )

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each way, of the sets that all ways have written."""
        by = {(line["way"], line["set"]): line for line in lines}
        ways = [way for way in self.arguments.ways if any(line["way"] == way for line in lines)]
        names = [
            name for name in dict.fromkeys(line["set"] for line in lines) if all((way, name) in by for way in ways)
        ]
        rows = []
        for way in ways:
            mine = [by[way, name] for name in names]
            rows.append(
                {
                    "inflections": way,
                    "sets": len(mine),
                    "kept": kept(mine),
                    "covered": _share([not line["missing"] for line in mine]),
                    "covered as given": _share([not line["missing"] + line["other_part"] for line in mine]),
                    "words": mean_score([line["words"] for line in mine], names),
                    "nats a token": mean_score([line["log_prob"] for line in mine], names),
                }
            )
        return table_of(rows)


@lru_cache(maxsize=4096)
def inflections_as(word: str, part: str) -> tuple[str, ...]:
    """A word and its inflections as a noun (N) or a verb (V)."""
    import lemminflect

    table = lemminflect.getAllInflections(word, PARTS[part]) or lemminflect.getAllInflectionsOOV(word, PARTS[part])
    return tuple(dict.fromkeys([word, *(form for forms in table.values() for form in forms)]))


def judged(pipeline: Any, concepts: ConceptsAs, text: str) -> tuple[list[str], list[str]]:
    """Concepts whose lemma is not in a text, and those that stand there as another part of speech only."""
    tokens = [(token.lemma_, token.pos_) for token in pipeline(text)]
    lemmas = {lemma for lemma, _ in tokens}
    missing = [concept for concept in concepts.concepts if concept not in lemmas]
    # As the leaderboard has it: "n" stands in NOUN, PROPN and PRON, "v" in VERB and ADV.
    pairs = zip(concepts.concepts, concepts.parts, strict=True)
    fitting = {word for word, part in pairs if any(word == lemma and part in name for lemma, name in tokens)}
    return missing, [word for word in concepts.concepts if word not in fitting and word not in missing]


def _share(outcomes: Sequence[bool]) -> str:
    return f"{100 * sum(outcomes) / len(outcomes):.1f} %"


if __name__ == "__main__":
    CommonGenLite.main()
