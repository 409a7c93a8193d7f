"""Does EM that is aware of quantization end better than quantizing afterwards? The interval study of Norm-Q.

    python -m studies.aware_em.study --training runs/samples/commongen.train.{0,1,2} \\
        --test runs/samples/commongen.test --vocab_size 49152 --eos_token_id 0 \\
        --output runs/aware_em.jsonl --plot fig/aware_em.png fig/aware_em.svg
    python -m studies.aware_em.study ... --methods log-norm-q k-means --variants annealed straight-through

Every run's result is a line of OUTPUT; what is there already is not run again. EM starts from a random model of
--hidden_states states, another for each seed, or from --checkpoint (whose sizes count); the seed also samples
the training rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.files.records import StudyLines
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import check_tokens
from studies.aware_em.intervals import VARIANTS, SeedStudy, StudyRun, StudySettings, random_model
from studies.aware_em.results import IntervalLines, plot_study, read_results, results_of
from studies.shared import Key, Line, Measured, Study, StudyFlags, pivot


class Intervals(Study):
    key = StudyRun._fields
    figures = ("figure",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--vocab_size", type=int, required=True)
        add("--eos_token_id", type=int, required=True)
        add("--variants", nargs="+", default=["plain"], help=f"some of {', '.join(VARIANTS)}")
        add("--intervals", nargs="+", default=["1", "2", "5", "10", "20", "50", "none"], help="EM steps")
        add("--checkpoint", default="", help="first model, instead of random ones")
        add("--training_sequences", type=int, default=5000, help="sampled from those given for each seed")
        add("--test_sequences", type=int, default=2500)
        add("--pseudocount", type=float, default=0.001)
        add("--straight_through_rate", type=float, default=0.5)
        flags.share("training", "test", methods=["norm-q"], bits=[3, 4, 8], seeds=[0, 1, 2])
        flags.share(hidden_states=128, steps=50, batch_size=512, threads=1)

    @cached_property
    def settings(self) -> StudySettings:
        """What all runs share."""
        names = ("hidden_states", "steps", "training_sequences", "batch_size", "pseudocount", "straight_through_rate")
        return StudySettings(*(getattr(self.arguments, name) for name in names))

    def check(self) -> None:
        for run in self.runs():
            self.settings.schedule(run)
        chosen = self.arguments
        self.start = HMM.from_pretrained(chosen.checkpoint) if chosen.checkpoint else None
        self.training = torch.cat([read_sequences(file) for file in chosen.training])
        self.test: Tensor = read_sequences(chosen.test)[: chosen.test_sequences]
        for sequences in (self.training, self.test):
            check_tokens(sequences, self.start.vocab_size if self.start else chosen.vocab_size)

    def results(self) -> StudyLines:
        names = ("training", "test", "test_sequences", "checkpoint", "vocab_size", "eos_token_id")
        identity = vars(self.settings) | {name: getattr(self.arguments, name) for name in names}
        return IntervalLines(self.arguments.output, identity)

    def known(self, path: str) -> Sequence[Line]:
        return read_results(path)[1]

    def runs(self) -> list[StudyRun]:
        """All that are asked for, a seed after the other."""
        chosen = self.arguments
        intervals = [None if text == "none" else int(text) for text in chosen.intervals]
        parts = product(chosen.seeds, chosen.methods, chosen.variants, chosen.bits, intervals)
        return [StudyRun(method, bits, interval, variant, seed) for seed, method, variant, bits, interval in parts]

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[run for run in self.runs() if run.seed == seed] for seed in self.arguments.seeds]

    def measure(self, keys: Sequence[Key]) -> Measured:
        runs = [StudyRun(*key) for key in keys]
        chosen, seed = self.arguments, runs[0].seed
        first = self.start or random_model(chosen.hidden_states, chosen.vocab_size, chosen.eos_token_id, seed)
        study = SeedStudy(self.settings, seed, self.training, self.test, first.to(chosen.device), runs)
        self.say(f"seed {seed}: {study.tokens:,} training tokens")
        for run in runs:
            started = time.monotonic()
            result = study.run(run)
            yield run, {**result._asdict(), "seconds": round(time.monotonic() - started, 1)}

    def wants(self, line: Line) -> bool:
        return self.asks_for(line)

    def table(self, lines: Sequence[Line]) -> str:
        """Test likelihood after the last quantization, a column for each interval."""
        return pivot(lines, ("method", "variant", "bits"), "interval", "test_after")

    def figure(self, lines: Sequence[Line]) -> Any:
        return plot_study(results_of(lines))


if __name__ == "__main__":
    Intervals.main()
