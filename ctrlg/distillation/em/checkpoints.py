"""Checkpoints of a training run and the state it goes on from after it was killed, at whatever moment.

HMM/resume/state.json names a folder of parameters (HMM/resume/step-K, or a kept checkpoint). Folders are
written under new names and renamed into place; then state.json is replaced, which is atomic; then what no state names
any more is removed. EM is a function of parameters, data and step number, so replaying from there gives the same bits.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ctrlg.distillation.em.step import token_major
from ctrlg.errors import CheckpointError, differing_settings
from ctrlg.files.atomic import write_json
from ctrlg.files.disk import temporary_of
from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder, remove_folder
from ctrlg.files.locks import Lock
from ctrlg.hmm import HMM

BEST = "best"  # folder of the checkpoint with the highest dev likelihood
_CHECKPOINT = re.compile(rf"checkpoint-\d+|{BEST}|step-\d+")
_JUDGED_BY = (
    *("data", "sample_length"),
    *("quantization_step", "quantization_bit_width", "quantization_method", "quantization_initial"),
)


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: the last that is done.
        checkpoint: its number.
        parameters: folder below the run's where they are.
        log_position: bytes of the log.
        best_dev: highest dev log-likelihood per token so far, nats, of checkpoint best_checkpoint; None while no model
            counts.
        best_checkpoint: its number; None while no model counts.
        waited: evaluations since.
        finished: nothing is left to do.
    """

    step: int
    checkpoint: int
    parameters: str
    log_position: int
    best_dev: float | None = None
    best_checkpoint: int | None = None
    waited: int = 0
    finished: bool = False


class RunFolder:
    """The folder of a run with its checkpoints, `best` and `resume`.

    Args:
        path: of the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._resume = self.path / "resume"
        self._state = self._resume / "state.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder; the lock goes with the process.

        Raises:
            ArgumentError: another run is in it.
        """
        with Lock(self._state, f"training in {self.path}"):
            yield

    def check(self, checkpoints: Iterable[int]) -> None:
        """Check that a run may write its checkpoints.

        Args:
            checkpoints: numbers of those that it may write.

        Raises:
            ArgumentError: one of them would replace a folder that is not ours.
        """
        for name in (BEST, *(f"checkpoint-{checkpoint}" for checkpoint in checkpoints)):
            check_folder(self.path / name, HMM_FOLDER)

    def progress(self, settings: dict[str, Any], log_position: int) -> Progress:
        """Where the run with these settings stands: at its beginning where the folder holds no run.

        A finished run is continued by settings that start from its last checkpoint; its best model then stays the best
        where both are judged alike.

        Args:
            settings: of the run, as `TrainingSettings.comparable` gives them.
            log_position: bytes of the log, of a run that begins.

        Raises:
            CheckpointError: a run with other settings (the message names them), or a state that cannot be read.
        """
        beginning = Progress(0, settings["checkpoint"], f"checkpoint-{settings['checkpoint']}", log_position)
        if not self._state.is_file():
            return beginning
        try:
            content = json.loads(self._state.read_text(encoding="utf-8"))
            theirs, progress = content["settings"], Progress(**content["progress"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self._state} cannot be read: {error}", hint=f"remove {self._resume} to begin the run anew"
            ) from error
        if theirs == settings:
            return progress
        if progress.finished and settings["checkpoint"] == progress.checkpoint:
            if any(theirs.get(name) != settings.get(name) for name in _JUDGED_BY):
                return beginning
            return replace(beginning, best_dev=progress.best_dev, best_checkpoint=progress.best_checkpoint)
        raise CheckpointError(
            f"{self.path} holds {'a finished' if progress.finished else 'an interrupted'} run with other settings: "
            f"{differing_settings(theirs, settings)}",
            hint="give the same settings to go on, start from the last checkpoint of a finished run to continue it, "
            f"choose another folder, or remove {self._resume} to begin anew",
        )

    def write(self, settings: dict[str, Any], progress: Progress) -> None:
        """Make this the state to go on from, and remove what it no longer needs.

        Args:
            settings: of the run, as `TrainingSettings.comparable` gives them.
            progress: how far the run is.
        """
        write_json(self._state, {"settings": settings, "progress": asdict(progress)})
        for folder in self._resume.glob("step-*"):
            if f"resume/{folder.name}" != progress.parameters:
                remove_folder(folder, HMM_FOLDER)

    def load(self, progress: Progress, device: Any, known: tuple[str, HMM] | None = None) -> HMM:
        """The model of a state.

        Args:
            progress: how far the run is.
            device: to load to.
            known: a folder of parameters and the model in it, where it was read already.

        Raises:
            CheckpointError: its parameters are gone, or are no HMM.
        """
        folder = self.path / progress.parameters
        if not folder.is_dir():
            raise CheckpointError(
                f"the checkpoint {folder} of this run is gone", hint=f"remove {self._resume} to begin the run anew"
            )
        read = known[1] if known is not None and known[0] == progress.parameters else HMM.from_pretrained(folder)
        model = read.to(device)
        # Copied, so that alignment and layout in memory are those after a step: products may round otherwise in others.
        model.update_params(model.alpha_exp.clone(), token_major(model.beta), model.gamma.clone())
        return model

    def save_for_resume(self, model: HMM, step: int) -> str:
        """Write the parameters after a step for `Progress.parameters`.

        Args:
            model: to write.
            step: its number, from 1.
        """
        name = f"resume/step-{step}"
        save_checkpoint(model, self.path / name)
        return name

    def save(self, model: HMM, checkpoint: int) -> str:
        """Write a checkpoint that is kept, for `Progress.parameters`.

        Args:
            model: to write.
            checkpoint: its number.
        """
        name = f"checkpoint-{checkpoint}"
        save_checkpoint(model, self.path / name)
        return name

    def save_best(self, model: HMM, there: str | None = None) -> None:
        """Write or overwrite the best model.

        Args:
            model: to write.
            there: a folder of parameters that holds it already.
        """
        if there is None:
            save_checkpoint(model, self.path / BEST)
        else:
            copy_checkpoint(self.path / there, self.path / BEST)

    def clean(self) -> None:
        """Remove what a killed process left half written. Only under the lock."""
        for path in (*self.path.glob(".*"), *self._resume.glob(".*")):
            if _CHECKPOINT.fullmatch(temporary_of(path.name) or ""):
                shutil.rmtree(path, ignore_errors=True)


def save_checkpoint(model: HMM, folder: Path) -> None:
    """Write a model so that a whole checkpoint stands there at every moment, also where it replaces one.

    Args:
        model: to write.
        folder: to write.
    """
    with atomic_folder(folder, HMM_FOLDER) as temporary:
        model.save_pretrained(temporary)


def copy_checkpoint(source: Path, folder: Path) -> None:
    """As `save_checkpoint`, of a model that is on disk: as further names of its files where the disk allows that, which
    nobody changes in place.

    Args:
        source: folder of a checkpoint.
        folder: to write.
    """
    with atomic_folder(folder, HMM_FOLDER) as temporary:
        for file in source.glob("[!.]*"):
            _link_or_copy(file, temporary / file.name)


def _link_or_copy(file: Path, copy: Path) -> None:
    try:
        copy.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, copy)
