"""The HMM as users hold it: Ctrl-G's class, its parameter names and its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.files import fetch_checkpoint
from ctrlg.hmm.inference import Parameters
from ctrlg.hmm.sequences import SequenceModel
from ctrlg.matrices import DenseMatrix

ROW_SUM_TOLERANCE = 1e-2  # float32 rows of 50,000 probabilities, written as logs, do not sum to 1 exactly


class HMM(nn.Module, PyTorchModelHubMixin, SequenceModel):
    """Hidden Markov model with H hidden states over V tokens, dense, float32.

    alpha_exp: transition probabilities [H, H]. beta: log emission probabilities [H, V]. gamma: log initial
    probabilities [H] (Ctrl-G's names; checkpoints are interchangeable). A new model is random, `from_pretrained`
    draws nothing.

    hidden_states, vocab_size >= 1; eos_token_id in [0, vocab_size). fingerprint: of the vocabulary it was distilled
    over (`Vocabulary.fingerprint`), None where unknown. Raises ArgumentError for sizes out of range.
    """

    def __init__(self, hidden_states: int, vocab_size: int, eos_token_id: int, fingerprint: str | None = None) -> None:
        super().__init__()
        if hidden_states < 1 or vocab_size < 1 or not 0 <= eos_token_id < vocab_size:
            raise ArgumentError(
                f"hidden_states {hidden_states}, vocab_size {vocab_size}, eos_token_id {eos_token_id}",
                hint="sizes are at least 1 and the end-of-text token lies inside the vocabulary",
            )
        self.hidden_states = hidden_states
        self.vocab_size = vocab_size
        self.eos_token_id = eos_token_id
        self.fingerprint = fingerprint
        self.alpha_exp = _parameter(torch.empty(hidden_states, hidden_states, dtype=torch.float32))
        self.beta = _parameter(torch.empty(hidden_states, vocab_size, dtype=torch.float32))
        self.gamma = _parameter(torch.empty(hidden_states, dtype=torch.float32))
        if not self.gamma.is_meta:
            self._draw()
        self._emission: tuple[tuple[int, int], DenseMatrix] | None = None

    def _draw(self) -> None:
        """Random distributions."""
        self.alpha_exp.copy_(torch.softmax(torch.randn(self.alpha_exp.shape, dtype=torch.float32), dim=1))
        self.beta.copy_(torch.log_softmax(torch.randn(self.beta.shape, dtype=torch.float32), dim=1))
        self.gamma.copy_(torch.log_softmax(torch.randn(self.gamma.shape, dtype=torch.float32), dim=0))

    @classmethod
    def of_parameters(
        cls,
        transition: Tensor,
        emission: Tensor,
        initial: Tensor,
        eos_token_id: int,
        fingerprint: str | None = None,
    ) -> HMM:
        """The model with these probabilities: transition [H, H], emission [H, V], initial [H]; rows sum to 1.

        Raises ArgumentError for shapes that do not fit and rows that are not distributions.
        """
        model = cls._empty(emission.shape[0], emission.shape[1], eos_token_id, fingerprint)
        model.update_params(transition.float(), emission.float().log(), initial.float().log())
        model.check()
        return model

    def update_params(self, alpha_exp: Tensor, beta: Tensor, gamma: Tensor) -> None:
        """Replace the parameters: probabilities [H, H], log-probabilities [H, V] and [H]. Raises ArgumentError."""
        states, vocabulary = self.hidden_states, self.vocab_size
        shapes = tuple(map(tuple, (alpha_exp.shape, beta.shape, gamma.shape)))
        if shapes != ((states, states), (states, vocabulary), (states,)):
            raise ArgumentError(
                f"parameters have shapes {shapes}",
                hint=f"expected {((states, states), (states, vocabulary), (states,))}",
            )
        self.alpha_exp, self.beta, self.gamma = _parameter(alpha_exp), _parameter(beta), _parameter(gamma)
        self._emission = None

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.alpha_exp.device

    @property
    def nbytes(self) -> int:
        """Bytes of the parameters."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.parameters())

    @property
    def transition(self) -> DenseMatrix:
        """p(z_{t+1} | z_t), [H, H]; shares memory with `alpha_exp`."""
        return DenseMatrix(self.alpha_exp.detach())

    @property
    def emission(self) -> DenseMatrix:
        """p(x_t | z_t), [H, V]; exponentiated once and kept until `beta` changes."""
        key = (self.beta.data_ptr(), self.beta._version)
        if self._emission is None or self._emission[0] != key:
            self._emission = (key, DenseMatrix(self.beta.detach().exp()))
        return self._emission[1]

    @property
    def initial(self) -> Tensor:
        """p(z_1), [H]; normalised, as Ctrl-G does."""
        return torch.softmax(self.gamma.detach(), dim=0)

    @property
    def inference_parameters(self) -> Parameters:
        """What the functions of `ctrlg.hmm.inference` take."""
        return Parameters(self.transition, self.emission, self.initial)

    def check(self) -> None:
        """Raise ArgumentError where a parameter is NaN or a row is not a distribution."""
        for name, start, rows in self._probability_rows():
            sums = rows.double().sum(1)
            wrong = ~((sums - 1).abs() < ROW_SUM_TOLERANCE) | (rows < 0).any(1)
            if wrong.any():
                row = int(wrong.nonzero()[0])
                raise ArgumentError(
                    f"row {start + row} of {name} is not a distribution: it sums to {float(sums[row]):.6g}",
                    hint="rows are non-negative and sum to 1; alpha_exp holds probabilities, beta and gamma logs",
                )

    def _probability_rows(self, block: int = 256) -> Any:
        """(name, first row, probabilities) in blocks, so that checking needs no second copy of the model."""
        for start in range(0, self.hidden_states, block):
            yield "alpha_exp", start, self.alpha_exp.detach()[start : start + block]
            yield "exp(beta)", start, self.beta.detach()[start : start + block].exp()
        yield "softmax(gamma)", 0, self.initial[None]

    @classmethod
    def _empty(cls, hidden_states: int, vocab_size: int, eos_token_id: int, fingerprint: str | None = None) -> HMM:
        """A model without memory for its parameters, to be filled by update_params."""
        with torch.device("meta"):
            return cls(hidden_states, vocab_size, eos_token_id, fingerprint)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        map_location: str | torch.device = "cpu",
        **options: Any,
    ) -> HMM:
        """A checkpoint of ours or of Ctrl-G's; a compressed one is opened too, dequantised.

        pretrained_model_name_or_path: a folder or a repository of the Hugging Face hub. options: `revision`,
        `cache_dir`, `force_download`, `token`, `local_files_only`. Raises CheckpointError.
        """
        folder = fetch_checkpoint(pretrained_model_name_or_path, options)
        config = read_config(folder)
        if config.get("kind") == "quantized-hmm":
            from ctrlg.quantization import QuantizedHMM

            return QuantizedHMM.from_pretrained(folder).dequantize().to(map_location)
        return load_dense(cls, folder, config).to(map_location)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint folder. Raises CheckpointError where it is missing or not a JSON object."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} cannot be read: {error}",
            hint="a checkpoint is a folder with config.json and model.safetensors",
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} holds {type(config).__name__}, not an object")
    return config


def load_dense(cls: type[HMM], folder: Path, config: dict[str, Any]) -> HMM:
    """A Ctrl-G checkpoint as HMM, validated. Raises CheckpointError for what is foreign, truncated or no HMM."""
    sizes = {}
    for name in ("hidden_states", "vocab_size", "eos_token_id"):
        if not isinstance(config.get(name), int):
            raise CheckpointError(
                f"{folder}/config.json has no whole number {name!r}", hint="is this the checkpoint of an HMM?"
            )
        sizes[name] = config[name]
    file = folder / SAFETENSORS_SINGLE_FILE
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file} cannot be read: {error}",
            hint="the file is truncated or no safetensors file; fetch it again",
        ) from error
    missing = {"alpha_exp", "beta", "gamma"} - set(tensors)
    if missing:
        raise CheckpointError(
            f"{file} lacks {', '.join(sorted(missing))}; it holds {', '.join(sorted(tensors)) or 'nothing'}",
            hint="a Ctrl-G checkpoint holds alpha_exp, beta and gamma",
        )
    try:
        model = cls._empty(**sizes, fingerprint=config.get("fingerprint"))
        model.update_params(*(tensors[name].float() for name in ("alpha_exp", "beta", "gamma")))
        model.check()
    except ArgumentError as error:
        raise CheckpointError(f"{folder}: {error.message}", hint=error.hint) from error
    return model


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
