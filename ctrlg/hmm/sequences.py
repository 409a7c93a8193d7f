"""What every HMM can do with sequences, however its matrices are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from ctrlg.arguments import Positive, checked, path
from ctrlg.files.folders import check_hmm_files
from ctrlg.hmm import inference
from ctrlg.hmm.inference import Parameters


class SavedOverHMMs:
    """Before a mixin of the Hugging Face hub: `save_pretrained` then replaces no files but those of an HMM."""

    @checked
    def save_pretrained(self, save_directory: Annotated[str | Path, path], **options: Any) -> str | None:
        """Write config.json, model.safetensors and, where there is none, README.md; other files of the folder stay.

        Args:
            save_directory: the folder.
            options: of `huggingface_hub.ModelHubMixin.save_pretrained`.

        Raises:
            ArgumentError: config.json or model.safetensors is there and not of an HMM (nothing is changed then), or the
                folder cannot be written.
        """
        check_hmm_files(Path(save_directory))
        return super().save_pretrained(save_directory, **options)  # type: ignore[misc]


class SequenceModel(ABC):
    """Likelihood and sampling for a model that names its distributions in `inference_parameters`."""

    eos_token_id: int

    @property
    @abstractmethod
    def inference_parameters(self) -> Parameters:
        """What the functions of `ctrlg.hmm.inference` take."""

    @checked
    @torch.no_grad()
    def log_likelihood(self, input_ids: Tensor) -> Tensor:
        """log p of each sequence.

        Args:
            input_ids: int64 [B, T], -1 for missing tokens.

        Returns:
            Nats, [B].
        """
        parameters = self.inference_parameters
        return inference.log_likelihood(parameters, input_ids.to(parameters.initial.device))

    @checked
    def loglikelihood(self, input_ids: Tensor, batch_size: Positive) -> Tensor:
        """Sum of log-likelihoods over the data (Ctrl-G's interface).

        Args:
            input_ids: int64 [n, T], -1 for missing tokens.
            batch_size: rows at a time.

        Returns:
            Nats, [1].
        """
        sums = [self.log_likelihood(rows).sum() for rows in input_ids.split(batch_size)]
        return torch.stack(sums).sum()[None]

    @checked
    @torch.no_grad()
    def sample(self, n: Positive, length: Positive, generator: torch.Generator | None = None) -> Tensor:
        """Sequences sampled from the model.

        Args:
            n: how many, >= 1.
            length: tokens of each, >= 1.
            generator: of random numbers, on the device of the model; torch's own where None.

        Returns:
            int64 [n, length].
        """
        return inference.sample_tokens(self.inference_parameters, n, length, generator)
