"""Do constraints of ten families of any size get good texts, in seconds?

    python -m studies.families.study --dataset_path validation.jsonl --instances 50 --output runs/families.jsonl

The families are those of NFA-LM (arXiv 2609.40185), texts have 1 to 64 tokens. Ways: `default`, one automaton where it
has at most 2,000 states and parts otherwise; `mask`, the same without an HMM; `exact`, one automaton of at most 20,000
states or none; `ctrl-g`, that automaton given to a checkout of Ctrl-G, which has 256 s and 16 GB (--ctrl_g CHECKOUT);
`xgrammar`, a grammar for the same constraint (`pip install xgrammar`), the likeliest token at a time.
All seconds are of this process's processor time, because a machine may have other work; `wall` is what a clock says.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch

from ctrlg.automata.dfa import DFA
from ctrlg.constraints import Keywords
from ctrlg.defaults import EXACT_STATES, MAX_STATES
from ctrlg.errors import ArgumentError, BudgetError, CtrlGError
from ctrlg.generation import Generator, score_generated_ids
from ctrlg.generation.compiled import vocabulary_of
from ctrlg.parts.compiled_once import compiled_once
from studies.families.ctrl_g import CtrlG
from studies.families.grammars import grammar_of
from studies.families.instances import FAMILIES, Instance, instance_of
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped, table_of

MOST_TOKENS = 64


class Written(NamedTuple):
    """preparation, symbolic, neural: seconds. refused: why there is no text."""

    text: str = ""
    log_prob: float | None = None
    preparation: float = 0.0
    symbolic: float = 0.0
    neural: float = 0.0
    refused: str = ""


class Families(Study):
    key = ("way", "family", "number")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
        flags.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
        flags.add_argument("--ctrl_g", metavar="CHECKOUT", help="of Ctrl-G, for its way")
        flags.add_argument("--instances", type=int, default=50, help="of each family")
        flags.share("hmm", "model", "concept_sets", "beams", "seed", threads=1)

    def check(self) -> None:
        checkout = self.arguments.ctrl_g
        if checkout and not Path(checkout, "ctrlg", "__init__.py").is_file():
            raise ArgumentError(f"{checkout} is no checkout of Ctrl-G", hint="the folder that its package ctrlg is in")
        if "ctrl-g" in self.arguments.ways and not checkout:
            self.say("Ctrl-G is left out: --ctrl_g CHECKOUT names its code")

    def batches(self) -> Iterable[Sequence[Key]]:
        for number in range(self.arguments.instances):
            for family in self.arguments.families:
                for way in self.arguments.ways:
                    if (way != "xgrammar" or self._has_xgrammar) and (way != "ctrl-g" or self.arguments.ctrl_g):
                        yield [(way, family, number)]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """One text for an instance, and what it took; nothing is kept from the instances before."""
        for way, family, number in keys:
            instance = instance_of(family, number, list(self.sets.values()), self.arguments.seed)
            warm_up(*self.models, self.hmm)
            compiled_once.clear()
            started = time.monotonic()
            with processor_time():
                written = WAYS[way](self, instance)
            kept = not written.refused and instance.constraint.holds(written.text)
            more = {"words": list(instance.words), "k1": instance.k1, "kept": kept, "wall": time.monotonic() - started}
            yield (way, family, number), written._asdict() | more

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each way, and one for each way and family."""
        mine = [line for line in lines if self.asks_for(line)]
        rows = [_row({"way": way, "family": "all"}, some) for (way,), some in grouped(mine, "way").items()]
        for (way, family), some in grouped(mine, "way", "family").items():
            rows.append(_row({"way": way, "family": family}, some))
        return table_of(rows)

    def write_guided(self, instance: Instance, hmm: Any) -> Written:
        """A text by search, of a generator that has prepared nothing yet."""
        return self._search(Generator(*self.models, hmm, max_states=EXACT_STATES), instance.constraint)

    def write_exactly(self, instance: Instance) -> Written:
        """A text by search with one automaton; refused where it has too many states."""
        dfa, compiled = self._one_automaton(instance)
        if dfa is None:
            return compiled
        written = self._search(Generator(*self.models, self.hmm), dfa)
        return written._replace(preparation=compiled.preparation + written.preparation)

    def write_by_ctrl_g(self, instance: Instance) -> Written:
        """A text by Ctrl-G's code with the same automaton; to compile it is not part of its limit."""
        dfa, compiled = self._one_automaton(instance)
        if dfa is None:
            return compiled
        end = self._vocabulary.eos_token_id
        found = self._ctrl_g.write(dfa, end, MOST_TOKENS, self.arguments.beams)
        if "refused" in found:
            return compiled._replace(refused=found["refused"])
        spent = (compiled.preparation + found["preparation"], found["symbolic"], found["neural"])
        return self._read(found["ids"], end, spent)

    def _one_automaton(self, instance: Instance) -> tuple[DFA | None, Written]:
        """The instance's automaton, or None, and the seconds it took or why it was refused."""
        started = time.perf_counter()
        try:
            dfa, refused = instance.constraint.compile(self._vocabulary, max_states=MAX_STATES), ""
        except BudgetError as error:
            dfa, refused = None, str(error)
        return dfa, Written(preparation=time.perf_counter() - started, refused=refused)

    def write_by_grammar(self, instance: Instance) -> Written:
        """A text of xgrammar's, the likeliest token at a time; not kept where it has not come to its end."""
        xgrammar = importlib.import_module("xgrammar")
        LogitsProcessor: Any = importlib.import_module("xgrammar.contrib.hf").LogitsProcessor

        class Timed(LogitsProcessor):
            seconds = 0.0

            def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
                begun = time.perf_counter()
                result = super().__call__(input_ids, scores)
                self.seconds += time.perf_counter() - begun
                return result

        model, _ = self.models
        end = self._vocabulary.eos_token_id
        started = time.perf_counter()
        compiler = xgrammar.GrammarCompiler(self._xgrammar_tokens, max_threads=1, cache_enabled=False)
        processor = Timed(compiler.compile_grammar(grammar_of(instance)))
        preparation = time.perf_counter() - started
        rows = model.generate(
            torch.tensor([[end]]),
            max_new_tokens=MOST_TOKENS + 1,
            do_sample=False,
            logits_processor=[processor],
            eos_token_id=end,
            pad_token_id=end,
        )
        neural = time.perf_counter() - started - preparation - processor.seconds
        return self._read(rows[0, 1:].tolist(), end, (preparation, processor.seconds, neural))

    def _read(self, ids: Sequence[int], end: int, spent: tuple[float, float, float]) -> Written:
        """What tokens of another program say, and how likely they are."""
        model, _ = self.models
        if end not in ids:
            text = self._vocabulary.join(ids).decode("utf-8", errors="replace")
            return Written(text, None, *spent, refused=f"no end within {MOST_TOKENS} tokens")
        content = list(ids[: ids.index(end)])
        (scored,) = score_generated_ids(model, [content], [end], [end])
        return Written(self._vocabulary.join(content).decode("utf-8", errors="replace"), scored.log_prob, *spent)

    def _search(self, generator: Generator, constraint: Any) -> Written:
        try:
            (best, *_) = generator(constraint, max_new_tokens=MOST_TOKENS, num_beams=self.arguments.beams)
        except CtrlGError as error:
            return Written(refused=str(error))
        timing = best.timing
        return Written(best.text, best.log_prob, timing.preparation, timing.symbolic, timing.neural)

    @cached_property
    def _vocabulary(self) -> Any:
        return vocabulary_of(*self.models, self.hmm)

    @cached_property
    def _ctrl_g(self) -> CtrlG:
        return CtrlG.of(self.arguments.ctrl_g, self.models[0], self.reference)

    @cached_property
    def _has_xgrammar(self) -> bool:
        found = importlib.util.find_spec("xgrammar") is not None
        if not found:
            self.say("xgrammar is not installed and left out")
        return found

    @cached_property
    def _xgrammar_tokens(self) -> Any:
        xgrammar = importlib.import_module("xgrammar")
        model, tokenizer = self.models
        return xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=model.config.vocab_size)


WAYS: dict[str, Callable[[Families, Instance], Written]] = {
    "default": lambda study, instance: study.write_guided(instance, study.hmm),
    "mask": lambda study, instance: study.write_guided(instance, None),
    "xgrammar": Families.write_by_grammar,
    "exact": Families.write_exactly,
    "ctrl-g": Families.write_by_ctrl_g,
}


@cache
def warm_up(model: Any, tokenizer: Any, hmm: Any) -> None:
    """Load what a process loads once, kernels and the vocabulary's tables, so that no text is charged with it."""
    Generator(model, tokenizer, hmm, max_states=1)(Keywords(["cat", "dog"]), max_new_tokens=8, num_beams=2)


@contextmanager
def processor_time() -> Iterator[None]:
    """Whatever is timed meanwhile is timed by this process's processor time."""
    with mock.patch("time.perf_counter", time.process_time):
        yield


def _row(names: dict[str, str], lines: Sequence[Line]) -> dict[str, object]:
    """Success, and of those texts that were written the median and worst seconds."""
    good = [line for line in lines if line["kept"]]
    row: dict[str, object] = {**names, "success": f"{len(good)}/{len(lines)}"}
    refused = [line for line in lines if line["refused"]]
    row["no text"] = str(len(refused))
    together = [line["preparation"] + line["symbolic"] for line in lines if not line["refused"]]
    row["preparation + symbolic, s"] = median_and_worst(together)
    for name in ("preparation", "symbolic", "neural"):
        row[f"{name}, s"] = median_and_worst([line[name] for line in lines if not line["refused"]])
    row["nats a token"] = f"{statistics.mean(line['log_prob'] for line in good):.2f}" if good else ""
    return row


def median_and_worst(values: Sequence[float]) -> str:
    """ "1.20 (3.40)", the larger one the worst; "" of none."""
    return f"{statistics.median(values):.2f} ({max(values):.2f})" if values else ""


if __name__ == "__main__":
    Families.main()
