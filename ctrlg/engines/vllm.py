"""vLLM's logits processors, by the path of their class:

    CTRLG_HMM=default vllm serve MODEL --logits-processors ctrlg.engines.vllm:ConstraintProcessor

    client.completions.create(model=MODEL, prompt=..., extra_body={"vllm_xargs": {"ctrlg": json.dumps(
        {"constraint": Keywords(["dog"]).to_dict(), "suffix": "."})}})

This is the interface of vLLM's first model runner (`VLLM_USE_V2_MODEL_RUNNER=0`, and every machine without Triton);
`ctrlg.engines.vllm_v2:ConstraintProcessor` is that of the second. What they share is in `ctrlg.engines.settings`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality  # pyright: ignore[reportMissingImports]

from ctrlg.engines.rows import Row
from ctrlg.engines.settings import check_parameters, request_of, vllm_preparing


class ConstraintProcessor(LogitsProcessor):
    """Constrains the rows whose requests ask for it.

    Args:
        vllm_config: its model's tokenizer is used, and "ctrlg" in its `additional_config`.
        device: where logits are; the HMM goes there.
        is_pin_memory: not used.
    """

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self._preparing = vllm_preparing(vllm_config, device)
        self._rows: dict[int, Row] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request before any work. Runs in the process that takes requests.

        Args:
            sampling_params: vllm.SamplingParams.

        Raises:
            ArgumentError, ConstraintError: both are ValueErrors, which vLLM reports as a bad request.
        """
        check_parameters(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """A constraint changes which token is likeliest."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch: what was removed, then added, then moved.

        Args:
            batch_update: None where nothing changed.
        """
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._forget(index)
        for index, parameters, _, output in batch_update.added:
            self._forget(index)
            request = request_of(parameters.extra_args)
            if request is not None:
                self._rows[index] = self._preparing.row(request, output, parameters.max_tokens)
        for source, target, direction in batch_update.moved:
            moved, replaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if replaced is not None and direction == MoveDirectionality.SWAP:
                self._rows[source] = replaced

    def apply(self, logits: Tensor) -> Tensor:
        """Scores of the next tokens, -inf where they must not come.

        Args:
            logits: float32 [requests, V]; may be changed in place.

        Returns:
            [requests, V]; perhaps another tensor.
        """
        return self._preparing.join(self._rows, logits) if self._rows else logits

    def _forget(self, index: int) -> None:
        row = self._rows.pop(index, None)
        if row is not None:
            row.forget()
