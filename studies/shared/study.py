"""How every study runs: from flags to a file of results, to a table and to figures.

A study names the columns that tell its results apart, lists them in batches that share work, and measures a batch. What
is in the file of results already is not measured again, so that a study may be stopped, and widened by other flags.

    class Levels(Study):
        key = ("method", "bits")

        def batches(self): ...        # [[("norm-q", 8)], [("norm-q", 4)]]
        def measure(self, keys): ...  # yields (key, {"distinct": 17})
        def table(self, lines): ...   # of the lines, known and new

    if __name__ == "__main__":
        Levels.main()
"""

from __future__ import annotations

import argparse
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ctrlg.devices import fast_dtype
from ctrlg.errors import DataError
from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.writing import Sentence, write_sentences
from ctrlg.figures import check_figure_path, save_figure
from ctrlg.files.atomic import write_lines
from ctrlg.files.outputs import check_output_file
from ctrlg.files.records import StudyLines, read_study
from ctrlg.hmm import HMM
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.plain_console import PlainConsole
from studies.shared.flags import StudyFlags
from studies.shared.lines import Key, Line, numbers, shown

Measured = Iterator[tuple[Key, Line]]


class Study(ABC):
    """A question, and how it is answered; the first line of its module's docstring asks it.

    key: columns that tell results apart; none for a study that is measured whole, every time. figures: names of methods
    that return a figure of some lines, each a flag. for_table: required flags that the table needs, too. output: file
    of results where none is named. arguments: the flags' values. command: what was called, for the metadata of figures.
    lines: those that are there while a batch is measured.
    """

    key: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[str, ...]] = ()
    for_table: ClassVar[tuple[str, ...]] = ()
    output: ClassVar[str] = ""

    def __init__(self, arguments: argparse.Namespace, command: str = "") -> None:
        self.arguments = arguments
        self.lines: Sequence[Line] = ()
        self.command = command
        self._console = PlainConsole(stderr=True, soft_wrap=True)

    @classmethod
    def main(cls) -> None:
        """Run as a program."""
        with as_program():
            cls.run(sys.argv[1:])

    @classmethod
    def run(cls, argv: Sequence[str], program: str = "") -> Study:
        """Measure what is missing, print the table, write table and figures.

        program: the command before the flags, where it is not `python -m` and the module. Raises CtrlGError for what
        cannot be done, as early as it can be known.
        """
        module = sys.modules[cls.__module__]
        flags = StudyFlags(module.__doc__, cls.figures, cls.for_table, cls.output if cls.key else None)
        cls.add_flags(flags)
        spec = module.__spec__
        words = shlex.split(program) or ["python", "-m", spec.name if spec else cls.__module__]
        flags.prog = " ".join(words)
        study = cls(flags.parse(argv), shlex.join([*words, *argv]))
        study._check_outputs()
        found = study.digest([line for line in study._lines() if study.wants(line)])
        table = study.table(found)
        say(table)
        if study.arguments.table:
            write_lines(study.arguments.table, table)
        for name in cls.figures:
            for path in getattr(study.arguments, name):
                save_figure(getattr(study, name)(found), path, study.command)
        return study

    @classmethod
    @abstractmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        """The study's flags."""

    def check(self) -> None:  # noqa: B027 - most studies have nothing to refuse
        """Raise CtrlGError for what can be refused before any work."""

    @abstractmethod
    def batches(self) -> Iterable[Sequence[Key]]:
        """What to measure, in this order; the keys of a batch share work."""

    @abstractmethod
    def measure(self, keys: Sequence[Key]) -> Measured:
        """(key, values) of those keys of a batch that have no line yet, each written down as it comes."""

    def wants(self, line: Line) -> bool:
        """Whether a line, which an earlier command may have measured, belongs into the table and the figures."""
        return True

    def digest(self, lines: Sequence[Line]) -> Any:
        """What table and figures are made of, where it takes a while to make: the lines themselves, usually."""
        return lines

    @abstractmethod
    def table(self, lines: Any) -> str:
        """What is printed: a Markdown table. lines: of `digest`."""

    def results(self) -> StudyLines:
        """The file of results, opened to be written."""
        return StudyLines(self.arguments.output, self.key)

    def known(self, path: str) -> Sequence[Line]:
        """The lines of a file of results, to be read only."""
        return read_study(path, self.key)

    def say(self, text: object) -> None:
        """Tell the user how things are, above the bar; the standard output is for the table."""
        self._console.print(text, highlight=False)

    @cached_property
    def models(self) -> tuple[Any, Any]:
        """The language model that was named, in the device's fast type, and its tokenizer."""
        return self.load_model(self.arguments.model)

    @cached_property
    def exact_models(self) -> tuple[Any, Any]:
        """The same in float32."""
        return load_language_model(self.arguments.model, self.arguments.device)

    @cached_property
    def hmm(self) -> Any:
        """The HMM that was named, as it is stored."""
        return load_hmm(self.arguments.hmm, self.arguments.device)

    @cached_property
    def reference(self) -> HMM:
        """The HMM that was named, in float32."""
        return float_hmm(self.arguments.hmm, self.arguments.device)

    def load_model(self, name: str) -> tuple[Any, Any]:
        """A language model in the device's fast type, and its tokenizer."""
        return load_language_model(name, self.arguments.device, fast_dtype(self.arguments.device))

    @cached_property
    def sets(self) -> dict[int, ConceptSet]:
        """The concept sets that were named, by their numbers: all, or --sets of them."""
        chosen = read_concept_sets(self.arguments.concept_sets, getattr(self.arguments, "sets", None))
        return {each.number: each for each in chosen}

    def sentences(
        self, models: tuple[Any, Any], hmm: Any, numbers: Iterable[int], **options: Any
    ) -> Iterator[Sentence]:
        """What is written for the concept sets of these numbers; options: of `write_sentences`."""
        wanted = set(numbers)
        sets = list(self.sets.values())
        options = {"beams": self.arguments.beams, "there": lambda member: member.number not in wanted} | options
        return write_sentences(*models, hmm, sets, **options)

    def asks_for(self, line: Line) -> bool:
        """Whether this command would measure the line; every line is asked for by --summarize."""
        key = tuple(line[name] for name in self.key)
        return bool(self.arguments.summarize) or any(key in keys for keys in self.batches())

    def _check_outputs(self) -> None:
        for name in self.figures:
            for path in getattr(self.arguments, name):
                check_figure_path(path)
        if self.arguments.table:
            check_output_file(self.arguments.table, "--table")
        if getattr(self.arguments, "threads", 0):
            torch.set_num_threads(self.arguments.threads)

    def _lines(self) -> Sequence[Line]:
        """All lines: those of the file to summarize, or those that are there when everything is measured."""
        if not self.key:
            self.check()
            return [values for keys in self.batches() for _, values in self.measure(keys)]
        if path := self.arguments.summarize:
            if not Path(path).is_file():
                raise DataError(f"no such file of results: {path}", hint="give the --output of this study")
            return self.known(path)
        self.check()
        with self.results() as results:
            self._measure_missing(results)
        return results.lines

    def _measure_missing(self, results: StudyLines) -> None:
        self.lines = results.lines
        batches = [list(keys) for keys in self.batches()]
        bar = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Progress(*bar, console=self._console, disable=not self._console.is_terminal) as progress:
            task = progress.add_task("", total=sum(map(len, batches)))
            for keys in batches:
                missing = [key for key in keys if key not in results]
                progress.advance(task, len(keys) - len(missing))
                if not missing:
                    continue
                progress.update(task, description=shown(missing[0]))
                for key, values in self.measure(missing):
                    self.say(f"{shown(key)}: {shown(numbers(results.add(key, values), self.key))}")
                progress.advance(task, len(missing))
