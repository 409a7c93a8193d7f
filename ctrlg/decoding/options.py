"""Which options of `model.generate` a caller of `ctrlg.generate` may pass, and why not the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ctrlg.errors import ArgumentError

OF_CONFIG = frozenset(
    {
        # search
        "early_stopping", "max_time",
        # sampling
        "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff",
        # changes of the scores
        "repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens",
        "sequence_bias", "guidance_scale", "exponential_decay_length_penalty", "watermarking_config",
        "renormalize_logits", "remove_invalid_values",
        # speed
        "use_cache", "cache_implementation", "cache_config", "prefill_chunk_size", "compile_config", "disable_compile",
    }
)  # fmt: skip
"""Options that go into a GenerationConfig."""

OF_CALL = frozenset(
    {
        "logits_processor",
        "stopping_criteria",
        "streamer",
        "prefix_allowed_tokens_fn",
        "negative_prompt_ids",
        "negative_prompt_attention_mask",
    }
)
"""Options that `model.generate` takes beside a GenerationConfig."""

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


def check_options(options: Mapping[str, Any], parameters: Iterable[str], rows: int, beams: int) -> None:
    """ArgumentError, naming it, for an option that does not exist here or cannot work.

    parameters: names that the called function takes itself. rows: texts written at a time, all prompts together.
    """
    for name in options:
        if name not in OF_CONFIG | OF_CALL:
            close = difflib.get_close_matches(name, sorted({*parameters, *OF_CONFIG, *OF_CALL}), n=1)
            hint = f"did you mean {close[0]}?" if close else "the documentation of ctrlg.generate lists what there is"
            raise ArgumentError(f"{name} is no option of generate", hint=_INSTEAD.get(name, hint))
    if options.get("streamer") is not None and (rows > 1 or beams > 1):
        raise ArgumentError(
            f"a streamer for {rows} texts with {beams} beams",
            hint="a streamer shows one text as it is written: set num_beams=1 and num_return_sequences=1",
        )
