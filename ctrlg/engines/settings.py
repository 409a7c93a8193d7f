"""What servers share: where HMM and tokenizer come from, and requests among an engine's own parameters.

A server's environment variable CTRLG_HMM names the HMM: a folder, a repository, or an embedded one ("default",
"instruct"). Where nothing names one, masks alone constrain.
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
"""The name of a request among an engine's extra parameters, and of the settings in vLLM's `additional_config`."""

_LOG = logging.getLogger(__name__)


def preparing_of(tokenizer: str, device: Any, hmm: str | None = None, strength: float | None = None) -> Preparing:
    """What prepares and scores constraints for an engine, kernels compiled.

    Args:
        tokenizer: name of the language model's.
        device: where logits are; the HMM goes there.
        hmm: its name; that of the environment where None.
        strength: how strongly the HMM pulls; by default what suits it.

    Raises:
        CheckpointError: the HMM or the tokenizer cannot be read.
        VocabularyError: they do not fit together.
    """
    name = hmm or os.environ.get("CTRLG_HMM")
    if not name:
        _LOG.warning("no HMM is named (CTRLG_HMM): texts keep their constraints, but nothing looks ahead for them")
    guiding = Guiding(load_tokenizer(tokenizer), load_hmm(name, str(device)) if name else None, strength=strength)
    guiding.warm_up()
    return Preparing(guiding)


def vllm_preparing(vllm_config: Any, device: Any) -> Preparing:
    """`preparing_of` what vLLM's configuration names.

    Args:
        vllm_config: vllm.config.VllmConfig; `--additional-config '{"ctrlg": {"hmm": "default", "strength": 1.5}}'` is
            read before the environment.
        device: where logits are.

    Raises:
        ArgumentError: an unknown setting; and as `preparing_of`.
    """
    additional = vllm_config.additional_config
    settings = additional.get(KEY, {}) if isinstance(additional, Mapping) else {}
    if not isinstance(settings, Mapping) or not {"hmm", "strength"}.issuperset(settings):
        raise refused(f"additional_config[{KEY!r}]", settings, 'a dictionary of "hmm" and "strength"')
    model = vllm_config.model_config
    return preparing_of(model.tokenizer or model.model, device, settings.get("hmm"), settings.get("strength"))


def request_of(extra: Mapping[str, Any] | None) -> Request | None:
    """What a request asks for; None where it asks for no constraint.

    Args:
        extra: an engine's extra parameters (vLLM's `extra_args`, SGLang's `custom_params`).

    Raises:
        ArgumentError, ConstraintError: as `Request.from_wire`.
    """
    return None if not extra or extra.get(KEY) is None else Request.from_wire(extra[KEY])


def check_parameters(parameters: Any) -> None:
    """Refuse requests that cannot be read, and sampling parameters under which a text would not end as it must.

    Args:
        parameters: vllm.SamplingParams.

    Raises:
        ArgumentError, ConstraintError: as `request_of`, or parameters that contradict it.
    """
    if request_of(parameters.extra_args) is None:
        return
    unset = {"ignore_eos": False, "min_tokens": 0, "stop": [], "structured_outputs": None}
    for name, nothing in unset.items():
        if getattr(parameters, name, None) not in (nothing, None):
            raise ArgumentError(
                f"{name} is {getattr(parameters, name)!r} beside a constraint",
                hint=f"leave out {name}: constraint, suffix, min_new_tokens and max_new_tokens say how the text ends",
            )
