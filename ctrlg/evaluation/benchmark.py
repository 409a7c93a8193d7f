"""Norm-Q's benchmark: an HMM compressed in many ways, and what each of them writes for CommonGen's concept sets."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ctrlg.automata.dfa import DFA
from ctrlg.defaults import MAX_STATES
from ctrlg.devices import checked_device, fast_dtype, varied_shapes
from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.grid import FLOAT, MASK_ONLY, Grid, Setting
from ctrlg.evaluation.output import SETTINGS, open_lines, write_list
from ctrlg.evaluation.writing import Sentence, write_sentences
from ctrlg.files.records import StudyLines
from ctrlg.hmm import HMM
from ctrlg.loading import load_hmm
from ctrlg.loading.hmms import hmm_folder
from ctrlg.loading.language_models import load_language_model
from ctrlg.matrices import DenseMatrix
from ctrlg.quantization.unnormalised import UnnormalisedHMM
from ctrlg.vocabulary.token_bytes import Vocabulary

SUFFIX = "."  # what `generate_many` compiles a constraint with


class _Guide(NamedTuple):
    """What steers, None for the mask alone, and the bytes it takes on disk."""

    hmm: Any
    size: int


class _Batch(NamedTuple):
    """Concept sets that one setting writes in one go.

    opens_round: whether a round begins with it: a round is a setting, or, where time is short, a group of concept sets.
    """

    opens_round: bool
    setting: Setting
    mask: str
    seed: int
    members: Sequence[ConceptSet]

    def key(self, concept_set: ConceptSet) -> tuple[Any, ...]:
        """Values of `ctrlg.evaluation.output.KEY`."""
        return (*self.setting, self.mask, self.seed, concept_set.number)

    def missing(self, lines: StudyLines) -> list[ConceptSet]:
        """The concept sets that have no line yet."""
        return [member for member in self.members if self.key(member) not in lines]


def run_benchmark(
    settings: BenchmarkSettings,
    grid: Grid,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> StudyLines:
    """Write the ranked sentences of every concept set, setting and seed that the output lacks.

    Args:
        settings: what is written, and with what.
        grid: how the HMM is compressed.
        report: called with (done, total) after every concept set.

    Returns:
        All lines of the output.

    Raises:
        ArgumentError: before any work, for a device that cannot be used, for an output that cannot be used or was
            written with other settings, and for a soft mask without an HMM.
        DataError: before any work, for the data set, and for lines of another one.
        CheckpointError: for models that cannot be loaded.
    """
    if settings.soft_mask and any(setting.method == MASK_ONLY for setting in grid):
        raise ArgumentError("mask-only with a soft mask: nothing would steer", hint="leave one of them out")
    checked_device(settings.device)
    sets = {seed: _own(settings, concept_sets(settings, seed)) for seed in settings.seeds}
    common = _common(settings)
    with open_lines(settings.output, common) as lines:
        _check_concepts(lines, [member for members in sets.values() for member in members])
        _write_missing(settings, _batches(settings, grid, sets), common, lines, report)
        write_list(settings.output, lines)
    return lines


def _own(settings: BenchmarkSettings, sets: list[ConceptSet]) -> list[ConceptSet]:
    """The concept sets of this process."""
    groups = [sets[first : first + settings.together] for first in range(0, len(sets), settings.together)]
    return [member for group in groups[settings.part :: settings.parts] for member in group]


def _batches(settings: BenchmarkSettings, grid: Grid, sets: Mapping[int, Sequence[ConceptSet]]) -> list[_Batch]:
    """All there is to write, in this order."""
    if settings.seconds is None:
        return [
            _Batch(number == 0, setting, settings.mask, seed, members)
            for setting in grid
            for number, (seed, members) in enumerate(sets.items())
        ]
    return [
        _Batch(number == 0, setting, settings.mask, seed, members[first : first + settings.together])
        for seed, members in sets.items()
        for first in range(0, len(members), settings.together)
        for number, setting in enumerate(grid)
    ]


@varied_shapes()
def _write_missing(
    settings: BenchmarkSettings,
    batches: Sequence[_Batch],
    common: dict[str, Any],
    lines: StudyLines,
    report: Callable[[int, int], None],
) -> None:
    """Write what has no line yet, as long as there is time."""
    began = time.monotonic()
    reference = float_hmm(settings.hmm)
    total = sum(len(batch.members) for batch in batches)
    done = total - sum(len(batch.missing(lines)) for batch in batches)
    report(done, total)
    loaded: tuple[Any, Any] | None = None
    guides: dict[Setting, _Guide] = {}
    automata: dict[int, DFA] = {}
    rounds: list[float] = []  # when each began

    def compiled(member: ConceptSet) -> DFA:
        if member.number not in automata:
            constraint = member.constraint(settings.least_words, settings.most_words)
            vocabulary = Vocabulary.of(loaded[1], reference.vocab_size, reference.eos_token_id) if loaded else None
            automata[member.number] = constraint.compile(vocabulary, prefix="", suffix=SUFFIX, max_states=MAX_STATES)
        return automata[member.number]

    for batch in batches:
        if batch.opens_round and settings.seconds is not None:
            automata.clear()
            rounds.append(time.monotonic())
            latest = rounds[-1] - rounds[-2] if len(rounds) > 2 else 0.0  # the first one loads and compresses, too
            if len(rounds) > 1 and rounds[-1] - began + latest > settings.seconds:
                return
        if not batch.missing(lines):
            continue
        loaded = loaded or load_language_model(settings.model, settings.device, fast_dtype(settings.device))
        setting = batch.setting
        if setting not in guides:
            if settings.seconds is None:
                guides.clear()  # it will not be asked for again
            guides[setting] = _guide_on(settings.device, reference, setting)
        for sentence in write_sentences(
            *loaded,
            guides[setting].hmm,
            batch.members,
            settings.beams,
            settings.max_new_tokens,
            settings.soft_mask,
            (settings.least_words, settings.most_words),
            settings.together,
            lambda member, batch=batch: batch.key(member) in lines,
            compiled if settings.seconds is not None and setting.method != MASK_ONLY else None,
        ):
            line = {**_line(sentence, settings.most_sentences), "bytes": guides[setting].size, SETTINGS: common}
            lines.add(batch.key(sentence.concept_set), line)
            done += 1
            report(done, total)


def _guide_on(device: str, reference: HMM, setting: Setting) -> _Guide:
    """What steers, on the device. Compressed matrices are made for processors: other devices get the dense ones that
    they stand for, which are multiplied faster there, without the logarithms that an HMM holds besides: guides of all
    settings are in memory together."""
    elsewhere = torch.device(device).type != "cpu"
    if elsewhere and setting.method in (FLOAT, "norm-q", "log-norm-q"):  # plain torch, faster there
        reference = reference.sharing().to(device)
    hmm = setting.guide(reference)
    size = setting.stored_bytes(reference, hmm)
    if hmm is None or not elsewhere or isinstance(hmm, UnnormalisedHMM):
        return _Guide(None if hmm is None else hmm.to(device), size)
    transition, emission = (DenseMatrix(matrix.to_dense()).to(device) for matrix in (hmm.transition, hmm.emission))
    initial = hmm.initial.to(device)
    return _Guide(UnnormalisedHMM(transition, emission, initial, hmm.eos_token_id, *setting, hmm.fingerprint), size)


def _common(settings: BenchmarkSettings) -> dict[str, Any]:
    """What all lines of a results file are written with. The HMM is named by its weights: another one may be saved in
    the same folder. Raises CheckpointError where there is none."""
    digest = hashlib.sha256()
    for file in sorted(hmm_folder(settings.hmm).glob("*.safetensors")):
        digest.update(file.read_bytes())
    names = ("beams", "least_words", "most_words", "max_new_tokens")
    chosen = {name: getattr(settings, name) for name in names}
    return {"hmm": digest.hexdigest(), "base_model": settings.model, **chosen}  # the names of earlier files


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
    """The concept sets of one seed.

    Args:
        settings: which data, and how many sets of it.
        seed: 0 spreads them evenly, others sample them.

    Raises:
        DataError: as `read_concept_sets`.
    """
    if seed == 0 or settings.limit is None:
        return read_concept_sets(settings.data, settings.limit)
    everything = read_concept_sets(settings.data)
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    return [everything[place] for place in sorted(order[: settings.limit].tolist())]


def float_hmm(name: str, device: str | torch.device = "cpu") -> HMM:
    """The HMM of a name in float32: as it is stored, or unpacked.

    Args:
        name: folder or hub id, or "default".
        device: to load it to.

    Raises:
        CheckpointError: as `load_hmm`.
    """
    hmm = load_hmm(name, device)
    if isinstance(hmm, HMM):
        return hmm
    dense = (hmm.transition.to_dense(), hmm.emission.to_dense(), hmm.initial)
    return HMM.of_parameters(*dense, hmm.eos_token_id, hmm.fingerprint)
