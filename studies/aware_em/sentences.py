"""What do HMMs of Norm-Q aware EM write? Beside the float HMM, and the same quantised only after the last step.

    python -m studies.aware_em.sentences --training runs/samples/commongen.train.[0-2] \\
        --checkpoint runs/h128/checkpoint-0 --data validation.jsonl --output runs/aware_sentences.jsonl
    python scripts/test_acc.py --result runs/aware_sentences.jsonl --data validation.jsonl --against float

EM as in `studies.aware_em.study`; each model writes a sentence for every concept set, a line of OUTPUT. Methods are
called "float", "norm-q afterwards" and "norm-q aware" there. What is written already is not written again, and a
model that has written everything is not trained again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.evaluation.output import KEY
from ctrlg.files.atomic import writable_folder
from ctrlg.files.folders import HMM_FOLDER, atomic_folder
from ctrlg.files.records import mean_and_deviation
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import check_tokens
from ctrlg.quantization import comparison_hmm
from studies.aware_em.intervals import SeedStudy, StudyRun, StudySettings
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped, kept, table_of

FLOAT = "float"


class AwareSentences(Study):
    key = KEY

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--checkpoint", required=True, help="the first HMM")
        add("--method", default="norm-q", help="of docs/methods.md whose rows sum to 1")
        add("--interval", type=int, default=5, help="EM steps between quantizations")
        add("--training_sequences", type=int, default=5000, help="of those given, by seed")
        add("--save_float", default="", help="folder for the float HMM of the first seed")
        flags.share("training", "model", "concept_sets", "bits", "seeds", "beams", steps=20, sets=25)

    def check(self) -> None:
        chosen = self.arguments
        self.settings = StudySettings(steps=chosen.steps, training_sequences=chosen.training_sequences)
        self.start = HMM.from_pretrained(chosen.checkpoint, map_location=chosen.device)
        self.training = torch.cat([read_sequences(file) for file in chosen.training])
        check_tokens(self.training, self.start.vocab_size)
        if chosen.save_float:
            writable_folder(Path(chosen.save_float).parent)
        for run in self.runs().values():
            self.settings.schedule(run)

    def runs(self, seed: int = 0) -> dict[tuple[str, int], StudyRun]:
        """What is written with: (name of the method, bits), and the run of EM that the HMM comes from."""
        method, interval = self.arguments.method, self.arguments.interval
        wanted = {(FLOAT, 32): StudyRun(method, self.arguments.bits[0], None, "plain", seed)}
        for bits in self.arguments.bits:
            wanted[f"{method} afterwards", bits] = StudyRun(method, bits, None, "plain", seed)
            wanted[f"{method} aware", bits] = StudyRun(method, bits, interval, "plain", seed)
        return wanted

    def batches(self) -> Iterable[Sequence[Key]]:
        for seed in self.arguments.seeds:
            yield [(*way, "hard", seed, number) for way in self.runs() for number in self.sets]

    def measure(self, keys: Sequence[Key]) -> Measured:
        chosen, seed = self.arguments, keys[0][3]
        left = {way: run for way, run in self.runs(seed).items() if any(key[:2] == way for key in keys)}
        study = SeedStudy(self.settings, seed, self.training, self.training[:0], self.start, list(left.values()))
        for way, run in left.items():
            before, _ = study.estimates(run)
            floats = HMM.of_parameters(*before, self.start.eos_token_id, self.start.fingerprint)
            hmm = floats if way[0] == FLOAT else comparison_hmm(floats, run.method, run.bits)
            if way[0] == FLOAT and chosen.save_float and not Path(chosen.save_float).exists():
                with atomic_folder(chosen.save_float, HMM_FOLDER) as folder:
                    floats.save_pretrained(folder)
            missing = [number for *setting, number in keys if tuple(setting[:2]) == way]
            for sentence in self.sentences(self.models, hmm, missing):
                yield (*way, "hard", seed, sentence.concept_set.number), sentence.record

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each HMM; scores against references are scripts/test_acc.py's."""
        return table_of(
            [
                {
                    "HMM": method,
                    "bits": bits,
                    "kept": kept(mine),
                    "log-probability": mean_and_deviation([line["log_prob"] for line in mine]),
                }
                for (method, bits), mine in grouped(lines, "method", "bits").items()
            ]
        )


if __name__ == "__main__":
    AwareSentences.main()
