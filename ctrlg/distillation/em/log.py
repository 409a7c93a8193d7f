"""The log of a training run: one line of settings when it begins, then one per EM step.

Lines are JSON, or, in a file named *.txt or *.tsv, what Ctrl-G writes: the settings as a Python dictionary, then
checkpoint, train and dev log-likelihood (nats per sequence) with tabs between them, the train one -1.0 before any step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ctrlg.distillation.em.step import Likelihood
from ctrlg.errors import DataError
from ctrlg.files.atomic import append_line, read_lines
from ctrlg.files.disk import saving
from ctrlg.files.reading import read_text


@dataclass(frozen=True)
class TrainingRecord:
    """One step.

    Likelihoods are means in nats; `train` is over sequences of the step's chunks (as many as dev has), after the step
    and, as dev, without dropout; None at step 0, before any training.

    Attributes:
        step: its number; 0 before any training.
        checkpoint: chunks read so far.
        train_per_token: nats; None at step 0.
        train_per_sequence: nats; None at step 0.
        dev_per_token: nats.
        dev_per_sequence: nats.
        quantised: whether the parameters were quantized after this step.
        bits: of that quantization, else None.
        best: dev is the highest so far among the models that count.
        seconds: that the whole step took.
        tokens_per_second: of its E-step.
    """

    step: int
    checkpoint: int
    train_per_token: float | None
    train_per_sequence: float | None
    dev_per_token: float
    dev_per_sequence: float
    quantised: bool
    bits: int | None
    best: bool
    seconds: float
    tokens_per_second: float | None

    @classmethod
    def of(
        cls,
        step: int,
        checkpoint: int,
        train: Likelihood | None,
        dev: Likelihood,
        bits: int | None,
        best: bool,
        seconds: float,
        tokens_per_second: float | None,
    ) -> TrainingRecord:
        """The record of a step from its parts.

        Args:
            step: its number.
            checkpoint: chunks read so far.
            train: likelihood of the chunks; None at step 0.
            dev: likelihood of the dev file.
            bits: where the parameters were quantized, else None.
            best: whether dev is the highest so far.
            seconds: that the step took.
            tokens_per_second: of its E-step.
        """
        per_token, per_sequence = (train.per_token, train.per_sequence) if train is not None else (None, None)
        return cls(
            step=step,
            checkpoint=checkpoint,
            train_per_token=per_token,
            train_per_sequence=per_sequence,
            dev_per_token=dev.per_token,
            dev_per_sequence=dev.per_sequence,
            quantised=bits is not None,
            bits=bits,
            best=best,
            seconds=round(seconds, 3),
            tokens_per_second=None if tokens_per_second is None else round(tokens_per_second, 1),
        )


TAB_SEPARATED = (".txt", ".tsv")  # endings of the names of logs with Ctrl-G's lines


def is_tab_separated(path: str | Path) -> bool:
    """Whether a log of this name has Ctrl-G's lines.

    Args:
        path: of the log.
    """
    return Path(path).suffix.lower() in TAB_SEPARATED


class TrainingLog:
    """A log file that a resumed run cuts back to where its saved state stands, so that no step is told twice.

    Args:
        path: of the log.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def check(self) -> None:
        """Check that lines may be added to the file.

        Raises:
            DataError: it is something else than a training log.
        """
        if is_tab_separated(self.path):
            self._check_tab_separated()
            return
        for number, line in enumerate(read_lines(self.path), start=1):
            if "settings" not in line and "step" not in line:
                raise DataError(f"{self.path}, line {number}, is not of a training log", hint="choose another log_file")

    def _check_tab_separated(self) -> None:
        for number, line in enumerate(read_text(self.path).split("\n") if self.path.is_file() else [], start=1):
            if line and not line.startswith("{'") and len(line.split("\t")) != 3:
                raise DataError(f"{self.path}, line {number}, is not of a training log", hint="choose another log_file")

    def position(self) -> int:
        """Bytes written so far, 0 where there is no file."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def cut(self, position: int) -> None:
        """Drop what was written after `position`.

        Args:
            position: bytes.

        Raises:
            DataError: the file is shorter than that.
        """
        if self.position() < position:
            raise DataError(
                f"{self.path} has {self.position()} bytes, the interrupted run had written {position}",
                hint="put the log back to go on with that run, or remove the folder resume/ beside the checkpoints",
            )
        if self.path.is_file():
            with self.path.open("r+b") as file:
                file.truncate(position)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Add the line of settings with which a run begins.

        Args:
            settings: of the run.
        """
        if is_tab_separated(self.path):
            self._append(str(dict(settings)))
        else:
            append_line(self.path, {"settings": dict(settings)})

    def add(self, record: TrainingRecord) -> None:
        """Add the line of a step.

        Args:
            record: of the step.
        """
        if is_tab_separated(self.path):
            train = -1.0 if record.train_per_sequence is None else record.train_per_sequence
            self._append(f"{record.checkpoint}\t{train}\t{record.dev_per_sequence}")
        else:
            append_line(self.path, asdict(record))

    def _append(self, line: str) -> None:
        with saving(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_log(path: str | Path) -> tuple[dict[str, Any], list[TrainingRecord]]:
    """Settings of the last run that began in a log, and the records of all steps in it.

    Args:
        path: of the log.

    Raises:
        DataError: the file is missing, is no such log, or holds no step yet.
    """
    settings: dict[str, Any] = {}
    records: list[TrainingRecord] = []
    try:
        for line in Path(path).read_text(encoding="utf-8").split("\n")[:-1]:  # a last line without end is half written
            content = json.loads(line)
            if "settings" in content:
                settings = content["settings"]
            else:
                records.append(TrainingRecord(**content))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no training log: {error}", hint="train_hmm.py writes one to --log_file") from error
    if not records:
        raise DataError(f"{path} holds no step", hint="wait until the first step is done")
    return settings, records
