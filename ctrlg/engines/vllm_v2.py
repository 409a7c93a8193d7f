"""The interface of vLLM's second model runner, which runs on GPUs: requests have slots, rows are new in every step.

    CTRLG_HMM=default vllm serve MODEL --logits-processors ctrlg.engines.vllm_v2:ConstraintProcessor

Everything else is as in `ctrlg.engines.vllm`. Tokens are read from the device in every step that has a constrained row.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcessor, LogitsProcRequestState  # pyright: ignore[reportMissingImports]

from ctrlg.engines.rows import Row
from ctrlg.engines.settings import check_parameters, request_of, vllm_preparing


class ConstraintProcessor(LogitsProcessor):
    """Constrains the rows whose requests ask for it.

    Args:
        vllm_config: as in `ctrlg.engines.vllm`.
        req_states: the tokens of all slots.
    """

    def __init__(self, vllm_config: Any, req_states: LogitsProcRequestState) -> None:
        self._states = req_states
        self._preparing = vllm_preparing(vllm_config, req_states.device)
        self._rows: dict[int, Row] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """As in `ctrlg.engines.vllm`."""
        check_parameters(sampling_params)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Take a slot for a request, whoever had it before.

        Args:
            req_idx: the slot.
            sampling_params: vllm.SamplingParams.

        Returns:
            Whether the request has a constraint.
        """
        before = self._rows.pop(req_idx, None)
        if before is not None:
            before.forget()
        request = request_of(sampling_params.extra_args)
        if request is None:
            return False
        self._rows[req_idx] = self._preparing.row(request, [], sampling_params.max_tokens)
        return True

    def apply_staged_writes(self) -> None:
        """Nothing is staged: what a request asks for stays on the host."""

    def apply(self, logits: Tensor, ctx: LogitsContext) -> Tensor:
        """Scores of the next tokens, -inf where they must not come.

        Args:
            logits: float32 [rows, V]; may be changed in place.
            ctx: which slot each row belongs to; a slot has several rows where tokens were drafted for it.

        Returns:
            [rows, V]; perhaps another tensor.
        """
        if not any(int(slot) in self._rows for slot in ctx.idx_mapping_np):
            return logits
        slot_of = ctx.expanded_idx_mapping.cpu().numpy()
        drafted = ctx.input_ids.cpu().numpy()
        rows = {row: int(slot) for row, slot in enumerate(slot_of) if int(slot) in self._rows}
        committed = self._committed(sorted(set(rows.values())))
        offsets = ctx.expanded_local_pos.cpu().numpy()
        # A cursor is at one place at a time: first rows of all slots, then what follows one drafted token, and so on.
        for offset in range(int(offsets.max()) + 1):
            together = {}
            for row, slot in rows.items():
                if offsets[row] == offset:
                    # The first row of a slot reads the last committed token, the others a drafted one each.
                    drafts = drafted[row - offset + 1 : row + 1].tolist()
                    self._rows[slot].output = committed[slot] + drafts
                    together[row] = self._rows[slot]
            logits = self._preparing.join(together, logits)
        return logits

    def _committed(self, slots: list[int]) -> dict[int, list[int]]:
        """The tokens after each slot's prompt, without drafted ones."""
        states = self._states
        prompts = states.prompt_len.np[slots]
        totals = states.total_len.gpu[slots].cpu().numpy()
        first = int(prompts.min())
        tokens = states.all_token_ids.gpu[slots, first : int(totals.max())].cpu().numpy()
        return {
            slot: row[prompt - first : total - first].tolist()
            for slot, row, prompt, total in zip(slots, tokens, prompts, totals, strict=True)
        }
