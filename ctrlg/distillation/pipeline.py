"""From a language model to a compressed HMM: sample, cluster, train, compress, and write down what came of it.

Every stage leaves its result in the output folder and is skipped where that is there, so that a job that was stopped,
however, goes on when it is started again:

    samples/data.train.i (+ .embeddings, .next_tokens), data.dev, data.test
    hmm/checkpoint-0, hmm/best, hmm/log.jsonl
    compressed/   the result, for `ctrlg.load_hmm`
    README.md     data, seeds, likelihoods, sizes, time
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from ctrlg.automata.vocabulary import Vocabulary
from ctrlg.distillation.card import Outcome, card
from ctrlg.distillation.drawing import DrawingSettings, chunk_files, draw_chunks
from ctrlg.distillation.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.likelihoods import language_model_log_likelihood, unigram_log_likelihood
from ctrlg.distillation.next_tokens import describe_next_tokens
from ctrlg.distillation.output_layer import output_layer
from ctrlg.distillation.processes import Processes
from ctrlg.distillation.progress import StageBars, drawing_bar
from ctrlg.distillation.prompts import encode_prompts, end_of_text, read_prompts
from ctrlg.distillation.sampling import SamplingSettings, check_settings, token_mask
from ctrlg.distillation.storage import read_sequences
from ctrlg.distillation.token_loss import has_plain_head
from ctrlg.distillation.trainer import train
from ctrlg.distillation.training_settings import TrainingSettings
from ctrlg.errors import ArgumentError, require_at_least
from ctrlg.files import atomic_file, atomic_folder, writable_folder, write_json
from ctrlg.hmm import HMM
from ctrlg.models import checked_device, fast_dtype, load_language_model
from ctrlg.quantization import QuantizedHMM, held_out_log_likelihood, quantize

RECORD = "distillation.json"  # settings and seconds of the job, in its folder
CHUNK = 10_000  # sequences in a file of samples


@dataclass(frozen=True)
class DistillationSettings:
    """What to distil, and how.

    model: for `load_language_model`. output: folder of everything that is made.
    hidden_states: 2 or more, one is reserved for end-of-text. sequences: how many to sample for training;
        held_out: for choosing the checkpoint, and as many again for the card. max_new_tokens: of a sequence.
    prompts: a file for `read_prompts`, "" for the end-of-text token alone. chat_template: whether they are turns of a
        chat. eos_token: "" for the tokenizer's own.
    em_steps: at most; training stops earlier where the held-out likelihood has not risen three times in a row.
    next_tokens: draws of the language model's next-token distribution per place for soft emission counts, 0 for none
        (which models that change their logits after the output layer need).
    prior_strength: observations a state, spread as the first HMM's emissions.
    bits: 1 to 8, of log-norm-q. max_bytes: of the compressed file; None for 1 % of float32.
    batch_size: sequences drawn at once. device: "cpu" or "cuda".
    """

    model: str
    output: Path
    hidden_states: int = 512
    sequences: int = 50_000
    held_out: int = 2_000
    max_new_tokens: int = 32
    prompts: str = ""
    chat_template: bool = False
    eos_token: str = ""
    temperature: float = 1.0
    em_steps: int = 20
    next_tokens: int = 32
    prior_strength: float = 50.0
    bits: int = 5
    max_bytes: int | None = None
    batch_size: int = 256
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        require_at_least(self, _LEAST)
        if self.bits > 8:
            raise ArgumentError(f"bits is {self.bits}", hint="choose 1 to 8")
        if self.chat_template and not self.prompts:
            raise ArgumentError("a chat template without prompts", hint="name a file of what the user says")
        check_settings(self.sampling)

    @property
    def sampling(self) -> SamplingSettings:
        """How a sequence is drawn."""
        return SamplingSettings(self.max_new_tokens, self.temperature)


_LEAST: dict[str, float] = {
    "hidden_states": 2,
    "sequences": 1,
    "held_out": 1,
    "em_steps": 1,
    "next_tokens": 0,
    "prior_strength": 0,
    "bits": 1,
    "max_bytes": 1,
    "batch_size": 1,
    "seed": 0,
}
_FREE = ("output", "device", "bits", "max_bytes")  # may change when a job is taken up again


class DistillationResult(NamedTuple):
    """The compressed HMM, the folder it lies in, and the numbers of its card."""

    hmm: QuantizedHMM
    folder: Path
    outcome: Outcome


def distill(settings: DistillationSettings, console: Console | None = None) -> DistillationResult:
    """Run all stages that are not done. console: where progress is shown.

    Raises ArgumentError where the output holds another job or cannot be written, and what the stages raise.
    """
    return _Job(settings, console or Console()).run()


class _Job:
    """One run: the settings, the folder, and the language model once it is needed."""

    def __init__(self, settings: DistillationSettings, console: Console) -> None:
        self.settings = settings
        self.console = console
        checked_device(settings.device)
        self.folder = writable_folder(settings.output)
        self.samples = self.folder / "samples"
        self.record = self._known_record()
        with console.status(f"Loading {settings.model} ..."):
            self.model, self.tokenizer = load_language_model(
                settings.model, settings.device, fast_dtype(settings.device)
            )
        self.eos = end_of_text(self.tokenizer, settings.eos_token)
        texts = read_prompts(settings.prompts) if settings.prompts else []
        self.prompts = encode_prompts(self.tokenizer, texts, settings.chat_template) if texts else [[self.eos]]
        self.vocab_size = int(self.model.get_output_embeddings().weight.shape[0])
        self.head = None
        if settings.next_tokens or has_plain_head(self.model):
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
        chunks = -(-settings.sequences // CHUNK)
        drawing = DrawingSettings(
            settings.sampling,
            -(-settings.sequences // chunks),
            chunks,
            settings.batch_size,
            embeddings=True,
            seed=3 * settings.seed,
        )
        held_out = replace(drawing, chunk_size=settings.held_out, total_chunks=1, embeddings=False)
        jobs = (
            ("data.dev", replace(held_out, seed=drawing.seed + 1)),
            ("data.test", replace(held_out, seed=drawing.seed + 2)),
            ("data.train", drawing),
        )
        for name, job in jobs:
            with drawing_bar(console=self.console, title=f"sampling {name}") as progress:
                draw_chunks(self.model, self.prompts, self.eos, job, self._named(name, job), progress=progress)
        return self._training_files(chunks), self.samples / "data.test"

    def _named(self, name: str, job: DrawingSettings) -> Path:
        """Training files are numbered even where there is one, as EM expects them."""
        return self.samples / (f"{name}.0" if name == "data.train" and job.total_chunks == 1 else name)

    def _training_files(self, chunks: int) -> list[Path]:
        name = self.samples / "data.train"
        return chunk_files(name, chunks) if chunks > 1 else [Path(f"{name}.0")]

    def _initialise(self, training: list[Path]) -> None:
        """The first HMM, and the draws of next tokens."""
        settings = self.settings
        first = self.folder / "hmm" / "checkpoint-0"
        with StageBars(self.console) as bars:
            if not first.is_dir():
                latent = LatentSettings(settings.hidden_states, self.vocab_size, self.eos, seed=settings.seed)
                fingerprint = Vocabulary.of(self.tokenizer, self.vocab_size, self.eos).fingerprint
                files = [SampledFile.of(file) for file in training]
                hmm, _ = latent_variable_distillation(files, latent, self.head, fingerprint, settings.device, bars)
                with atomic_folder(first) as temporary:
                    hmm.save_pretrained(temporary)
            for number, file in enumerate(map(SampledFile.of, training) if settings.next_tokens else [], start=1):
                seed = settings.seed * len(training) + number
                describe_next_tokens(*file, self.head, settings.next_tokens, self.vocab_size, self.eos, seed)
                bars("drawing next tokens", number, len(training))

    def _train(self, chunks: int) -> None:
        settings = self.settings
        train(
            TrainingSettings(
                model_path=str(self.folder / "hmm"),
                data_path=str(self.samples),
                dataset="data",
                em_schedule=f"{settings.em_steps},{chunks}",
                log_file=str(self.folder / "hmm" / "log.jsonl"),
                total_chunks=chunks,
                save_per_step=settings.em_steps * chunks,
                dropout=0.0,
                next_tokens=settings.next_tokens > 0,
                prior_strength=settings.prior_strength,
                patience=3,
                seed=settings.seed,
                bfloat16=fast_dtype(settings.device) == torch.bfloat16,
            ),
            Processes(0, 1, torch.device(settings.device)),
            self.console,
        )

    def _compress(self) -> QuantizedHMM:
        folder = self.folder / "compressed"
        best = self._best()
        bits, max_bytes = self.settings.bits, self.settings.max_bytes or best.nbytes // 100
        wanted = {"bits": bits, "max_bytes": max_bytes}
        if not (folder / "config.json").is_file() or self.record.get("compression") != wanted:
            with self.console.status("Compressing ..."):
                compressed = quantize(best, "log-norm-q", bits, max_bytes=max_bytes)
            with atomic_folder(folder) as temporary:
                compressed.save_pretrained(temporary)
            self.record["compression"] = wanted
            self._write_record()
        return QuantizedHMM.from_pretrained(folder)

    def _best(self) -> HMM:
        return HMM.from_pretrained(self.folder / "hmm" / "best")

    def _judge(self, compressed: QuantizedHMM, training: list[Path], test: Tensor) -> Outcome:
        """Likelihoods on sequences that nothing was trained or chosen on, and sizes."""
        best = self._best()
        first = HMM.from_pretrained(self.folder / "hmm" / "checkpoint-0")
        sampled = [read_sequences(file) for file in training]
        with self.console.status("Judging on held-out samples ..."):
            return Outcome(
                training_tokens=sum(int(token_mask(part, self.eos).sum()) for part in sampled),
                held_out_tokens=int(token_mask(test, self.eos).sum()),
                language_model=language_model_log_likelihood(self.model, self.prompts, test, self.eos),
                unigram=unigram_log_likelihood(sampled, test, self.vocab_size, self.eos),
                first=held_out_log_likelihood(first, test),
                trained=held_out_log_likelihood(best, test),
                compressed=held_out_log_likelihood(compressed, test),
                float_bytes=best.nbytes,
                file_bytes=compressed.packed_nbytes,
                memory_bytes=compressed.nbytes,
            )

    def _public_settings(self) -> dict[str, Any]:
        return asdict(self.settings) | {"output": str(self.settings.output)}

    def _known_record(self) -> dict[str, Any]:
        """What earlier starts of the job wrote down. Raises ArgumentError where the folder holds another job's."""
        wanted = {name: value for name, value in self._public_settings().items() if name not in _FREE}
        file = self.folder / RECORD
        if not file.is_file():
            return {"settings": wanted, "seconds": {}}
        known = json.loads(file.read_text(encoding="utf-8"))
        for name, value in wanted.items():
            theirs = known["settings"].get(name)
            if theirs != value:
                raise ArgumentError(
                    f"{self.folder} holds a job with {name} {theirs!r}, not {value!r}",
                    hint="give the same settings to go on with it, or choose another output folder",
                )
        return known

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
