"""Norm-Q's benchmark: an HMM compressed in many ways, and what each of them writes for CommonGen's concept sets."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ctrlg.automata.dfa import DFA
from ctrlg.defaults import MAX_STATES
from ctrlg.devices import checked_device, fast_dtype, varied_shapes
from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.output import SETTINGS, open_lines, write_list
from ctrlg.evaluation.writing import Sentence, write_sentences
from ctrlg.files.records import StudyLines
from ctrlg.hmm import HMM
from ctrlg.loading import load_hmm
from ctrlg.loading.hmms import hmm_folder
from ctrlg.loading.language_models import load_language_model
from ctrlg.matrices import CompressedMatrix, DenseMatrix, WrappedMatrix
from ctrlg.quantization import QuantizedHMM
from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.methods import find_method
from ctrlg.quantization.rows import check_bits
from ctrlg.quantization.unnormalised import UnnormalisedHMM
from ctrlg.storage.layouts import pack_matrix
from ctrlg.vocabulary.token_bytes import Vocabulary

FLOAT, MASK_ONLY = "float32", "mask-only"
SUFFIX = "."  # what `generate_many` compiles a constraint with


class Setting(NamedTuple):
    """A method of `METHODS` and its bits; "float32" with 32, for the HMM as it is; "mask-only" with 0, for none."""

    method: str
    bits: int


class Guide(NamedTuple):
    """What steers, None for the mask alone, and the bytes it takes on disk."""

    hmm: Any
    size: int


def grid_part(method: str, bits: int) -> str:
    """A method and its bits as `parse_grid` reads them; what has no bits stands alone."""
    return method if method in (FLOAT, MASK_ONLY) else f"{method}:{bits}"


def parse_grid(parts: Iterable[str]) -> list[Setting]:
    """Settings of "norm-q:8,4,3", "log-norm-q:4", "float32", "mask-only"; each once, in order.

    Raises ArgumentError for another form, unknown methods and bits out of a method's range.
    """
    settings: dict[Setting, None] = {}
    for part in parts:
        method, _, numbers = part.partition(":")
        if method in (FLOAT, MASK_ONLY) and not numbers:
            settings[Setting(method, 32 if method == FLOAT else 0)] = None
            continue
        most = find_method(method).most_bits
        try:
            bits = [int(number) for number in numbers.split(",")]
        except ValueError as error:
            raise ArgumentError(f"{part!r} names no bits", hint='write it as "norm-q:8,4,3"') from error
        for number in bits:
            check_bits(number, most)
            settings[Setting(method, number)] = None
    return list(settings)


def run_benchmark(
    settings: BenchmarkSettings,
    grid: Sequence[Setting],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> StudyLines:
    """Write the ranked sentences of every concept set, setting and seed that the output lacks; returns all its lines.

    report: told after every concept set how many of how many are there. Raises, before any work, ArgumentError for a
    device that cannot be used, for an output that cannot be used or was written with other settings and for a soft mask
    without an HMM, DataError for the dataset, CheckpointError for models that cannot be loaded.
    """
    if settings.soft_mask and any(setting.method == MASK_ONLY for setting in grid):
        raise ArgumentError("mask-only with a soft mask: nothing would steer", hint="leave one of them out")
    checked_device(settings.device)
    sets = {seed: _own(settings, concept_sets(settings, seed)) for seed in settings.seeds}
    common = _common(settings)
    with open_lines(settings.output_path, common) as lines:
        _check_concepts(lines, [member for members in sets.values() for member in members])
        _write_missing(settings, grid, sets, common, lines, report)
        write_list(settings.output_path, lines)
    return lines


def _own(settings: BenchmarkSettings, sets: list[ConceptSet]) -> list[ConceptSet]:
    """The concept sets of this process."""
    groups = [sets[first : first + settings.together] for first in range(0, len(sets), settings.together)]
    return [member for group in groups[settings.part :: settings.parts] for member in group]


@varied_shapes()
def _write_missing(
    settings: BenchmarkSettings,
    grid: Sequence[Setting],
    sets: dict[int, list[ConceptSet]],
    common: dict[str, Any],
    lines: StudyLines,
    report: Callable[[int, int], None],
) -> None:
    began = time.monotonic()
    reference = float_hmm(settings.hmm_model_path)
    total = len(grid) * sum(map(len, sets.values()))
    members_of = [(seed, member) for seed, members in sets.items() for member in members]
    done = sum(_key(settings, setting, *member) in lines for setting in grid for member in members_of)
    report(done, total)
    loaded: tuple[Any, Any] | None = None
    guides: dict[Setting, Guide] = {}
    automata: dict[int, DFA] = {}
    rounds: list[float] = []  # when each began

    def compiled(member: ConceptSet) -> DFA:
        if member.number not in automata:
            constraint = member.constraint(settings.least_words, settings.most_words)
            vocabulary = Vocabulary.of(loaded[1], reference.vocab_size, reference.eos_token_id) if loaded else None
            automata[member.number] = constraint.compile(vocabulary, prefix="", suffix=SUFFIX, max_states=MAX_STATES)
        return automata[member.number]

    for is_next_round, setting, seed, members in _rounds(settings, grid, sets):
        if is_next_round and settings.seconds is not None:
            automata.clear()
            rounds.append(time.monotonic())
            latest = rounds[-1] - rounds[-2] if len(rounds) > 2 else 0.0  # the first one loads and compresses, too
            if len(rounds) > 1 and rounds[-1] - began + latest > settings.seconds:
                return
        if all(_key(settings, setting, seed, member) in lines for member in members):
            continue
        loaded = loaded or load_language_model(settings.base_model, settings.device, fast_dtype(settings.device))
        if setting not in guides:
            if settings.seconds is None:
                guides.clear()  # it will not be asked for again
            guides[setting] = _guide_on(settings.device, reference, setting)
        for sentence in write_sentences(
            *loaded,
            guides[setting].hmm,
            members,
            settings.beams,
            settings.max_new_tokens,
            settings.soft_mask,
            (settings.least_words, settings.most_words),
            settings.together,
            lambda member, setting=setting, seed=seed: _key(settings, setting, seed, member) in lines,
            compiled if settings.seconds is not None and setting.method != MASK_ONLY else None,
        ):
            key = _key(settings, setting, seed, sentence.concept_set)
            line = {**_line(sentence, settings.most_sentences), "bytes": guides[setting].size, SETTINGS: common}
            lines.add(key, line)
            done += 1
            report(done, total)


def _rounds(
    settings: BenchmarkSettings, grid: Sequence[Setting], sets: dict[int, list[ConceptSet]]
) -> Iterator[tuple[bool, Setting, int, list[ConceptSet]]]:
    """(whether a round begins, setting, seed, concept sets to write): a round is a setting, or, where time is short, a
    group of concept sets."""
    if settings.seconds is None:
        for setting in grid:
            for number, (seed, members) in enumerate(sets.items()):
                yield number == 0, setting, seed, members
        return
    for seed, members in sets.items():
        for first in range(0, len(members), settings.together):
            for number, setting in enumerate(grid):
                yield number == 0, setting, seed, members[first : first + settings.together]


def _guide_on(device: str, reference: HMM, setting: Setting) -> Guide:
    """What steers, on the device. Compressed matrices are made for processors: other devices get the dense ones that
    they stand for, which are multiplied faster there, without the logarithms that an HMM holds besides: guides of all
    settings are in memory together."""
    elsewhere = torch.device(device).type != "cpu"
    if elsewhere and setting.method in (FLOAT, "norm-q", "log-norm-q"):  # plain torch, faster there
        reference = reference.sharing().to(device)
    hmm = guide(reference, setting)
    size = stored_bytes(reference, hmm, setting)
    if hmm is None or not elsewhere or isinstance(hmm, UnnormalisedHMM):
        return Guide(None if hmm is None else hmm.to(device), size)
    transition, emission = (DenseMatrix(matrix.to_dense()).to(device) for matrix in (hmm.transition, hmm.emission))
    initial = hmm.initial.to(device)
    return Guide(UnnormalisedHMM(transition, emission, initial, hmm.eos_token_id, *setting, hmm.fingerprint), size)


def _common(settings: BenchmarkSettings) -> dict[str, Any]:
    """What all lines of a results file are written with. The HMM is named by its weights: another one may be saved in
    the same folder. Raises CheckpointError where there is none."""
    digest = hashlib.sha256()
    for file in sorted(hmm_folder(settings.hmm_model_path).glob("*.safetensors")):
        digest.update(file.read_bytes())
    names = ("base_model", "beams", "least_words", "most_words", "max_new_tokens")
    return {"hmm": digest.hexdigest(), **{name: getattr(settings, name) for name in names}}


def _check_concepts(lines: StudyLines, sets: Sequence[ConceptSet]) -> None:
    """Raise DataError where a line of this number is about other concepts: it comes from another data set."""
    concepts = {member.number: list(member.concepts) for member in sets}
    for line in lines.lines:
        number = line["concept_set_idx"]
        if number in concepts and "concepts" in line and list(line["concepts"]) != concepts[number]:
            raise DataError(
                f"{lines.path} has concept set {number} as {', '.join(line['concepts'])}, the data set as "
                f"{', '.join(concepts[number])}",
                hint="name another output for another data set",
            )


def _key(settings: BenchmarkSettings, setting: Setting, seed: int, concept_set: ConceptSet) -> tuple[Any, ...]:
    """Values of `ctrlg.evaluation.output.KEY`."""
    return setting.method, setting.bits, settings.mask, seed, concept_set.number


def _line(sentence: Sentence, most_sentences: int | None) -> dict[str, Any]:
    timing = sentence.best.timing
    return {
        **sentence.record,
        "sentences": sentence.record["sentences"][:most_sentences],
        "seconds": round(timing.preparation + timing.symbolic + timing.neural, 3),
        "symbolic_seconds": round(timing.symbolic, 4),
        "steps": timing.steps,
    }


def concept_sets(settings: BenchmarkSettings, seed: int) -> list[ConceptSet]:
    """The concept sets of one seed. Raises as `read_concept_sets`."""
    if seed == 0 or settings.limit is None:
        return read_concept_sets(settings.dataset_path, settings.limit)
    everything = read_concept_sets(settings.dataset_path)
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    return [everything[place] for place in sorted(order[: settings.limit].tolist())]


def float_hmm(name: str, device: str | torch.device = "cpu") -> HMM:
    """The HMM of this name as float32 on a device: as it is stored, or unpacked. Raises as `load_hmm`."""
    hmm = load_hmm(name, device)
    if isinstance(hmm, HMM):
        return hmm
    dense = (hmm.transition.to_dense(), hmm.emission.to_dense(), hmm.initial)
    return HMM.of_parameters(*dense, hmm.eos_token_id, hmm.fingerprint)


def guide(reference: HMM, setting: Setting) -> Any:
    """What steers: the HMM as the setting's method leaves it; None for the mask alone."""
    if setting.method == MASK_ONLY:
        return None
    if setting.method == FLOAT:
        return reference
    return comparison_hmm(reference, setting.method, setting.bits)


def stored_bytes(reference: HMM, hmm: Any, setting: Setting) -> int:
    """Bytes that transition and emission take on disk: as our files hold codes where they are held as codes, else bits
    times entries, as the paper counts."""
    if hmm is None:
        return 0
    if isinstance(hmm, QuantizedHMM):
        return hmm.packed_nbytes
    matrices = [m.inside if isinstance(m, WrappedMatrix) else m for m in (hmm.transition, hmm.emission)]
    coded = [pack_matrix(matrix, setting.bits).nbytes for matrix in matrices if isinstance(matrix, CompressedMatrix)]
    if len(coded) == len(matrices):
        return sum(coded)
    states, tokens = reference.emission.shape
    return -(-states * (states + tokens) * setting.bits // 8)
