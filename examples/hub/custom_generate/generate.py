"""`model.generate(..., keywords=["dog"], words=(6, 12))`, by a folder or a repository of the hub; see README.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import LogitsProcessorList

from ctrlg import Keywords, WordCount
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.engines.requests import Guiding, Request
from ctrlg.errors import ArgumentError
from ctrlg.loading import load_hmm


def generate(
    model: Any,
    inputs: Any = None,
    *,
    input_ids: Any = None,
    keywords: Sequence[str] = (),
    words: tuple[int, int] | None = None,
    suffix: str = "",
    hmm: Any = None,
    tokenizer: Any = None,
    max_new_tokens: int = 64,
    logits_processor: Any = None,
    custom_generate: Any = None,
    **settings: Any,
) -> Any:
    """Texts that hold every keyword, with so many words.

    Args:
        model: a causal language model.
        inputs: int64 [B, prompt]; or by its other name, `input_ids`.
        keywords: each must occur as a word, in any of its inflections.
        words: least and most words after the prompt.
        suffix: text that ends every text.
        hmm: an HMM distilled from the model, or its name; without one, masks alone constrain.
        tokenizer: the model's; needed.
        max_new_tokens: most tokens before the suffix.
        settings: of `model.generate`.

    Returns:
        int64 [B, prompt + tokens], as `model.generate`.
    """
    prompts = input_ids if inputs is None else inputs
    if prompts is None or tokenizer is None or not (keywords or words):
        raise ArgumentError("no prompt, tokenizer or keywords", hint="pass input_ids, tokenizer, keywords")
    constraints = [*([Keywords(list(keywords))] if keywords else []), *([WordCount(*words)] if words else [])]
    constraint = constraints[0] if len(constraints) == 1 else constraints[0] & constraints[1]
    guiding = Guiding(tokenizer, load_hmm(hmm, str(model.device)) if isinstance(hmm, str) else hmm)
    guide = guiding.cursor(Request(constraint, suffix=suffix, max_new_tokens=max_new_tokens)).guide
    strength = guiding.batch.strength
    processor = ConstraintLogitsProcessor.from_guide(guiding.hmm, guide, prompts[0].tolist(), strength=strength)
    settings = {name: value for name, value in settings.items() if value is not None}
    return model.generate(
        prompts,
        logits_processor=LogitsProcessorList([*(logits_processor or ()), processor]),
        max_new_tokens=max_new_tokens + len(guide.suffix_ids),
        eos_token_id=guide.eos_token_id,
        pad_token_id=guide.eos_token_id,
        **settings,
    )
