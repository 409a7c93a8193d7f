"""Which options of `model.generate` a caller of `ctrlg.generate` may pass, and why not the others."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Protocol

from transformers import GenerationConfig
from transformers.generation.configuration_utils import BaseWatermarkingConfig, CompileConfig

from ctrlg.arguments import AboveZero, Between, Natural, Positive, checked, number, shown
from ctrlg.errors import ArgumentError, CtrlGError

Share = Annotated[float, Between(0, 1)]
TokenId = Natural


def _bias(name: str, value: Any) -> float:
    """What is added to a score: a number, infinity as well."""
    return float(value) if isinstance(value, float) and math.isinf(value) else number(name, value)


Bias = Annotated[Any, _bias]


class Streamer(Protocol):
    """What shows a text as it is written, as transformers' TextStreamer."""

    def put(self, value: Any) -> None: ...

    def end(self) -> None: ...


@checked
def _of_config(
    *,
    # search
    early_stopping: bool | Literal["never"] | None = None,
    max_time: AboveZero | None = None,
    # sampling
    top_k: Natural | None = None,
    top_p: Share | None = None,
    min_p: Share | None = None,
    top_h: Share | None = None,
    typical_p: Share | None = None,
    epsilon_cutoff: Share | None = None,
    eta_cutoff: Share | None = None,
    # changes of the scores
    repetition_penalty: AboveZero | None = None,
    no_repeat_ngram_size: Natural | None = None,
    bad_words_ids: Sequence[Sequence[TokenId]] | None = None,
    suppress_tokens: Sequence[TokenId] | None = None,
    begin_suppress_tokens: Sequence[TokenId] | None = None,
    sequence_bias: Mapping[tuple[TokenId, ...], Bias] | Sequence[Any] | None = None,
    guidance_scale: AboveZero | None = None,
    exponential_decay_length_penalty: tuple[int, float] | None = None,
    watermarking_config: BaseWatermarkingConfig | dict[str, Any] | None = None,
    renormalize_logits: bool | None = None,
    remove_invalid_values: bool | None = None,
    # speed
    use_cache: bool | None = None,
    cache_implementation: str | None = None,
    cache_config: dict[str, Any] | None = None,
    prefill_chunk_size: Positive | None = None,
    compile_config: CompileConfig | None = None,
    disable_compile: bool | None = None,
) -> dict[str, Any]:
    """Options that go into a GenerationConfig, and the values they take. Returns them as transformers wants them."""
    given = dict(locals())
    if isinstance(sequence_bias, Mapping):
        given["sequence_bias"] = {tuple(tokens): float(bias) for tokens, bias in sequence_bias.items()}
    return given


@checked
def _of_call(
    *,
    logits_processor: Sequence[Callable[..., Any]] | None = None,
    stopping_criteria: Sequence[Callable[..., Any]] | None = None,
    streamer: Streamer | None = None,
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None,
    negative_prompt_ids: Any = None,
    negative_prompt_attention_mask: Any = None,
) -> None:
    """Options that `model.generate` takes beside a GenerationConfig, and the values they take."""


OF_CONFIG = frozenset(inspect.signature(_of_config).parameters)
OF_CALL = frozenset(inspect.signature(_of_call).parameters)
OF_CALLER = frozenset({"logits_processor", "stopping_criteria", "streamer", "prefix_allowed_tokens_fn"})
"""Options that are the caller's own code, whose errors are the caller's."""

KEEP_SCORES = frozenset({"early_stopping", "max_time", "stopping_criteria", "streamer", "use_cache"})
"""Options under which a logits processor still sees the language model's own scores."""

_INSTEAD = {
    "generation_config": "pass its settings one by one, such as top_p=0.9; a model's own generation_config is not used",
    "max_length": "set max_new_tokens, the most tokens of the content",
    "min_length": "set min_new_tokens, the least tokens of the content",
    "stop": "set suffix, the text that ends the result",
    "stop_strings": "set suffix, the text that ends the result",
    "max_words": "use the constraint WordCount(lo, hi)",
    "min_words": "use the constraint WordCount(lo, hi)",
    "force_words_ids": "use the constraint Keywords",
    "constraints": "pass one constraint; combine several with &",
    "forced_bos_token_id": "set prefix, the text that the result begins with",
    "forced_eos_token_id": "set eos_token_id, the token that ends a text",
    "pad_token_id": "leave it out: padding is handled here",
    "return_dict_in_generate": "leave it out: the results have text, token_ids and log_prob",
    "output_scores": "leave it out: the results have log_prob and total_log_prob",
    "output_logits": "leave it out: the results have log_prob and total_log_prob",
    "prompt_lookup_num_tokens": "leave it out: constraints need every token scored one after another",
    "assistant_model": "leave it out: constraints need every token scored one after another",
}


def checked_options(options: Mapping[str, Any], parameters: Iterable[str], rows: int, beams: int) -> dict[str, Any]:
    """The options, their values as transformers takes them. ArgumentError, naming it, for an option that does not exist
    here or cannot work.

    parameters: names that the called function takes itself. rows: texts written at a time, all prompts together.
    """
    for name in options:
        if name not in OF_CONFIG | OF_CALL:
            close = difflib.get_close_matches(name, sorted({*parameters, *OF_CONFIG, *OF_CALL}), n=1)
            hint = f"did you mean {close[0]}?" if close else "the documentation of ctrlg.generate lists what there is"
            raise ArgumentError(f"{name} is no option of generate", hint=_INSTEAD.get(name, hint))
    config = {name: value for name, value in options.items() if name in OF_CONFIG}
    plain = _of_config(**config)
    config = {name: plain[name] for name in config}
    _of_call(**{name: value for name, value in options.items() if name in OF_CALL})
    if config.get("cache_implementation") == "paged":
        raise ArgumentError(
            "cache_implementation is 'paged', with which transformers leaves out the constraint",
            hint="leave it out; to serve many requests at once, see docs/engines.md",
        )
    with options_explained(config):
        GenerationConfig(do_sample=True, num_beams=2, **config).validate()  # which warn of no option
    if options.get("streamer") is not None and (rows > 1 or beams > 1):
        raise ArgumentError(
            f"a streamer for {rows} texts with {beams} beams",
            hint="a streamer shows one text as it is written: set num_beams=1 and num_return_sequences=1",
        )
    return {**options, **config}


@contextmanager
def options_explained(options: Mapping[str, Any]) -> Iterator[None]:
    """Inside, what transformers makes of options that it cannot use becomes an ArgumentError that names them. Errors
    that may be of the caller's own code stay as they are."""
    try:
        yield
    except CtrlGError:
        raise
    except _OF_TRANSFORMERS as error:
        if not options or OF_CALLER.intersection(options):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArgumentError(
            f"generate cannot work with {', '.join(f'{name}={shown(value)}' for name, value in options.items())}: "
            f"{reason}",
            hint="transformers' documentation of GenerationConfig says which values these take",
        ) from error


_OF_TRANSFORMERS = (
    TypeError, ValueError, AttributeError, LookupError, OverflowError, ImportError, AssertionError, NotImplementedError,
)  # fmt: skip
