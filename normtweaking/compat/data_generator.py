"""`DataGenerator` of the norm-tweaking repository: calibration texts of a model's own, in its file names.

The texts are those of `normtweaking.texts.generation`: every row is full, since another text begins where one ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ctrlg.devices import checked_device
from ctrlg.errors import DataError
from ctrlg.loading.language_models import load_language_model
from normtweaking.texts.calibration import CalibrationData as Calibration
from normtweaking.texts.generation import CalibrationSettings, Progress, generate_calibration

LONGEST_SAMPLE = 2048  # tokens, the paper's, of models that could read more
BATCH = 16  # rows at once


class CalibrationData:
    """Texts and where they are from.

    Args:
        model_name: of the language model.
        token_length: tokens of a sample.
        tensors: tokens int64 [B, T] each, of one model and of token_length at most.
    """

    def __init__(self, model_name: str, token_length: int, tensors: Sequence[Tensor]) -> None:
        self.model_name = model_name
        self.token_length = token_length
        self.tensors = list(tensors)

    def save(self, save_dir: str | Path) -> Path:
        """Write the samples into a file of `save_dir` named after them; returns it.

        Args:
            save_dir: the folder.

        Raises:
            DataError: there are none, or the name is that of a file with other samples.
        """
        rows = [row for tensor in self.tensors for row in tensor.cpu()]
        path = Path(save_dir) / file_name(self.model_name, self.token_length, len(rows))
        data = Calibration.of_rows(rows, {"source": self.model_name})
        if path.exists() and Calibration.load(path).digest() != data.digest():
            raise DataError(f"{path} holds other samples", hint="move it, or choose another folder")
        data.save(path)
        return path


class DataGenerator:
    """Lets a causal language model write calibration texts.

    Args:
        tokenizer: of the model.
        model: bare or causal, of transformers.

    Attributes:
        device: a GPU where there is one, until `to` says otherwise.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.model_name = str(model.config.name_or_path)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    @staticmethod
    def from_pretrained(model_name_or_path: str | Path) -> DataGenerator:
        """Of a model by its name, see `ctrlg.loading.language_models.load_language_model`; raises as that.

        Args:
            model_name_or_path: id, folder, or .gguf file.
        """
        model, tokenizer = load_language_model(model_name_or_path)
        generator = DataGenerator(tokenizer, model)
        generator.model_name = str(model_name_or_path)
        return generator

    def to(self, device: str | torch.device) -> None:
        """Move the model.

        Args:
            device: of the model.

        Raises:
            ArgumentError: a device that cannot be used.
        """
        self.device = str(checked_device(device))
        self.model.to(self.device)

    def generate(
        self,
        n_samples: int = 128,
        token_length: int | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> CalibrationData:
        """Texts in memory.

        Args:
            n_samples: how many.
            token_length: of each; what the model can read where None, 2048 at most.
            seed: from torch's global generator where None.
            progress: called with the tokens written, of all.

        Raises:
            ArgumentError: numbers out of range.
        """
        seed = int(torch.randint(2**31, (1,))) if seed is None else seed
        settings = self._settings(n_samples, token_length, seed)
        with tempfile.TemporaryDirectory() as folder:
            data = self._write(settings, Path(folder) / "samples", progress)
        return CalibrationData(self.model_name, settings.length, data.tokens.split(BATCH))

    def generate_into(
        self,
        save_dir: str | Path,
        n_samples: int = 128,
        token_length: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Path:
        """Texts in a file of `save_dir`, named as `CalibrationData.save` does; returns it.

        A job that was interrupted goes on where it was, and a file that is there is only checked.

        Args:
            save_dir: the folder.
            n_samples: how many.
            token_length: tokens of a sample.
            seed: of everything random.
            progress: called with the tokens written, of all.

        Raises:
            ArgumentError: numbers out of range, or the file holds samples of other settings.
        """
        settings = self._settings(n_samples, token_length, seed)
        path = Path(save_dir) / file_name(self.model_name, settings.length, n_samples)
        self._write(settings, path, progress)
        return path

    def _settings(self, n_samples: int, token_length: int | None, seed: int) -> CalibrationSettings:
        room = getattr(self.model.config, "max_position_embeddings", None) or LONGEST_SAMPLE
        length = min(room, LONGEST_SAMPLE) if token_length is None else token_length
        return CalibrationSettings(n_samples, length, batch_size=BATCH, seed=seed)

    def _write(self, settings: CalibrationSettings, path: Path, progress: Progress | None) -> Calibration:
        self.to(self.device)
        return generate_calibration(self.model.eval(), self.tokenizer, settings, path, progress)


def file_name(model_name: str, token_length: int, samples: int) -> str:
    """The name of a file of samples.

    Args:
        model_name: of the language model.
        token_length: tokens of a sample.
        samples: how many.
    """
    return (
        f"normtweaking_calibration_data_{model_name.replace('/', '-')}_{token_length}token_{samples}samples.safetensors"
    )
