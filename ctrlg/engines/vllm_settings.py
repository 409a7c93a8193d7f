"""What vLLM's two interfaces share: where HMM and tokenizer come from, and requests in sampling parameters.

The HMM is named by `--additional-config '{"ctrlg": {"hmm": "default"}}'` or the environment variable CTRLG_HMM: a
folder, a repository, or the name of an embedded one. Where neither names one, masks alone constrain.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from ctrlg.arguments import refused
from ctrlg.engines.requests import Guiding, Request
from ctrlg.engines.rows import Preparing
from ctrlg.errors import ArgumentError
from ctrlg.loading import load_hmm, load_tokenizer

KEY = "ctrlg"
"""In `SamplingParams.extra_args`, in `vllm_xargs` and in `additional_config`."""

_LOG = logging.getLogger(__name__)


def preparing_of(vllm_config: Any, device: Any) -> Preparing:
    """What prepares and scores constraints for an engine, kernels compiled.

    Args:
        vllm_config: vllm.config.VllmConfig.
        device: where logits are.

    Raises:
        ArgumentError: an unknown setting.
        CheckpointError: the HMM or the tokenizer cannot be read.
        VocabularyError: they do not fit together.
    """
    additional = vllm_config.additional_config
    settings = additional.get(KEY, {}) if isinstance(additional, Mapping) else {}
    if not isinstance(settings, Mapping) or not {"hmm", "strength"}.issuperset(settings):
        raise refused(f"additional_config[{KEY!r}]", settings, 'a dictionary of "hmm" and "strength"')
    name = settings.get("hmm") or os.environ.get("CTRLG_HMM")
    if not name:
        _LOG.warning("no HMM is named (CTRLG_HMM): texts keep their constraints, but nothing looks ahead for them")
    model = vllm_config.model_config
    tokenizer = load_tokenizer(model.tokenizer or model.model)
    hmm = load_hmm(name, str(device)) if name else None
    guiding = Guiding(tokenizer, hmm, strength=settings.get("strength"))
    guiding.warm_up()
    return Preparing(guiding)


def request_of(parameters: Any) -> Request | None:
    """What a request asks for; None where it asks for no constraint.

    Args:
        parameters: vllm.SamplingParams.

    Raises:
        ArgumentError, ConstraintError: as `Request.from_wire`.
    """
    extra = parameters.extra_args
    return None if not extra or extra.get(KEY) is None else Request.from_wire(extra[KEY])


def check_parameters(parameters: Any) -> None:
    """Refuse requests that cannot be read, and sampling parameters under which a text would not end as it must.

    Args:
        parameters: vllm.SamplingParams.

    Raises:
        ArgumentError, ConstraintError: as `request_of`, or parameters that contradict it.
    """
    if request_of(parameters) is None:
        return
    unset = {"ignore_eos": False, "min_tokens": 0, "stop": [], "structured_outputs": None}
    for name, nothing in unset.items():
        if getattr(parameters, name, None) not in (nothing, None):
            raise ArgumentError(
                f"{name} is {getattr(parameters, name)!r} beside a constraint",
                hint=f"leave out {name}: constraint, suffix, min_new_tokens and max_new_tokens say how the text ends",
            )
