"""The compressed HMM: everything decoding asks of an HMM, on codes instead of floats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from torch import Tensor

from ctrlg.arguments import AboveZero, checked
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.hmm import HMM, SavedOverHMMs, SequenceModel
from ctrlg.hmm.inference import Parameters
from ctrlg.hmm.matrices import MatrixHMM
from ctrlg.matrices import CompressedMatrix
from ctrlg.quantization.methods import STORED
from ctrlg.storage import checkpoint
from ctrlg.storage.checkpoint import StoredHMM
from ctrlg.storage.hub import fetch_checkpoint


class QuantizedHMM(
    SavedOverHMMs,
    ModelHubMixin,
    SequenceModel,
    MatrixHMM[CompressedMatrix],
    library_name="ctrlg",
    tags=["hmm", "norm-q"],
):
    """A hidden Markov model with H states over V tokens whose matrices stay compressed while it runs.

    Made by `ctrlg.quantize` or `from_pretrained`.

    Args:
        transition: p(z_{t+1} | z_t), [H, H].
        emission: p(x_t | z_t), [H, V].
        initial: p(z_1), float32 [H]; or, where it is compressed too, a matrix [1, H], which becomes `coded_initial`
            while `initial` is the same in float32.
        eos_token_id: the token that ends a text, in [0, V).
        method: how it was made.
        bits: of a code on disk.
        fingerprint: of the vocabulary, None where unknown.
        settings: further arguments of the method, kept for the record.
        strength: how strongly it should pull where a caller does not say, > 0 (see `ctrlg.generate`).

    Raises:
        ArgumentError: parts that do not fit together.
    """

    @checked
    def __init__(
        self,
        transition: CompressedMatrix,
        emission: CompressedMatrix,
        initial: Tensor | CompressedMatrix,
        eos_token_id: int,
        *,
        method: str,
        bits: int,
        fingerprint: str | None = None,
        settings: Mapping[str, Any] | None = None,
        strength: AboveZero = 1.0,
    ) -> None:
        states = emission.shape[0]
        self.coded_initial = initial if isinstance(initial, CompressedMatrix) else None
        if isinstance(initial, CompressedMatrix):
            if initial.shape != (1, states):
                raise ArgumentError(f"a coded initial distribution {initial.shape}", hint=f"its shape is (1, {states})")
            initial = initial.to_dense()[0]
        self.transition = transition
        self.emission = emission
        self.initial = initial
        self.eos_token_id = eos_token_id
        self.check_parts()
        self.method = method
        self.bits = bits
        self.fingerprint = fingerprint
        self.settings = dict(settings or {})
        self.strength = strength

    def __repr__(self) -> str:
        return (
            f"QuantizedHMM({self.hidden_states} states, {self.vocab_size} tokens, {self.method}, {self.bits} bits, "
            f"transition {self.transition.layout}, emission {self.emission.layout}, {self.nbytes:,} bytes)"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of memory while it runs: codes (8 bits each), indices, levels and the initial distribution."""
        coded = 0 if self.coded_initial is None else self.coded_initial.nbytes
        return super().nbytes + coded

    @property
    def packed_nbytes(self) -> int:
        """Bytes of the file `model.safetensors`: codes in `bits` bits, indices entropy coded. Encodes them to know."""
        return checkpoint.file_size(self._stored())

    @property
    def inference_parameters(self) -> Parameters:
        """What the functions of `ctrlg.hmm.inference` take."""
        return Parameters(self.transition, self.emission, self.initial)

    def to(self, device: torch.device | str) -> QuantizedHMM:
        """The same model on another device.

        Args:
            device: to move to.
        """
        return QuantizedHMM(
            self.transition.to(device),
            self.emission.to(device),
            self._stored().initial.to(device),
            self.eos_token_id,
            method=self.method,
            bits=self.bits,
            fingerprint=self.fingerprint,
            settings=self.settings,
            strength=self.strength,
        )

    def dequantize(self) -> HMM:
        """The dense HMM with the same probabilities: for comparison, and for tools that know only dense ones."""
        return HMM.of_parameters(
            self.transition.to_dense(), self.emission.to_dense(), self.initial, self.eos_token_id, self.fingerprint
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        """Called by `save_pretrained`: writes model.safetensors and config.json, each atomically."""
        checkpoint.write(Path(save_directory), self._stored())

    @classmethod
    @checked
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *, device: torch.device | str = "cpu", **options: Any
    ) -> QuantizedHMM:
        """The model in a local folder or a hub repository, validated.

        Args:
            pretrained_model_name_or_path: a folder or a repository of the Hugging Face hub.
            device: where the model goes.
            options: `revision`, `cache_dir`, `force_download`, `token`, `local_files_only` of huggingface_hub.

        Raises:
            CheckpointError: there is none, or it is foreign, damaged or of an unknown format.
        """
        stored = checkpoint.read(fetch_checkpoint(pretrained_model_name_or_path, options))
        if stored.method not in STORED:
            raise CheckpointError(f"method {stored.method!r} is none of {', '.join(STORED)}")
        return cls(**stored._asdict()).to(device)

    def _stored(self) -> StoredHMM:
        return StoredHMM(
            self.transition,
            self.emission,
            self.initial if self.coded_initial is None else self.coded_initial,
            self.eos_token_id,
            self.method,
            self.bits,
            self.fingerprint,
            self.settings,
            self.strength,
        )
