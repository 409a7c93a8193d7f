"""Sentences of a domain read by the language model, teacher-forced: its hidden states before every token.

Reading costs one pass over a sentence, sampling one pass a token; what is read is laid down like what is sampled
(`Samples`), so that clustering and EM take both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ctrlg.distillation.sampling.samples import Samples, token_mask
from ctrlg.errors import DataError


@torch.inference_mode()
def read_sentences_with(
    model: Any,
    rows: Sequence[Sequence[int]],
    length: int,
    eos_token_id: int,
    batch_size: int = 128,
    report: Callable[[int], None] = lambda count: None,
) -> Samples:
    """The sentences as sequences of `length` tokens, and the hidden states that predicted each of their tokens.

    model: a causal language model of transformers.
    rows: token ids, each begins with end-of-text, which the model reads and which is not part of the sequence. Longer
        sentences are cut; shorter ones are taken to end where their row does.
    report: called with the number of sentences read since the last call.
    Raises DataError for rows that do not begin with end-of-text, or hold nothing else.
    """
    _check(rows, eos_token_id)
    device = next(model.parameters()).device
    decoder = model.get_decoder()
    sequences = torch.full((len(rows), length), eos_token_id, dtype=torch.long)
    for index, row in enumerate(rows):
        content = torch.tensor(row[1 : length + 1])
        sequences[index, : len(content)] = content
    mask = token_mask(sequences, eos_token_id)
    lengths = mask.sum(1)
    begins = lengths.cumsum(0) - lengths
    embeddings = torch.empty(int(lengths.sum()), decoder.config.hidden_size, dtype=torch.float16)
    for index in torch.argsort(lengths, stable=True).split(batch_size):  # similar lengths: little padding
        width = int(lengths[index].max())
        start = torch.full((len(index), 1), eos_token_id)
        # Padding stands on the right, where a causal model cannot see it: no attention mask is needed.
        read = torch.cat([start, sequences[index, : width - 1]], dim=1).to(device)
        hidden = decoder(read, use_cache=False).last_hidden_state.half().cpu()
        for place, vectors in zip(index.tolist(), hidden, strict=True):
            begin = int(begins[place])
            embeddings[begin : begin + int(lengths[place])] = vectors[: int(lengths[place])]
        report(len(index))
    return Samples(sequences, embeddings)


def _check(rows: Sequence[Sequence[int]], eos_token_id: int) -> None:
    if not rows:
        raise DataError("no sentences to read", hint="check the data file")
    for number, row in enumerate(rows):
        if len(row) < 2 or row[0] != eos_token_id:
            raise DataError(
                f"sentence {number} is {list(row[:8])}",
                hint=f"begin every sentence with the end-of-text token ({eos_token_id}), as encode_sentences does",
            )
