"""What a training run is told, checked before it begins, and the steps that follow from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from ctrlg.arguments import AboveZero, Between, Natural, NonNegative, Positive, Seed, checked
from ctrlg.defaults import NORM_Q, NORM_Q_BITS

if TYPE_CHECKING:
    from ctrlg.distillation.em.step import EMSettings


_IN_FILES = {"hmm": "model_path", "data": "data_path", "bits": "quantization_bit_width"}
"""What some settings are called in the files of a run: as they always were, so that earlier runs go on."""


@checked
@dataclass(frozen=True)
class QuantizationSchedule:
    """When EM replaces distributions by quantized ones (Norm-Q aware EM, arXiv 2509.25439).

    Args:
        interval: every so many M-steps, and after the last; >= 1.
        method: as for `quantize_rows`.
        bits: as for `quantize_rows`.
        anneal_from: bits at the first step; they fall evenly to `bits` at the last. None for the same bits throughout.
        initial: whether the initial distribution is quantized too; None: as the method does.

    Raises:
        ArgumentError: a value out of its range, or a method whose rows are no distributions.
    """

    interval: Positive
    method: str = NORM_Q
    bits: int = NORM_Q_BITS
    anneal_from: int | None = None
    initial: bool | None = None

    def __post_init__(self) -> None:
        from ctrlg.quantization.methods import check_method

        check_method(self.method, self.bits)
        if self.anneal_from is not None:
            check_method(self.method, self.anneal_from)

    def bits_at(self, step: int, last_step: int) -> int | None:
        """Bits to quantize to after a step.

        Args:
            step: from 1 to last_step.
            last_step: the number of steps.

        Returns:
            None where nothing is quantized after this step.
        """
        if step % self.interval and step != last_step:
            return None
        if self.anneal_from is None:
            return self.bits
        return round(self.anneal_from + (self.bits - self.anneal_from) * step / last_step)


class Step(NamedTuple):
    """One EM step.

    Attributes:
        number: from 1.
        checkpoint: how many chunks have been read when it is done.
        chunks: which chunks it reads.
    """

    number: int
    checkpoint: int
    chunks: tuple[int, ...]


@checked
@dataclass(frozen=True)
class TrainingSettings:
    """A run of EM from HMM/checkpoint-N over DATA/DATASET.train.i, judged on DATA/DATASET.dev.

    Attributes:
        hmm: folder with checkpoint-N; checkpoints and `best` go there.
        data: folder of samples.
        dataset: their name: DATASET.train.0 ..., DATASET.dev.
        em_schedule: "steps,chunks;...", as "10,1;5,2"; a checkpoint is numbered by the chunks read (Ctrl-G's rules).
        log_file: JSON lines; *.txt, *.tsv: Ctrl-G's lines. Where empty HMM/log.jsonl.
        checkpoint: number of the one to start from.
        total_chunks: chunks there are.
        save_per_step: chunks between checkpoints that are kept; the last one always is.
        batch_size: sequences of a batch.
        sample_length: cut sequences to so many tokens; None leaves them.
        dropout: share of tokens made missing.
        pseudocount: spread over every row of counts.
        next_tokens: credit emissions with samples of the language model's next-token distribution, which stand beside
            each chunk (DATASET.train.i.next_tokens), instead of with the chunk's own tokens.
        prior_strength: observations per state with the emissions of the prior's checkpoint (a Dirichlet prior).
        prior_checkpoint: whose emissions are the prior.
        quantization_step: EM steps between quantizations; 0 for none.
        bits: of a value of quantized rows.
        quantization_method: one of docs/methods.md whose rows sum to 1.
        quantization_initial: quantize the initial distribution, too; None: as the method does.
        patience: stop when the dev likelihood has not improved so many times in a row (among quantized steps, where
            there are any); None never stops.
        seed: of dropout.
        bfloat16: matrix products in that type, faster where the processor has it.
        seconds: that a start may take, loading and saving included; no step is begun that would take longer, and the
            run is finished then. None for any.

    Raises:
        ArgumentError: a value out of its range.
    """

    hmm: str
    data: str
    dataset: str
    em_schedule: str
    log_file: str = ""
    checkpoint: Natural = 0
    total_chunks: Positive = 1
    save_per_step: Positive = 50
    batch_size: Positive = 256
    sample_length: Positive | None = None
    dropout: Annotated[float, Between(0, below=1)] = 0.001
    pseudocount: NonNegative = 0.001
    next_tokens: bool = False
    prior_strength: NonNegative = 0.0
    prior_checkpoint: Natural = 0
    quantization_step: Natural = 0
    bits: int = NORM_Q_BITS
    quantization_method: str = NORM_Q
    quantization_initial: bool | None = None
    patience: Positive | None = None
    seed: Seed = 0
    bfloat16: bool = False
    seconds: AboveZero | None = None

    def __post_init__(self) -> None:
        from ctrlg.quantization.methods import check_method

        if not self.log_file:
            object.__setattr__(self, "log_file", f"{self.hmm}/log.jsonl")
        check_method(self.quantization_method, self.bits)
        self.steps()

    def steps(self) -> list[Step]:
        """All EM steps of the schedule.

        Raises:
            ArgumentError: no schedule, or more chunks a step than there are.
        """
        from ctrlg.distillation.em.step import chunk_indices, parse_schedule

        steps: list[Step] = []
        done = self.checkpoint
        for count, chunks in parse_schedule(self.em_schedule):
            for _ in range(count):
                read = tuple(chunk_indices(done, chunks, self.total_chunks))
                done += chunks
                steps.append(Step(len(steps) + 1, done, read))
        return steps

    @property
    def em(self) -> EMSettings:
        """What a single step is told."""
        from ctrlg.distillation.em.step import EMSettings

        return EMSettings(self.batch_size, self.dropout, self.pseudocount, self.seed, self.bfloat16)

    @property
    def quantization(self) -> QuantizationSchedule | None:
        """When to quantize, if at all."""
        if self.quantization_step == 0:
            return None
        return QuantizationSchedule(
            self.quantization_step,
            self.quantization_method,
            self.bits,
            initial=self.quantization_initial,
        )

    def dev_file(self) -> Path:
        """DATA/DATASET.dev."""
        return Path(self.data) / f"{self.dataset}.dev"

    def training_file(self, chunk: int) -> Path:
        """DATA/DATASET.train.i."""
        return Path(self.data) / f"{self.dataset}.train.{chunk}"

    def checkpoint_folder(self, checkpoint: int) -> Path:
        """HMM/checkpoint-N."""
        return Path(self.hmm) / f"checkpoint-{checkpoint}"

    def comparable(self) -> dict[str, Any]:
        """The settings as JSON values with whole paths, by which an interrupted run is recognized."""
        from ctrlg.quantization.methods import quantizes_initial

        values = {_IN_FILES.get(name, name): value for name, value in asdict(self).items()}
        wanted = values.pop("quantization_initial")
        del values["seconds"]
        if self.quantization_step:  # runs that never quantize are known without it, as they were before it was there
            values["quantization_initial"] = quantizes_initial(self.quantization_method, wanted)
        for name in ("model_path", "data_path", "log_file"):
            values[name] = str(Path(values[name]).resolve())
        return values
