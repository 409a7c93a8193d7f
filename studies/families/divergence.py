"""How far is a guide in parts from the exact one, by what its core may grow to?

    python -m studies.families.divergence --dataset_path validation.jsonl --sets 20 --output runs/divergence.jsonl

The exact guide writes a text; before every token of it the distribution of the next one, language model and guide
together, is compared: the KL divergence from the exact guide to the one in parts, over the tokens that both allow, and
the probability of those that the one in parts forbids. `mask` has no guide. Kinds of constraints: 5 keywords with 8
to 20 words, and 7 keywords without a number of words.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctrlg.automata.utf8 import whole_characters
from ctrlg.constraints import Keywords, WordCount
from ctrlg.constraints.base import Constraint, Target
from ctrlg.decoding.guides import guide_of
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.defaults import MAX_STATES
from ctrlg.errors import BudgetError
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.generation.compiled import suffix_ids_of, vocabulary_of
from ctrlg.parts.factored import Factored, multiplied
from studies.families.instances import merged
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped, table_of

EXACT = 2 * MAX_STATES
KINDS: dict[str, tuple[int, int, bool]] = {
    "5 and 8 to 20 words": (5, 32, True),
    "7 keywords": (7, 24, False),
    "2 keywords": (2, 16, False),
}
"""Keywords, most tokens, and whether there is a number of words."""


class Divergence(Study):
    key = ("kind", "number", "most_nodes")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--nodes", nargs="+", type=int, default=[100, 300, 1000, 3000])
        flags.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS)[:2])
        flags.add_argument("--sets", type=int, default=20, help="of keywords, for each kind")
        flags.share("hmm", "model", "concept_sets", "seed", beams=4, threads=1)

    def batches(self) -> Iterable[Sequence[Key]]:
        for number in range(self.arguments.sets):
            for kind in self.arguments.kinds:
                yield [(kind, number, nodes) for nodes in self.arguments.nodes]

    @torch.no_grad()
    def measure(self, keys: Sequence[Key]) -> Measured:
        """The exact guide and its text once; for each budget the means over the text's places."""
        kind, number, _ = keys[0]
        count, most_tokens, with_words = KINDS[kind]
        random = np.random.default_rng([self.arguments.seed, count, number])
        constraint: Constraint = Keywords([[word] for word in merged(self._all_sets, count, random)], inflect=True)
        if with_words:
            constraint = constraint & WordCount(8, 20)
        clauses = constraint.clauses(Target(self._vocabulary, "", ".", MAX_STATES))
        try:
            exact = self._guide(multiplied(clauses, EXACT), most_tokens)
        except BudgetError as error:
            for key in keys:
                yield key, {"refused": str(error)}
            return
        ids = self._written(exact, most_tokens)
        scores = self.models[0](ids[None]).logits[0, :, : self._vocabulary.vocab_size].float()
        places = len(ids) - 2  # those before content
        truth = (scores + exact.log_ratios(ids)).log_softmax(-1)[:places]
        bare = scores.log_softmax(-1)[:places]
        for key in keys:
            started = time.process_time()
            parts = Factored.of(clauses, self._vocabulary.vocab_size, key[2])
            guide = self._guide(parts, most_tokens)
            seconds = time.process_time() - started
            other = (scores + guide.log_ratios(ids)).log_softmax(-1)[:places]
            yield (
                key,
                {
                    "refused": "",
                    "text": self._vocabulary.join(ids[1:].tolist()).decode("utf-8", errors="replace"),
                    "divergence": _divergence(truth, other),
                    "divergence_of_mask": _divergence(truth, bare),
                    "forbidden": float(truth.exp()[torch.isinf(other)].sum()) / places,
                    "log_probability": guide.log_probability[0],
                    "exact_log_probability": exact.log_probability[0],
                    "core": parts.core.num_states,
                    "clauses": len(parts.clauses),
                    "seconds": seconds,
                },
            )

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each kind and budget: means over the sets."""
        mine = [line for line in lines if self.asks_for(line) and not line["refused"]]
        rows: list[dict[str, object]] = []
        for (kind, nodes), some in sorted(grouped(mine, "kind", "most_nodes").items()):
            row: dict[str, object] = {"kind": kind, "most nodes": nodes, "sets": len(some)}
            for title, name, digits in (
                ("KL, nats", "divergence", 3),
                ("of the mask", "divergence_of_mask", 3),
                ("forbidden", "forbidden", 4),
                ("states of the core", "core", 0),
                ("clauses apart", "clauses", 1),
                ("CPU s", "seconds", 2),
            ):
                row[title] = f"{statistics.mean(line[name] for line in some):.{digits}f}"
            rows.append(row)
        return table_of(rows)

    def _guide(self, automaton: Any, most_tokens: int) -> ConstraintLogitsProcessor:
        suffix = suffix_ids_of(self._vocabulary, ".")
        end = self._vocabulary.eos_token_id
        mask = whole_characters(self._vocabulary)
        guide = guide_of(self.hmm, automaton, mask, suffix, [(1, most_tokens)], end)
        return ConstraintLogitsProcessor.from_guide(self.hmm, guide, [end])

    def _written(self, processor: ConstraintLogitsProcessor, most_tokens: int) -> Tensor:
        end = self._vocabulary.eos_token_id
        return self.models[0].generate(
            torch.tensor([[end]]),
            num_beams=self.arguments.beams,
            do_sample=False,
            max_new_tokens=most_tokens + 2,
            logits_processor=[processor],
            eos_token_id=end,
            pad_token_id=end,
        )[0]

    @cached_property
    def _vocabulary(self) -> Any:
        return vocabulary_of(*self.models, self.hmm)

    @cached_property
    def _all_sets(self) -> list[ConceptSet]:
        return read_concept_sets(self.arguments.concept_sets)


def _divergence(truth: Tensor, other: Tensor) -> float:
    """KL in nats, mean over the rows of two tables of log-probabilities, over the tokens that both allow."""
    total = 0.0
    for one, two in zip(truth, other, strict=True):
        both = torch.isfinite(one) & torch.isfinite(two)
        left, right = one[both].log_softmax(-1), two[both].log_softmax(-1)
        total += float((left.exp() * (left - right)).sum())
    return total / len(truth)


if __name__ == "__main__":
    Divergence.main()
