"""The card of a distilled HMM: where it comes from, how good it is, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """Log-likelihoods in nats per token of held-out samples; sizes in bytes.

    Attributes:
        training_tokens: sampled to train on.
        held_out_tokens: sampled to judge by.
        language_model: of the language model itself.
        unigram: of token frequencies.
        first: of the HMM before EM.
        trained: of the HMM after EM.
        compressed: of the compressed HMM.
        float_bytes: of the HMM in float32.
        file_bytes: of the compressed file.
        memory_bytes: of the compressed HMM in memory.
    """

    training_tokens: int
    held_out_tokens: int
    language_model: float
    unigram: float
    first: float
    trained: float
    compressed: float
    float_bytes: int
    file_bytes: int
    memory_bytes: int


def card(settings: Mapping[str, Any], outcome: Outcome, seconds: Mapping[str, float]) -> str:
    """The model card of a distillation.

    Args:
        settings: of the job.
        outcome: the numbers to tell.
        seconds: of each of its stages.

    Returns:
        Markdown text.
    """
    options = " ".join(
        f"--{name.replace('_', '-')}{'' if value is True else f' {value}'}"
        for name, value in settings.items()
        if value not in ("", None, False) and name not in ("model", "output")
    )
    likelihoods = "\n".join(
        f"| {name} | {value:.3f} |"
        for name, value in (
            ("the language model itself", outcome.language_model),
            ("HMM, compressed", outcome.compressed),
            ("HMM, float32", outcome.trained),
            ("HMM before EM", outcome.first),
            ("unigram", outcome.unigram),
        )
    )
    times = "\n".join(f"| {stage} | {value:,.0f} |" for stage, value in seconds.items())
    return f"""# HMM of {settings["hidden_states"]} states, distilled from {settings["model"]}

```sh
ctrlg distill {settings["model"]} {settings["output"]} {options}
ctrlg generate --model {settings["model"]} --hmm {settings["output"]}/compressed --keywords ...
```

Trained on {outcome.training_tokens:,} sampled tokens. Log-likelihood of {outcome.held_out_tokens:,} other sampled
tokens, on which nothing was trained or chosen:

| model | nats per token |
|---|---|
{likelihoods}

Size: {outcome.float_bytes:,} bytes in float32, {outcome.file_bytes:,} compressed on disk,
{outcome.memory_bytes:,} in memory while it runs.

| stage | seconds (of starts that were not killed) |
|---|---|
{times}
"""
