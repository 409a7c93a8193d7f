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

from rich.console import Console
from torch import Tensor

from ctrlg.automata.vocabulary import Vocabulary
from ctrlg.distillation.card import Outcome, card
from ctrlg.distillation.drawing import DrawingSettings, chunk_files, draw_chunks
from ctrlg.distillation.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.likelihoods import language_model_log_likelihood, unigram_log_likelihood
from ctrlg.distillation.next_tokens import describe_next_tokens
from ctrlg.distillation.progress import StageBars, drawing_bar
from ctrlg.distillation.prompts import encode_prompts, end_of_text, read_prompts
from ctrlg.distillation.sampling import SamplingSettings, token_mask
from ctrlg.distillation.storage import read_sequences
from ctrlg.distillation.trainer import train
from ctrlg.distillation.training_settings import TrainingSettings
from ctrlg.errors import ArgumentError
from ctrlg.files import atomic_file, atomic_folder, writable_folder, write_json
from ctrlg.hmm import HMM
from ctrlg.models import fast_dtype, load_language_model
from ctrlg.quantization import QuantizedHMM, held_out_log_likelihood, quantize

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
    next_tokens: draws of the language model's next-token distribution per place for soft emission counts, 0 for none.
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
        least = {"hidden_states": 2, "sequences": 1, "held_out": 1, "em_steps": 1, "next_tokens": 0, "batch_size": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ArgumentError(f"{name} is {getattr(self, name)}", hint=f"choose {value} or more")
        if not 1 <= self.bits <= 8:
            raise ArgumentError(f"bits is {self.bits}", hint="choose 1 to 8")


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
        self.folder = writable_folder(settings.output)
        self.samples = self.folder / "samples"
        self.seconds = self._claim()
        with console.status(f"Loading {settings.model} ..."):
            self.model, self.tokenizer = load_language_model(
                settings.model, settings.device, fast_dtype(settings.device)
            )
        self.eos = end_of_text(self.tokenizer, settings.eos_token)
        texts = read_prompts(settings.prompts) if settings.prompts else []
        self.prompts = encode_prompts(self.tokenizer, texts, settings.chat_template) if texts else [[self.eos]]
        self.vocab_size = int(self.model.get_output_embeddings().weight.shape[0])

    def run(self) -> DistillationResult:
        with self._timed("sampling"):
            training, test = self._sample()
        with self._timed("initialisation"):
            self._initialise(training)
        with self._timed("training"):
            self._train(len(training))
        with self._timed("compression"):
            compressed = self._compress()
        outcome = self._judge(compressed, training, read_sequences(test))
        text = card(self._public_settings(), outcome, self.seconds)
        with atomic_file(self.folder / "README.md") as file:
            file.write_text(text, encoding="utf-8")
        return DistillationResult(compressed, self.folder / "compressed", outcome)

    def _sample(self) -> tuple[list[Path], Path]:
        """Files of the training chunks, and of the sequences to judge by."""
        settings = self.settings
        chunks = -(-settings.sequences // CHUNK)
        drawing = DrawingSettings(
            SamplingSettings(settings.max_new_tokens, settings.temperature),
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
        settings, head = self.settings, self.model.get_output_embeddings()
        first = self.folder / "hmm" / "checkpoint-0"
        with StageBars(self.console) as bars:
            if not first.is_dir():
                latent = LatentSettings(settings.hidden_states, self.vocab_size, self.eos, seed=settings.seed)
                fingerprint = Vocabulary.of(self.tokenizer, self.vocab_size, self.eos).fingerprint
                files = [SampledFile.of(file) for file in training]
                hmm, _ = latent_variable_distillation(files, latent, head, fingerprint, settings.device, bars)
                with atomic_folder(first) as temporary:
                    hmm.save_pretrained(temporary)
            for number, file in enumerate(map(SampledFile.of, training) if settings.next_tokens else [], start=1):
                seed = settings.seed * len(training) + number
                describe_next_tokens(*file, head, settings.next_tokens, self.vocab_size, self.eos, seed)
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
            ),
            console=self.console,
        )

    def _compress(self) -> QuantizedHMM:
        folder = self.folder / "compressed"
        if not (folder / "config.json").is_file():
            best = self._best()
            budget = self.settings.max_bytes or best.nbytes // 100
            with self.console.status("Compressing ..."):
                compressed = quantize(best, "log-norm-q", self.settings.bits, max_bytes=budget)
            with atomic_folder(folder) as temporary:
                compressed.save_pretrained(temporary)
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

    def _claim(self) -> dict[str, float]:
        """Seconds each stage has taken so far. Raises ArgumentError where the folder holds a job of other settings."""
        file = self.folder / "distillation.json"
        wanted = {name: value for name, value in self._public_settings().items() if name not in ("output", "device")}
        if file.is_file():
            known = json.loads(file.read_text(encoding="utf-8"))
            other = [name for name in wanted if known["settings"].get(name) != wanted[name]]
            if other:
                raise ArgumentError(
                    f"{self.folder} holds a job with {other[0]} {known['settings'].get(other[0])!r}, "
                    f"not {wanted[other[0]]!r}",
                    hint="give the same settings to go on with it, or choose another output folder",
                )
            return known["seconds"]
        write_json(file, {"settings": wanted, "seconds": {}})
        return {}

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add what the block takes to the stage's seconds, over all starts of the job that came to its end."""
        started = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
        file = self.folder / "distillation.json"
        write_json(file, json.loads(file.read_text(encoding="utf-8")) | {"seconds": self.seconds})
