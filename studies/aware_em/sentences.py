"""What do HMMs of Norm-Q aware EM write? Beside the float HMM, and the same quantised only after the last step.

    python -m studies.aware_em.sentences --training runs/samples/commongen.train.[0-2] \\
        --checkpoint runs/h128/checkpoint-0 --dataset_path validation.jsonl --output runs/aware_sentences.jsonl
    python scripts/test_acc.py --result runs/aware_sentences.jsonl --dataset_path validation.jsonl --against float

EM as in aware_em_study.py; each model writes a sentence for every concept set, a line of OUTPUT. Methods are called
"float", "norm-q afterwards" and "norm-q aware" there. What is written already is not written again, and a model that
has written everything is not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from ctrlg.devices import fast_dtype
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.output import KEY
from ctrlg.evaluation.writing import write_sentences
from ctrlg.files.atomic import writable_folder
from ctrlg.files.folders import HMM_FOLDER, atomic_folder
from ctrlg.files.records import StudyLines
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import check_tokens
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization import comparison_hmm
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from studies.aware_em.intervals import SeedStudy, StudyRun, StudySettings

FLOAT = "float"


def main() -> None:
    arguments = parse_arguments()
    sets = read_concept_sets(arguments.dataset_path, arguments.sets)
    settings = StudySettings(steps=arguments.steps, training_sequences=arguments.training_sequences)
    start = HMM.from_pretrained(arguments.checkpoint, map_location=arguments.device)
    training = torch.cat([read_sequences(file) for file in arguments.training])
    check_tokens(training, start.vocab_size)
    lines = StudyLines(arguments.output, KEY)
    if arguments.save_float:
        writable_folder(Path(arguments.save_float).parent)
    wanted = settings_of(arguments)
    for run in wanted.values():
        settings.schedule(run)
    language_model = load_language_model(arguments.base_model, arguments.device, fast_dtype(arguments.device))
    for seed in arguments.seeds:
        keys = {way: [(*way, "hard", seed, each.number) for each in sets] for way in wanted}
        left = {way: run._replace(seed=seed) for way, run in wanted.items() if any(k not in lines for k in keys[way])}
        if not left:
            continue
        study = SeedStudy(settings, seed, training, training[:0], start, list(left.values()))
        for way, run in left.items():
            before, _ = study.estimates(run)
            floats = HMM.of_parameters(*before, start.eos_token_id, start.fingerprint)
            hmm = floats if way[0] == FLOAT else comparison_hmm(floats, run.method, run.bits)
            if way[0] == FLOAT and arguments.save_float and not Path(arguments.save_float).exists():
                with atomic_folder(arguments.save_float, HMM_FOLDER) as folder:
                    floats.save_pretrained(folder)
            for sentence in write_sentences(
                *language_model,
                hmm,
                sets,
                arguments.beams,
                there=lambda each, way=way, seed=seed: (*way, "hard", seed, each.number) in lines,
            ):
                lines.add((*way, "hard", seed, sentence.concept_set.number), sentence.record)
            Console().print(f"seed {seed}: {way[0]}, {way[1]} bits", highlight=False)


def settings_of(arguments: argparse.Namespace) -> dict[tuple[str, int], StudyRun]:
    """What is written with: (name of the method, bits), and the run of EM that the HMM comes from."""
    method = arguments.method
    wanted = {(FLOAT, 32): StudyRun(method, arguments.bits[0], None, "plain", 0)}
    for bits in arguments.bits:
        wanted[f"{method} afterwards", bits] = StudyRun(method, bits, None, "plain", 0)
        wanted[f"{method} aware", bits] = StudyRun(method, bits, arguments.interval, "plain", 0)
    return wanted


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--training", nargs="+", required=True, help="sampled sequences")
    parser.add_argument("--checkpoint", required=True, help="the first HMM")
    parser.add_argument("--base_model", default="default", help="the language model they come from (%(default)s)")
    parser.add_argument("--method", default="norm-q", help="of docs/methods.md whose rows sum to 1 (%(default)s)")
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4, 3, 2])
    parser.add_argument("--interval", type=int, default=5, help="EM steps between quantisations (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="of EM (%(default)s)")
    parser.add_argument("--training_sequences", type=int, default=5000, help="of those given, by seed (%(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--dataset_path", required=True, help="concept sets, JSON lines")
    parser.add_argument("--sets", type=int, default=25, help="concept sets, spread evenly (%(default)s)")
    parser.add_argument("--beams", type=int, default=8)
    parser.add_argument("--save_float", default="", help="folder for the float HMM of the first seed")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
