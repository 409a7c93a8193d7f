"""The HMM as users hold it: Ctrl-G's class, its parameter names and its checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from torch import Tensor, nn

from ctrlg.arguments import Natural, Positive, VocabularySize, checked
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.files.tensors import FLOAT_TYPES, load_tensors, metadata_of, require_tensors, write_tensors
from ctrlg.hmm import flows
from ctrlg.hmm.changes import Seen
from ctrlg.hmm.inference import Parameters
from ctrlg.hmm.sequences import SavedOverHMMs, SequenceModel
from ctrlg.matrices import DenseMatrix
from ctrlg.storage import checkpoint
from ctrlg.storage.config import read_config, read_sizes
from ctrlg.storage.hub import fetch_checkpoint

ROW_SUM_TOLERANCE = 1e-2  # float32 rows of 50,000 probabilities, written as logs, do not sum to 1 exactly
CHECKSUM = "sha256"  # entry of the metadata of our files


class HMM(SavedOverHMMs, nn.Module, PyTorchModelHubMixin, SequenceModel):
    """Hidden Markov model with H hidden states over V tokens, dense, float32.

    Its parameters have Ctrl-G's names; checkpoints are interchangeable. A new model is random, `from_pretrained`
    samples nothing.

    Args:
        hidden_states: H, >= 1.
        vocab_size: V, >= 1.
        eos_token_id: the token that ends a text, in [0, V).
        fingerprint: of the vocabulary it was distilled over (`Vocabulary.fingerprint`), None where unknown.

    Attributes:
        alpha_exp: transition probabilities [H, H].
        beta: log emission probabilities [H, V].
        gamma: log initial probabilities [H].

    Raises:
        ArgumentError: sizes out of range.
    """

    @checked
    def __init__(
        self, hidden_states: Positive, vocab_size: VocabularySize, eos_token_id: Natural, fingerprint: str | None = None
    ) -> None:
        super().__init__()
        if eos_token_id >= vocab_size:
            raise ArgumentError(
                f"hidden_states {hidden_states}, vocab_size {vocab_size}, eos_token_id {eos_token_id}",
                hint="the end-of-text token lies inside the vocabulary",
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
        self._emission: tuple[Seen, DenseMatrix] | None = None

    def _draw(self) -> None:
        """Random distributions."""
        self.alpha_exp.copy_(torch.softmax(torch.randn(self.alpha_exp.shape, dtype=torch.float32), dim=1))
        self.beta.copy_(torch.log_softmax(torch.randn(self.beta.shape, dtype=torch.float32), dim=1))
        self.gamma.copy_(torch.log_softmax(torch.randn(self.gamma.shape, dtype=torch.float32), dim=0))

    @classmethod
    @checked
    def of_parameters(
        cls,
        transition: Tensor,
        emission: Tensor,
        initial: Tensor,
        eos_token_id: int,
        fingerprint: str | None = None,
    ) -> HMM:
        """The model with these probabilities.

        Args:
            transition: [H, H], rows sum to 1.
            emission: [H, V], rows sum to 1.
            initial: [H], sums to 1.
            eos_token_id: the token that ends a text, in [0, V).
            fingerprint: of the vocabulary, None where unknown.

        Raises:
            ArgumentError: shapes that do not fit and rows that are not distributions.
        """
        if emission.dim() != 2:
            raise ArgumentError(f"emission has shape {list(emission.shape)}", hint="[H, V]: states and tokens")
        model = cls._empty(emission.shape[0], emission.shape[1], eos_token_id, fingerprint)
        model.update_params(transition.float(), emission.float().log(), initial.float().log())
        model.check()
        return model

    @checked
    def update_params(self, alpha_exp: Tensor, beta: Tensor, gamma: Tensor) -> None:
        """Replace the parameters.

        Args:
            alpha_exp: transition probabilities [H, H].
            beta: log emission probabilities [H, V].
            gamma: log initial probabilities [H].

        Raises:
            ArgumentError: other shapes.
        """
        states, vocabulary = self.hidden_states, self.vocab_size
        shapes = tuple(map(tuple, (alpha_exp.shape, beta.shape, gamma.shape)))
        if shapes != ((states, states), (states, vocabulary), (states,)):
            raise ArgumentError(
                f"parameters have shapes {shapes}",
                hint=f"expected {((states, states), (states, vocabulary), (states,))}",
            )
        self.alpha_exp, self.beta, self.gamma = _parameter(alpha_exp), _parameter(beta), _parameter(gamma)
        self._emission = None

    def sharing(self) -> HMM:
        """A model of its own with these very parameters: `update_params` of either leaves the other as it is."""
        model = self._empty(self.hidden_states, self.vocab_size, self.eos_token_id, self.fingerprint)
        model.update_params(self.alpha_exp.detach(), self.beta.detach(), self.gamma.detach())
        return model

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
        """p(x_t | z_t), [H, V]; exponentiated once and kept until `beta` changes, as far as `Seen` notices."""
        if self._emission is None or not self._emission[0].same(self.beta):
            self._emission = (Seen(self.beta), DenseMatrix(self.beta.detach().exp()))
        return self._emission[1]

    @property
    def initial(self) -> Tensor:
        """p(z_1), [H]; normalized, as Ctrl-G does."""
        return torch.softmax(self.gamma.detach(), dim=0)

    @property
    def inference_parameters(self) -> Parameters:
        """What the functions of `ctrlg.hmm.inference` take."""
        return Parameters(self.transition, self.emission, self.initial)

    @without_autocast()
    def forward(self, input_ids: Tensor) -> list[Tensor]:
        """Log-probabilities of what follows, and log-likelihoods; `hmm(input_ids)` is the same.

        Args:
            input_ids: int64 [B, T], -1 for missing tokens.

        Returns:
            [H, B] for every token from the last to the first, then log-likelihoods in nats, [B]. See
            `ctrlg.hmm.flows.upward`.
        """
        return flows.upward(self._log_parameters, input_ids.to(self.device))

    @without_autocast()
    def backward(
        self, input_ids: Tensor, probs: Sequence[Tensor], alpha_flow: Tensor, beta_flow: Tensor, gamma_flow: Tensor
    ) -> None:
        """Add a batch's expected counts to sums, in place. See `ctrlg.hmm.flows.add_flows`.

        Args:
            input_ids: int64 [B, T], -1 for missing tokens.
            probs: what `forward` made of `input_ids`.
            alpha_flow: of moves, over the transition probabilities, [H, H].
            beta_flow: of emissions, [V + 1, H]; the last row counts missing tokens.
            gamma_flow: of first states, [H].
        """
        sums = flows.Flows(alpha_flow, beta_flow, gamma_flow)
        flows.add_flows(self._log_parameters, input_ids.to(self.device), probs, sums)

    @property
    def _log_parameters(self) -> flows.LogParameters:
        return flows.LogParameters(self.alpha_exp.detach(), self.beta.detach(), self.initial)

    def check(self) -> None:
        """Check the parameters.

        Raises:
            ArgumentError: a parameter is NaN or a row is not a distribution.
        """
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
        yield "exp(gamma)", 0, self.gamma.detach()[None].exp()

    def checksum(self) -> str:
        """SHA-256 of sizes, end-of-text token, fingerprint and parameters."""
        facts = [self.hidden_states, self.vocab_size, self.eos_token_id, self.fingerprint]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for tensor in (self.alpha_exp, self.beta, self.gamma):
            numbers: Any = tensor.detach().float().contiguous().cpu().numpy()  # turned where it lies
            digest.update(memoryview(numbers).cast("B"))
        return digest.hexdigest()

    def _save_pretrained(self, save_directory: Path) -> None:
        """Called by `save_pretrained`: Ctrl-G's tensors, and their checksum as metadata.

        In the file itself, because tensors and config.json are replaced one after the other.
        """
        tensors = {name: getattr(self, name).detach() for name in ("alpha_exp", "beta", "gamma")}
        write_tensors(Path(save_directory) / SAFETENSORS_SINGLE_FILE, tensors, {CHECKSUM: self.checksum()})

    @classmethod
    def _empty(cls, hidden_states: int, vocab_size: int, eos_token_id: int, fingerprint: str | None = None) -> HMM:
        """A model without memory for its parameters, to be filled by update_params."""
        with torch.device("meta"):
            return cls(hidden_states, vocab_size, eos_token_id, fingerprint)

    @classmethod
    @checked
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        map_location: str | torch.device = "cpu",
        **options: Any,
    ) -> HMM:
        """A checkpoint of ours or of Ctrl-G's; a compressed one is opened too, dequantized.

        Args:
            pretrained_model_name_or_path: a folder or a repository of the Hugging Face hub.
            map_location: the device where the model goes.
            options: `revision`, `cache_dir`, `force_download`, `token`, `local_files_only` of huggingface_hub.

        Raises:
            CheckpointError: there is no such checkpoint, or it is foreign or damaged.
        """
        folder = fetch_checkpoint(pretrained_model_name_or_path, options)
        config = read_config(folder)
        if config.get("kind") == checkpoint.KIND:
            stored = checkpoint.read(folder)
            transition, emission = stored.transition.to_dense(), stored.emission.to_dense()
            model = cls.of_parameters(transition, emission, stored.initial_row, stored.eos_token_id, stored.fingerprint)
            return model.to(map_location)
        return load_dense(cls, folder, config).to(map_location)


def load_dense(cls: type[HMM], folder: Path, config: dict[str, Any]) -> HMM:
    """A Ctrl-G checkpoint as HMM, validated; one of ours by its checksum too. Raises CheckpointError."""
    states, vocabulary, end, fingerprint = read_sizes(folder, config)
    file = folder / SAFETENSORS_SINGLE_FILE
    shapes = {"alpha_exp": (states, states), "beta": (states, vocabulary), "gamma": (states,)}
    require_tensors(file, shapes, FLOAT_TYPES)
    tensors = load_tensors(file)
    model = cls._empty(states, vocabulary, end, fingerprint)
    try:
        model.update_params(*(tensors[name].float() for name in shapes))
        model.check()
    except ArgumentError as error:
        raise CheckpointError(f"{folder}: {error.message}", hint=error.hint) from error
    stated = metadata_of(file).get(CHECKSUM)
    if stated is not None and stated != model.checksum():
        raise CheckpointError(f"the checksum in {file} is not that of its tensors and of config.json")
    return model


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
