"""SGLang's custom logit processor.

    CTRLG_HMM=default python -m sglang.launch_server --model-path MODEL --enable-custom-logit-processor \\
        --disable-overlap-schedule

    from ctrlg.engines.sglang import ConstraintProcessor
    requests.post(f"{server}/generate", json={
        "text": "A photo of",
        "custom_logit_processor": ConstraintProcessor.to_str(),
        "sampling_params": {"custom_params": {"ctrlg": {"constraint": Keywords(["dog"]).to_dict(), "suffix": "."}}},
    })

SGLang makes a new processor for every batch that it builds, so what is known of a request is kept in this module, as
long as SGLang keeps the request. While steps overlap, a request's last token is not known when the next is scored:
overlap has to be off.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor  # pyright: ignore[reportMissingImports]
from sglang.srt.server_args import get_global_server_args  # pyright: ignore[reportMissingImports]
from torch import Tensor

from ctrlg.engines.rows import Preparing, Row
from ctrlg.engines.settings import preparing_of, request_of
from ctrlg.errors import ArgumentError

_REQUEST = "__req__"  # SGLang puts its own request object beside the caller's parameters

_CHANGING = threading.Lock()
_PREPARING: dict[str, Preparing] = {}  # of the one model that this process serves
_ROWS: WeakKeyDictionary[Any, Row | None] = WeakKeyDictionary()


class ConstraintProcessor(CustomLogitProcessor):
    """Constrains the rows whose `custom_params` ask for it under "ctrlg"."""

    def __call__(self, logits: Tensor, custom_param_list: Sequence[Mapping[str, Any] | None] | None = None) -> Tensor:
        """Scores of the next tokens, -inf where they must not come.

        Args:
            logits: float32 [rows, V]; may be changed in place.
            custom_param_list: for each row.

        Returns:
            [rows, V]; perhaps another tensor.

        Raises:
            ArgumentError: SGLang overlaps steps.
        """
        rows = {}
        for place, parameters in enumerate(custom_param_list or ()):
            row = None if parameters is None else _row(parameters, str(logits.device))
            if row is not None:
                rows[place] = row
        return _preparing(str(logits.device)).join(rows, logits) if rows else logits


def _row(parameters: Mapping[str, Any], device: str) -> Row | None:
    """The row of a request, known since its first token; None for one without a constraint."""
    asked = parameters.get(_REQUEST)
    if asked is None:
        return None
    with _CHANGING:
        known = asked in _ROWS
    if not known:
        request = request_of(parameters)
        row = None
        if request is not None:
            row = _preparing(device).row(request, asked.output_ids, asked.sampling_params.max_new_tokens)
        with _CHANGING:
            _ROWS[asked] = row
    row = _ROWS[asked]
    if row is not None:
        row.output = asked.output_ids  # another list after a request has been put back
    return row


def _preparing(device: str) -> Preparing:
    with _CHANGING:
        if device not in _PREPARING:
            settings = get_global_server_args()
            if not settings.disable_overlap_schedule:
                raise ArgumentError(
                    "SGLang scores a token before it knows the one before",
                    hint="start the server with --disable-overlap-schedule",
                )
            _PREPARING[device] = preparing_of(settings.tokenizer_path or settings.model_path, device)
        return _PREPARING[device]
