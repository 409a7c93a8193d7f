"""EM from one checkpoint to the next: Ctrl-G's schedule, Norm-Q aware, on one process or many, safe against kills.

After every step the model is judged on the dev set, logged, and saved where due; an interrupted run, started again with
the same settings, goes on from its last saved state and ends with the same bits (`ctrlg.distillation.em.checkpoints`);
on a GPU, which adds the counts of a token in any order, the last ones may differ.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from torch import Tensor

from ctrlg.distillation.em.checkpoints import BEST, RunFolder
from ctrlg.distillation.em.data import (
    check_data,
    dev_sequences,
    file_digest,
    training_next_tokens,
    training_sequences,
)
from ctrlg.distillation.em.display import TrainingDisplay
from ctrlg.distillation.em.log import TrainingLog, TrainingRecord
from ctrlg.distillation.em.settings import Step, TrainingSettings
from ctrlg.distillation.em.step import Likelihood, em_step, mean_log_likelihood, token_major
from ctrlg.distillation.processes import ONE_PROCESS, Processes
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.errors import CheckpointError
from ctrlg.files.disk import writable_file
from ctrlg.files.folders import restore_folder
from ctrlg.hmm import HMM, Prior
from ctrlg.quantization.methods import quantize_distributions
from ctrlg.terminal.console import new_console

MOST_TIME_SAVING = 0.05  # share of the time that states for resuming may take; replaying costs no exactness


class TrainingResult(NamedTuple):
    """What came of a run.

    Attributes:
        checkpoint: folder of the last.
        best: of the one with the highest dev likelihood, nats per token, which is that of best_checkpoint.
        best_checkpoint: its number; None while no model counts.
        best_dev: nats per token; None while no model counts.
        steps: done in all.
        stopped_early: by patience.
        already_finished: nothing was left to do.
    """

    checkpoint: Path
    best: Path
    best_checkpoint: int | None
    best_dev: float | None
    steps: int
    stopped_early: bool
    already_finished: bool


def train(settings: TrainingSettings, processes: Processes = ONE_PROCESS, console: Any = None) -> TrainingResult:
    """Run EM as the settings say, or go on with it; a finished run is left alone.

    Args:
        settings: of the run.
        processes: of `joined_processes`; all see the same files, the first one writes.
        console: where the first process shows its progress; None for the standard output.

    Returns:
        What came of the run.

    Raises:
        CheckpointError: before any work, for checkpoints that are missing or no HMM, and a run with other settings
            in the folder.
        DataError, VocabularyError: before any work, for samples that are missing or do not fit.
        ArgumentError: before any work, for folders that cannot be written, and another run in them.
        ProcessError: another process is lost.
    """
    needed = [settings.checkpoint, *([settings.prior_checkpoint] if settings.prior_strength > 0 else [])]
    for checkpoint in map(settings.checkpoint_folder, needed):  # first: a mistyped folder shall not become a folder
        restore_folder(checkpoint)
        if not checkpoint.is_dir():
            raise CheckpointError(f"no such checkpoint: {checkpoint}", hint="lvd_hmm.py makes the first, checkpoint-0")
    writable_file(settings.log_file)
    TrainingLog(settings.log_file).check()
    folder = RunFolder(settings.hmm)
    if console is None or processes.rank:
        console = new_console(quiet=processes.rank != 0)
    lock: AbstractContextManager[None] = folder.locked() if processes.rank == 0 else nullcontext()
    with lock:
        return _Run(settings, processes, folder, console).finish()


class _Run:
    """One start of a run: everything that stays the same from step to step, and the model."""

    def __init__(self, settings: TrainingSettings, processes: Processes, folder: RunFolder, console: Any) -> None:
        self.settings = settings
        self.processes = processes
        self.folder = folder
        self.console = console
        self.plan = settings.steps()
        self.log = TrainingLog(settings.log_file)
        self._began = time.monotonic()
        with console.status("Reading checkpoint and samples ..."):
            start = settings.checkpoint_folder(settings.checkpoint)
            self.model = HMM.from_pretrained(start)
            loading = time.monotonic() - self._began
            self.identity = _identity(settings, self.model)
            self.progress = folder.progress(self.identity, self.log.position())
            if not self.progress.finished:
                if processes.rank == 0:
                    folder.check(step.checkpoint for step in self.plan[self.progress.step :])
                self.model = folder.load(self.progress, processes.device, (start.name, self.model))
        # A run that has little time does not spend it on a first save, to see how long that takes: about as a load.
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0 if settings.seconds is None else loading
        self._latest_step = 0.0  # seconds
        self._best: HMM | None = None  # not written yet

    def finish(self) -> TrainingResult:
        """Take all steps that are left."""
        if self.progress.finished:
            self._say(f"The run in {self.folder.path} is finished: nothing to do. {self._summary()}")
            return self._result(already_finished=True)
        self._make_ready()
        dev = dev_sequences(self.settings)
        prior = self._prior()
        with TrainingDisplay(self.console, len(self.plan), self.progress.step) as display:
            if self.progress.step == 0:
                self._judge_start(dev, display)
            for step in self.plan[self.progress.step :]:
                self._take(step, dev, prior, display)
                if self.progress.finished:
                    break
        self._say(self._summary())
        return self._result(already_finished=False)

    def _prior(self) -> Prior | None:
        settings = self.settings
        if settings.prior_strength == 0:
            return None
        model = self.model
        if self.progress.step or settings.prior_checkpoint != settings.checkpoint:
            model = HMM.from_pretrained(settings.checkpoint_folder(settings.prior_checkpoint))
        return Prior(model.emission.to_dense().to(self.processes.device), settings.prior_strength)

    def _make_ready(self) -> None:
        """Undo what a killed process left beyond its last saved state."""
        if self.processes.rank == 0:
            self.folder.clean()
            self.log.cut(self.progress.log_position)
            self.folder.write(self.identity, self.progress)
        if self.progress.step:
            self._say(f"Going on after step {self.progress.step}, checkpoint {self.progress.checkpoint}.")
        self.processes.wait()  # all have read the state before the first process writes another

    def _judge_start(self, dev: Tensor, display: TrainingDisplay) -> None:
        """Step 0: the log begins, and the first checkpoint is the best so far where it counts."""
        if self.processes.rank == 0:
            self.log.begin(self.identity)
        started = time.monotonic()
        value = mean_log_likelihood(self.model, dev, self.settings.batch_size, self.processes)
        best = self._remember(self.settings.checkpoint, value, counts=self.settings.quantization is None)
        seconds = time.monotonic() - started
        self._record(TrainingRecord.of(0, self.settings.checkpoint, None, value, None, best, seconds, None), display)
        self.progress = replace(self.progress, waited=0)

    def _take(self, step: Step, dev: Tensor, prior: Prior | None, display: TrainingDisplay) -> None:
        """One EM step: estimate, quantise where due, judge, record, save where due."""
        settings, processes = self.settings, self.processes
        started = time.monotonic()
        sequences = training_sequences(settings, step.chunks)
        display.begin_step(len(sequences))
        before = self.progress.checkpoint
        next_tokens = training_next_tokens(settings, step.chunks, self.model)
        em_step(self.model, sequences, settings.em, prior, processes, before, display.advance, next_tokens)
        speed = int(token_mask(sequences, self.model.eos_token_id).sum()) / (time.monotonic() - started)
        bits = self._quantise(step)
        train_value = mean_log_likelihood(self.model, sequences[: len(dev)], settings.batch_size, processes)
        dev_value = mean_log_likelihood(self.model, dev, settings.batch_size, processes)
        best = self._remember(step.checkpoint, dev_value, counts=settings.quantization is None or bits is not None)
        seconds = time.monotonic() - started
        self._record(
            TrainingRecord.of(step.number, step.checkpoint, train_value, dev_value, bits, best, seconds, speed), display
        )
        self._latest_step = seconds
        stopped = settings.patience is not None and self.progress.waited >= settings.patience
        stopped = stopped or self._is_late()
        self.progress = replace(
            self.progress,
            step=step.number,
            checkpoint=step.checkpoint,
            finished=stopped or step.number == len(self.plan),
        )
        if processes.rank == 0:
            self._save(before)
        if self.progress.finished:
            processes.wait()  # no process is gone before the last checkpoint is there

    def _is_late(self) -> bool:
        """Whether another step, and saving it, would take longer than there is time."""
        if self.settings.seconds is None:
            return False
        needed = time.monotonic() - self._began + self._latest_step + self._save_seconds
        late = torch.tensor(float(needed > self.settings.seconds))
        return float(self.processes.sum(late)) > 0  # all stop where one is late

    def _quantise(self, step: Step) -> int | None:
        """Replace the distributions by quantised ones where the schedule says so; the bits, or None."""
        quantization = self.settings.quantization
        bits = quantization.bits_at(step.number, len(self.plan)) if quantization is not None else None
        if quantization is not None and bits is not None:
            model = self.model
            dense = (model.transition.to_dense(), model.emission.to_dense(), model.initial)
            transition, emission, initial = quantize_distributions(
                *dense, quantization.method, bits, quantization.initial
            )
            gamma = model.gamma if initial is dense[2] else initial.log()
            model.update_params(transition.contiguous(), token_major(emission.log()), gamma)
        return bits

    def _remember(self, checkpoint: int, dev: Likelihood, counts: bool) -> bool:
        """Keep the model as the best where it is; only models that count are compared, and waited for.

        It is written with the next state: a killed run goes on from there, and finds it again.
        """
        best = self.progress.best_dev
        better = counts and (best is None or dev.per_token > best)
        if better:
            self._best = self.model.sharing()
            self.progress = replace(self.progress, best_dev=dev.per_token, best_checkpoint=checkpoint, waited=0)
        elif counts:
            self.progress = replace(self.progress, waited=self.progress.waited + 1)
        return better

    def _record(self, record: TrainingRecord, display: TrainingDisplay) -> None:
        if self.processes.rank == 0:
            self.log.add(record)
            self.progress = replace(self.progress, log_position=self.log.position())
        display.add(record)

    def _save(self, checkpoint_before: int) -> None:
        """Write a checkpoint that is kept, or a state to resume from, where one is due."""
        started = time.monotonic()
        progress, every = self.progress, self.settings.save_per_step
        if progress.finished or progress.checkpoint // every > checkpoint_before // every:
            parameters = self.folder.save(self.model, progress.checkpoint)
        elif started - self._saved_at >= self._save_seconds / MOST_TIME_SAVING:
            parameters = self.folder.save_for_resume(self.model, progress.step)
        else:
            return
        if self._best is not None:
            last = progress.best_checkpoint == progress.checkpoint
            self.folder.save_best(self._best, parameters if last else None)
            self._best = None
        self.folder.write(self.identity, replace(progress, parameters=parameters))
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False)

    def _summary(self) -> str:
        progress = self.progress
        shown = f"Last: {self.settings.checkpoint_folder(progress.checkpoint)}."
        if progress.best_dev is None:
            return shown
        return f"{shown} Best: checkpoint {progress.best_checkpoint}, dev {progress.best_dev:.4f} nats per token."

    def _result(self, already_finished: bool) -> TrainingResult:
        progress = self.progress
        return TrainingResult(
            checkpoint=self.settings.checkpoint_folder(progress.checkpoint),
            best=self.folder.path / BEST,
            best_checkpoint=progress.best_checkpoint,
            best_dev=progress.best_dev,
            steps=progress.step,
            stopped_early=progress.step < len(self.plan),
            already_finished=already_finished,
        )


def _identity(settings: TrainingSettings, model: HMM) -> dict[str, Any]:
    """What makes two starts the same run: settings, samples and the checkpoints it starts from."""
    start = settings.checkpoint_folder(settings.checkpoint)
    identity = settings.comparable() | {
        "data": check_data(settings, model.vocab_size, model.eos_token_id),
        "start": file_digest(start / SAFETENSORS_SINGLE_FILE),
    }
    if settings.prior_strength > 0:
        prior = settings.checkpoint_folder(settings.prior_checkpoint)
        identity["prior"] = file_digest(prior / SAFETENSORS_SINGLE_FILE)
    return identity
