"""From a language model to a compressed HMM: sample, cluster, train, compress, and write down what came of it.

Every stage leaves its result in the output folder and is skipped where that is there, so that a job that was stopped,
however, goes on when it is started again:

    samples/data.train.i (+ .embeddings, .next_tokens), data.dev, data.test
    soft/checkpoint-0, soft/best, soft/log.jsonl   EM with soft emission counts
    hmm/checkpoint-0, hmm/best, hmm/log.jsonl      EM with the sampled tokens themselves, from soft/best
    compressed/   the result, for `ctrlg.load_hmm`
    README.md     data, seeds, likelihoods, sizes, time
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.devices import checked_device, fast_dtype
from ctrlg.distillation.card import Outcome, card
from ctrlg.distillation.em.checkpoints import BEST, copy_checkpoint
from ctrlg.distillation.em.settings import TrainingSettings
from ctrlg.distillation.em.trainer import train
from ctrlg.distillation.first_hmm.latent import LatentSettings, SampledFile, check_states, latent_variable_distillation
from ctrlg.distillation.likelihoods import language_model_log_likelihood, unigram_log_likelihood
from ctrlg.distillation.pipeline_settings import SHARES, DistillationSettings
from ctrlg.distillation.processes import Processes
from ctrlg.distillation.progress import StageBars, sampling_bar
from ctrlg.distillation.sampling.chunks import ChunkSettings, sample_chunks
from ctrlg.distillation.sampling.in_vllm import engine_options, require_vllm, vllm_sampler
from ctrlg.distillation.sampling.next_tokens import describe_next_tokens
from ctrlg.distillation.sampling.output_layer import output_layer
from ctrlg.distillation.sampling.prompts import encode_prompts, end_of_text, read_prompts
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.distillation.token_loss import has_plain_head
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.atomic import atomic_file, write_json
from ctrlg.files.disk import temporary_of, writable_folder
from ctrlg.files.folders import HMM_FOLDER, atomic_folder
from ctrlg.files.locks import Lock
from ctrlg.files.outputs import check_input_file
from ctrlg.hmm import HMM
from ctrlg.inspection import held_out_log_likelihood
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization import QuantizedHMM, quantize
from ctrlg.quantization.quantize import least_bytes
from ctrlg.terminal.console import new_console
from ctrlg.vocabulary.token_bytes import Vocabulary

RECORD = "distillation.json"  # settings and seconds of the job, in its folder
CHUNK = 10_000  # sequences in a file of samples; more where they are sampled by larger batches
EM_ROWS, LARGE_EM_ROWS = {"cpu": 256}, 4096  # sequences of an E-step's batch by device, and on any other: products of
# [4096, H] x [H, H], and at most 9 GB of float32 states for 32 tokens and H = 4096


_FREE = (
    "output",
    "device",
    "bits",
    "max_bytes",
    "seconds",
    "engine_options",
)  # may change when a job is taken up again
_AFTER_SAMPLING = (  # may change as long as there are only samples
    "hidden_states",
    "soft_steps",
    "one_hot_steps",
    "next_tokens",
    "soft_prior",
    "one_hot_prior",
    "soft_sequences",
)
SOFT, ONE_HOT = "soft", "hmm"  # folders of the stages
DEFAULT_ABOVE_LEAST = 4  # times the bytes without entries: 1 % of float32 would not hold a small vocabulary


class _Stage(NamedTuple):
    """EM from FOLDER/checkpoint-0, with soft emission counts or the sampled tokens themselves."""

    folder: Path
    steps: int
    soft: bool
    prior_strength: float


class DistillationResult(NamedTuple):
    """The compressed HMM, the folder it lies in, and the numbers of its card.

    Attributes:
        hmm: the compressed HMM.
        folder: where it lies.
        outcome: the numbers of its card.
    """

    hmm: QuantizedHMM
    folder: Path
    outcome: Outcome


def distill(settings: DistillationSettings, console: Any = None) -> DistillationResult:
    """Run all stages that are not done.

    Args:
        settings: of the job.
        console: where progress is shown.

    Returns:
        The compressed HMM, its folder and the numbers of its card.

    Raises:
        ArgumentError: the output holds another job or anything else, cannot be written, or is worked in by another
            process.
        DataError: a damaged record of the job, and what the stages raise.
    """
    checked_device(settings.device)
    engine_options(settings.engine_options)
    if settings.engine == "vllm":
        require_vllm()
    if settings.prompts:
        check_input_file(settings.prompts, "prompts")
    check_states(settings.hidden_states, settings.sequences * settings.max_new_tokens)
    folder = _claimed(settings.output)
    with Lock(folder / RECORD, f"distilling into {folder}"):
        return _Job(settings, new_console() if console is None else console, folder).run()


def _claimed(output: Path) -> Path:
    """The job's folder, made if need be. Raises ArgumentError where it holds anything before the job has begun."""
    folder = writable_folder(output)
    if not (folder / RECORD).exists():
        known = (RECORD, f".{RECORD}.ctrlg-lock")
        foreign = [entry.name for entry in folder.iterdir() if (temporary_of(entry.name) or entry.name) not in known]
        if foreign:
            raise ArgumentError(
                f"{folder} holds what no distillation wrote: {min(foreign)}", hint="choose a new or an empty folder"
            )
    return folder


class _Job:
    """One run: the settings, the folder, and the language model once it is needed."""

    def __init__(self, settings: DistillationSettings, console: Any, folder: Path) -> None:
        self.settings = settings
        self.console = console
        self.folder = folder
        self.began = time.monotonic()
        self.samples = self.folder / "samples"
        self.stages = self._stages()
        self.record = self._known_record()
        with console.status("Loading the language model ..."):
            self.model, self.tokenizer = load_language_model(
                settings.model, settings.device, fast_dtype(settings.device)
            )
        self.eos = end_of_text(self.tokenizer, settings.eos_token)
        texts = read_prompts(settings.prompts) if settings.prompts else []
        self.prompts = encode_prompts(self.tokenizer, texts, settings.chat_template) if texts else [[self.eos]]
        self.vocab_size = int(self.model.get_output_embeddings().weight.shape[0])
        self.fingerprint = Vocabulary.of(self.tokenizer, self.vocab_size, self.eos).fingerprint
        # Every sequence after one prompt is predicted by one and the same vector at its first place.
        places = settings.sequences * (settings.max_new_tokens - 1) + min(len(self.prompts), settings.sequences)
        check_states(settings.hidden_states, places + 1)
        self.max_bytes = self._budget()
        self.head = None
        if settings.soft_steps or has_plain_head(self.model):
            self.head = output_layer(self.model, settings.temperature)
        self._write_record()  # only now is the folder this job's

    def run(self) -> DistillationResult:
        with self._timed("sampling"):
            training, test = self._sample()
        with self._timed("initialisation"):
            self._initialise(training)
        with self._timed("training"):
            self._train(len(training))
        with self._timed("compression"):
            compressed = self._compress()
        with self._timed("judging"):
            outcome = self._judge(compressed, training, read_sequences(test))
        text = card(self._public_settings(), outcome, self.record["seconds"])
        with atomic_file(self.folder / "README.md") as file:
            file.write_text(text, encoding="utf-8")
        return DistillationResult(compressed, self.folder / "compressed", outcome)

    def _sample(self) -> tuple[list[Path], Path]:
        """Files of the training chunks, and of the sequences to judge by."""
        settings = self.settings
        chunks = ChunkSettings(
            settings.sampling,
            self.chunk_size,
            self.record.get("chunks", -(-settings.sequences // self.chunk_size)),
            settings.batch_size,
            embeddings=True,
            seed=3 * settings.seed,
            embedded_chunks=self._files_of(settings.embedded_sequences),
            next_tokens=settings.next_tokens if self.described_while_sampling else 0,
        )
        held_out = replace(chunks, chunk_size=settings.held_out, total_chunks=1, embeddings=False, next_tokens=0)
        held_out = replace(held_out, embedded_chunks=None)
        jobs = (
            ("data.dev", replace(held_out, seed=chunks.seed + 1)),
            ("data.test", replace(held_out, seed=chunks.seed + 2)),
            ("data.train", chunks),
        )
        files: list[Path] = []
        with ExitStack() as closing:
            sampler = None
            if settings.engine == "vllm":
                longest = max(map(len, self.prompts)) + settings.max_new_tokens
                options = engine_options(settings.engine_options)
                sampler = vllm_sampler(settings.model, self.model, self.tokenizer, self.eos, longest, options, closing)
            for name, job in jobs:
                if name == "data.train":
                    self._check_lengths(chunks)
                until = self._deadline("sampling") if name == "data.train" else None
                output = self._named(name, job)
                with sampling_bar(console=self.console, title=f"sampling {name}") as progress:
                    files = sample_chunks(
                        self.model,
                        self.prompts,
                        self.eos,
                        job,
                        output,
                        progress=progress,
                        until=until,
                        sampler=sampler,
                    )
        if self.settings.seconds is not None:  # time decided how many there are: a later start samples no more
            self.record["chunks"] = len(files)
            self._write_record()
        return files, self.samples / "data.test"

    @property
    def chunk_size(self) -> int:
        """Sequences in each file of samples."""
        sequences = self.settings.sequences
        return -(-sequences // -(-sequences // max(CHUNK, self.settings.batch_size)))

    @property
    def described_while_sampling(self) -> bool:
        """Whether the samples of next tokens are: not all sequences keep hidden states to make them from later."""
        return self.settings.embedded_sequences is not None and self.settings.soft_steps > 0

    def _files_of(self, sequences: int | None) -> int | None:
        """How many files hold so many sequences."""
        return None if sequences is None else -(-sequences // self.chunk_size)

    def _deadline(self, stage: str) -> float | None:
        """Of `time.monotonic()`: when the stage is to have ended."""
        return None if self.settings.seconds is None else self.began + SHARES[stage] * self.settings.seconds

    def _check_lengths(self, chunks: ChunkSettings) -> None:
        """Refuse more states than the training data will have tokens, as the held-out sequences tell."""
        tokens = int((read_sequences(self.samples / "data.dev") != self.eos).sum())
        expected = tokens / self.settings.held_out * chunks.chunk_size * chunks.total_chunks
        check_states(self.settings.hidden_states, int(expected))

    def _budget(self) -> int:
        """Bytes of the result. Raises ArgumentError for fewer than the smallest takes."""
        settings = self.settings
        least = least_bytes(settings.hidden_states, self.vocab_size, settings.bits)
        if settings.max_bytes is None:
            return max(float_bytes(settings.hidden_states, self.vocab_size) // 100, DEFAULT_ABOVE_LEAST * least)
        if settings.max_bytes < least:
            raise ArgumentError(
                f"max_bytes is {settings.max_bytes}",
                hint=f"{settings.hidden_states} states over {self.vocab_size} tokens take {least} or more",
            )
        return settings.max_bytes

    def _named(self, name: str, job: ChunkSettings) -> Path:
        """Training files are numbered even where there is one, as EM expects them."""
        return self.samples / (f"{name}.0" if name == "data.train" and job.total_chunks == 1 else name)

    def _stages(self) -> list[_Stage]:
        settings = self.settings
        stages = [
            _Stage(self.folder / SOFT, settings.soft_steps, True, settings.soft_prior),
            _Stage(self.folder / ONE_HOT, settings.one_hot_steps, False, settings.one_hot_prior),
        ]
        return [stage for stage in stages if stage.steps]

    @property
    def _first(self) -> Path:
        """The HMM before EM."""
        return self.stages[0].folder / "checkpoint-0"

    def _initialise(self, training: list[Path]) -> None:
        """The first HMM, and the samples of next tokens where they are not there."""
        settings = self.settings
        embedded = training[: self._files_of(settings.embedded_sequences)]
        undescribed = training if settings.soft_steps and not self.described_while_sampling else []
        with StageBars(self.console) as bars:
            if not self._first.is_dir():
                latent = LatentSettings(settings.hidden_states, self.vocab_size, self.eos, seed=settings.seed)
                files = [SampledFile.of(file) for file in embedded]
                hmm, _ = latent_variable_distillation(files, latent, self.head, self.fingerprint, settings.device, bars)
                _save(hmm, self._first)
            for number, file in enumerate(map(SampledFile.of, undescribed), start=1):
                seed = settings.seed * len(training) + number
                describe_next_tokens(*file, self.head, settings.next_tokens, self.vocab_size, self.eos, seed)
                bars("sampling next tokens", number, len(training))

    def _train(self, chunks: int) -> None:
        """All stages, each from the best model of the one before."""
        start = self._first
        for stage in self.stages:
            first = stage.folder / "checkpoint-0"
            if not first.is_dir():
                copy_checkpoint(start, first)
            processes = Processes(0, 1, torch.device(self.settings.device))
            start = train(self._training(stage, chunks), processes, self.console).best

    def _training(self, stage: _Stage, chunks: int) -> TrainingSettings:
        settings = self.settings
        deadline = self._deadline(stage.folder.name)
        read = min(chunks, self._files_of(settings.soft_sequences if stage.soft else None) or chunks)
        return TrainingSettings(
            hmm=str(stage.folder),
            data=str(self.samples),
            dataset="data",
            em_schedule=f"{stage.steps},{read}",
            log_file=str(stage.folder / "log.jsonl"),
            total_chunks=chunks,
            save_per_step=stage.steps * read,
            batch_size=EM_ROWS.get(torch.device(settings.device).type, LARGE_EM_ROWS),
            dropout=0.0,
            next_tokens=stage.soft,
            prior_strength=stage.prior_strength,
            patience=3,
            seed=settings.seed,
            bfloat16=fast_dtype(settings.device) == torch.bfloat16,
            seconds=None if deadline is None else max(1.0, deadline - time.monotonic()),
        )

    def _compress(self) -> QuantizedHMM:
        folder = self.folder / "compressed"
        bits, max_bytes = self.settings.bits, self.max_bytes
        wanted = {"bits": bits, "max_bytes": max_bytes}
        if not (folder / "config.json").is_file() or self.record.get("compression") != wanted:
            with self.console.status("Compressing ..."):
                compressed = quantize(self._best(), "log-norm-q", bits, max_bytes=max_bytes)
            with atomic_folder(folder, HMM_FOLDER) as temporary:
                compressed.save_pretrained(temporary)
            self.record["compression"] = wanted
            self._write_record()
        return QuantizedHMM.from_pretrained(folder)

    def _best(self) -> HMM:
        return HMM.from_pretrained(self.stages[-1].folder / BEST, map_location=self.settings.device)

    def _judge(self, compressed: QuantizedHMM, training: list[Path], test: Tensor) -> Outcome:
        """Likelihoods on sequences that nothing was trained or chosen on, and sizes."""
        best = self._best()
        first = HMM.from_pretrained(self._first, map_location=self.settings.device)
        # Compressed matrices are made for processors: a GPU is better at the dense ones they stand for.
        on_processor = torch.device(self.settings.device).type == "cpu"
        judged = compressed if on_processor else compressed.dequantize().to(self.settings.device)
        sampled = [read_sequences(file) for file in training]
        with self.console.status("Judging on held-out samples ..."):
            return Outcome(
                training_tokens=sum(int(token_mask(part, self.eos).sum()) for part in sampled),
                held_out_tokens=int(token_mask(test, self.eos).sum()),
                language_model=language_model_log_likelihood(self.model, self.prompts, test, self.eos),
                unigram=unigram_log_likelihood(sampled, test, self.vocab_size, self.eos),
                first=held_out_log_likelihood(first, test),
                trained=held_out_log_likelihood(best, test),
                compressed=held_out_log_likelihood(judged, test),
                float_bytes=best.nbytes,
                file_bytes=compressed.packed_nbytes,
                memory_bytes=compressed.nbytes,
            )

    def _public_settings(self) -> dict[str, Any]:
        return asdict(self.settings) | {"output": str(self.settings.output)}

    def _known_record(self) -> dict[str, Any]:
        """What earlier starts of the job wrote down. Raises ArgumentError where the folder holds another job's."""
        free = {*_FREE, *self._unused_settings()}
        wanted = {name: value for name, value in self._public_settings().items() if name not in _FREE}
        file = self.folder / RECORD
        if not file.exists():
            return {"settings": wanted, "seconds": {}}
        known = _read_record(file)
        usual = {setting.name: setting.default for setting in fields(self.settings)}
        for name, value in wanted.items():
            theirs = known["settings"].get(name, usual[name])  # it may be of before there was a choice
            if theirs != value and name not in free:
                raise ArgumentError(
                    f"{self.folder} holds a job with {name} {theirs!r}, not {value!r}",
                    hint="give the same settings to go on with it, or choose another output folder",
                )
        return {**known, "settings": wanted}

    def _unused_settings(self) -> tuple[str, ...]:
        """Settings that nothing in the folder was made with yet: a job that was refused may be corrected."""
        if any((self.folder / stage / "checkpoint-0").is_dir() for stage in (SOFT, ONE_HOT)):
            return ()
        sampled = self.samples.is_dir() and any(self.samples.iterdir())
        return _AFTER_SAMPLING if sampled else tuple(self._public_settings())

    def _write_record(self) -> None:
        write_json(self.folder / RECORD, self.record)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add what the block takes to the stage's seconds, over all starts of the job."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = self.record["seconds"]
            seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - started
            self._write_record()


def float_bytes(hidden_states: int, vocab_size: int) -> int:
    """Bytes of an HMM's parameters in float32.

    Args:
        hidden_states: H.
        vocab_size: V.
    """
    return 4 * hidden_states * (hidden_states + vocab_size + 1)


def _read_record(file: Path) -> dict[str, Any]:
    """Raises DataError for a file that is damaged."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record["settings"], dict) and all(map(math.isfinite, record["seconds"].values())):
            return record
        problem = "it lacks settings or seconds"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}, {error}"
    raise DataError(
        f"{file} is damaged: {problem}",
        hint="put back a copy of it, or choose another output: without it nobody knows what the folder holds",
    )


def _save(hmm: HMM, folder: Path) -> None:
    with atomic_folder(folder, HMM_FOLDER) as temporary:
        hmm.save_pretrained(temporary)
