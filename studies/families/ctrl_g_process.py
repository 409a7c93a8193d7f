"""One text by a checkout of Ctrl-G as its users run it; `ctrl_g.py` calls `main` in a process of its own.

`import ctrlg` is the checkout's package here. The limits are of processor time, from when the models are loaded, and of
memory. Its functions run as written, without torch.compile (TORCHDYNAMO_DISABLE=1).
"""

from __future__ import annotations

import json
import resource
import time
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LogitsProcessorList

import ctrlg


def graph_of(inputs: Any) -> dict[str, Any]:
    """The automaton as Ctrl-G has it: an edge with all its tokens for each pair of states."""
    class_of, delta = inputs["class_of"], inputs["delta"]
    edges = [
        (state, following, np.isin(class_of, np.flatnonzero(delta[state] == following)))
        for state in range(len(delta))
        for following in np.unique(delta[state]).tolist()
    ]
    accepting = np.flatnonzero(inputs["accepting"]).tolist()
    return {"edges": edges, "initial_state": int(inputs["initial"]), "accept_states": accepting}


def main(model_folder: str, hmm_folder: str, inputs_path: str, result: str, seconds: str, gigabytes: str) -> None:
    """Write a text within the limits, and what it took, to `result`."""
    inputs: Any = np.load(inputs_path)
    end, tokens, beams = (int(number) for number in inputs["numbers"])
    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(model_folder)
    hmm: Any = ctrlg.HMM.from_pretrained(hmm_folder)
    loaded = time.process_time()
    for limit, most in (
        (resource.RLIMIT_CPU, int(loaded + float(seconds)) + 1),
        (resource.RLIMIT_AS, int(float(gigabytes) * 2**30)),
    ):
        resource.setrlimit(limit, (most, most))

    class Timed(ctrlg.ConstraintLogitsProcessor):
        seconds = 0.0

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            begun = time.process_time()
            found = super().__call__(input_ids, scores)
            self.seconds += time.process_time() - begun
            return found

    processor = Timed(hmm, ctrlg.DFAModel(graph_of(inputs), hmm.vocab_size), 1, tokens, [end], suffix_ids=[end])
    processor.hmm_batch_size = 1
    prepared = time.process_time()
    rows = model.generate(
        torch.tensor([[end]]),
        max_new_tokens=tokens + 1,
        num_beams=beams,
        do_sample=False,
        logits_processor=LogitsProcessorList([processor]),
        eos_token_id=end,
        pad_token_id=end,
    )
    neural = time.process_time() - prepared - processor.seconds
    found = {"ids": rows[0, 1:].tolist(), "preparation": prepared - loaded, "symbolic": processor.seconds}
    with open(result, "w", encoding="utf-8") as file:
        json.dump(found | {"neural": neural}, file)
