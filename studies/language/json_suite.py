"""Does `Json` accept what a JSON schema describes, and nothing else?

    python -m studies.language.json_suite --suite json_schema --samples 2000 --output runs/json_suite.jsonl

The groups of the official suite (JSON-Schema-Test-Suite, draft 2020-12) in the folder SUITE: for every schema that is
accepted, each valid instance in compact form must be accepted, and each invalid one refused. And texts that are sampled
from a random model under the constraint (every token that is allowed is equally likely), of the schemas in turn, which
`jsonschema` must find valid.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from ctrlg.constraints import Json
from ctrlg.errors import BudgetError, ConstraintError, DataError
from ctrlg.loading.language_models import load_tokenizer
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.language.schemas import Group, compact, suite
from studies.language.texts import Sampler
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of

MOST_TOKENS = 60


class JsonSuite(Study):
    key = ("group",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--suite", required=True, help="folder with the suite's files")
        flags.add_argument("--samples", type=int, default=2000, help="texts, of all schemas together")
        flags.add_argument("--every", type=int, default=6, help="of so many schemas one is sampled from")

    def check(self) -> None:
        if not self.groups:
            raise DataError(f"{self.arguments.suite} has no files of the suite", hint="a folder with type.json, ...")

    @cached_property
    def groups(self) -> dict[str, Group]:
        """The suite, by the names of its groups."""
        return {group.name: group for group in suite(Path(self.arguments.suite))}

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(name,)] for name in self.groups]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """A group: whether its schema is accepted, what is wrong, and whether what is sampled is valid."""
        import jsonschema

        for (name,) in keys:
            group = self.groups[name]
            started = time.process_time()
            try:
                constraint = Json(group.schema, closed=False)
                language = constraint.language()
            except ConstraintError as error:
                yield (name,), {"accepted": False, "why": error.message}
                continue
            seconds = time.process_time() - started
            wrong = []
            for description, value, valid in group.tests:
                text = compact(value, constraint)
                if (text in language, constraint.holds(text)) != (valid, valid):
                    wrong.append(description)
            turn = list(self.groups).index(name) % self.arguments.every == 0
            chosen = turn and self.arguments.samples > 0 and not language.is_empty()
            texts = self._sampled(constraint) if chosen else []
            validator = jsonschema.Draft202012Validator(group.schema)
            yield (
                (name,),
                {
                    "accepted": True,
                    "tests": len(group.tests),
                    "wrong": wrong,
                    "seconds": seconds,
                    "sampled": len(texts),
                    "invalid": [text for text in texts if not validator.is_valid(json.loads(text))],
                },
            )

    def _sampled(self, constraint: Json) -> list[str]:
        """Texts of one schema; none where the default tokenizer has too many tokens for its automaton."""
        vocabulary = Vocabulary.of(load_tokenizer("default"))
        try:
            sampler = Sampler(constraint.compile(vocabulary), vocabulary, seed=0)
        except BudgetError:
            return []
        wanted = -(-self.arguments.samples * self.arguments.every // len(self.groups))
        return [text for _ in range(wanted) if (text := sampler.text(MOST_TOKENS)) is not None]

    def table(self, lines: Sequence[Line]) -> str:
        """The whole suite in a row, and what is refused."""
        accepted = [line for line in lines if line["accepted"]]
        row = {
            "schemas": len(lines),
            "accepted": len(accepted),
            "tests of these": sum(line["tests"] for line in accepted),
            "wrong": sum(len(line["wrong"]) for line in accepted),
            "sampled": sum(line["sampled"] for line in accepted),
            "invalid": sum(len(line["invalid"]) for line in accepted),
            "seconds, longest": round(max((line["seconds"] for line in accepted), default=0.0), 2),
        }
        refusals = [{"refused": line["group"], "why": line["why"]} for line in lines if not line["accepted"]]
        return "\n\n".join(filter(None, (table_of([row]), table_of(refusals))))


if __name__ == "__main__":
    JsonSuite.main()
