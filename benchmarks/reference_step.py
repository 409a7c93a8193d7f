"""The same decoding steps by a checkout of Ctrl-G, in a process of its own, and by this library: times and scores.

The checkout's package has this library's name, so the process imports it from its own folder under another name. Its
functions run as written, without torch.compile (TORCHDYNAMO_DISABLE=1), which needs a C++ compiler at run time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctrlg.devices import wait_for

NAME = "reference_ctrlg"  # what Ctrl-G's package is called in its process
STEPS = 3  # decoding steps that are timed and compared
LEAST_TOKENS = 5
SUFFIX_TOKEN = 7
SCORE_BYTES = 1 << 29  # Ctrl-G holds several arrays of sequences * states * V floats; each may take this much
ALLOWED = -1e20  # the checkout writes -1e30 where a token is not allowed


def compare_with_reference(
    checkout: Path, hmm: Any, dfa: Any, beams: int, tokens: int, seed: int
) -> dict[str, float | int]:
    """Seconds of both for building the processor and for a step, and how far their scores are apart.

    hmm: a SyntheticHMM; its dense form is what the checkout reads, on the same device. dfa: an automaton over its
        tokens.
    """
    from ctrlg.decoding import ConstraintLogitsProcessor

    device = hmm.initial.device
    rows, logits = _inputs(dfa, hmm.eos_token_id, beams, seed)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder, "inputs.npz"),
            transition=hmm.transition.to_dense().cpu().numpy(),
            emission=hmm.emission.to_dense().cpu().numpy(),
            initial=hmm.initial.cpu().numpy(),
            class_of=dfa.class_of,
            delta=dfa.delta,
            accepting=dfa.accepting,
            rows=rows.numpy(),
            logits=logits.numpy(),
            numbers=np.array([hmm.eos_token_id, dfa.initial, tokens, torch.get_num_threads()]),
        )
        environment = os.environ | {"TORCHDYNAMO_DISABLE": "1"}
        command = [sys.executable, __file__, str(checkout), folder, str(device)]
        subprocess.run(command, check=True, env=environment)
        theirs = np.load(Path(folder, "outputs.npz"))
        times = json.loads(Path(folder, "times.json").read_text())

    rows, logits = rows.to(device), logits.to(device)
    started = time.perf_counter()
    processor = ConstraintLogitsProcessor(hmm, dfa, LEAST_TOKENS, tokens, [0], [], [SUFFIX_TOKEN, hmm.eos_token_id])
    wait_for(device)
    built = time.perf_counter() - started
    steps, distances, masks = [], [], []
    for step in range(STEPS + 1):
        started = time.perf_counter()
        scores = processor(rows[:, : step + 1], logits[step])
        wait_for(device)
        steps.append(time.perf_counter() - started)
        ours = scores.cpu().numpy()
        reference = theirs[f"scores{step}"]
        allowed = reference > ALLOWED
        masks.append(int((np.isfinite(ours) != allowed).sum()))
        distances.append(float(np.abs(ours - reference)[allowed & np.isfinite(ours)].max()))
    step_seconds = statistics.median(steps[1:])
    return {
        "beams": beams,
        "reference_precompute_seconds": times["precompute"],
        "precompute_seconds": built,
        "precompute_ratio": times["precompute"] / built,
        "reference_step_seconds": times["step"],
        "step_seconds": step_seconds,
        "step_ratio": times["step"] / step_seconds,
        "largest_score_difference": max(distances),
        "tokens_masked_by_one_only": sum(masks),
    }


def _inputs(dfa: Any, eos_token_id: int, beams: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [beams, STEPS + 1] of the prompt and tokens that keep every way open, and logits [STEPS + 1, beams, V]."""
    generator = torch.Generator().manual_seed(seed)
    harmless = torch.from_numpy(np.flatnonzero(dfa.delta[dfa.initial, dfa.class_of] == dfa.initial))
    chosen = harmless[torch.randint(len(harmless), (beams, STEPS), generator=generator)]
    rows = torch.cat([torch.zeros(beams, 1, dtype=torch.long), chosen], dim=1)
    return rows, torch.randn(STEPS + 1, beams, dfa.vocab_size, generator=generator)


def _run(checkout: str, folder: str, device: str) -> None:
    """What the process does: build Ctrl-G's objects from the inputs, time its processor, write scores and times."""
    inputs = np.load(Path(folder, "inputs.npz"))
    eos, initial, tokens, threads = (int(number) for number in inputs["numbers"])
    torch.set_num_threads(threads)
    library = import_checkout(checkout)
    names = ("transition", "emission", "initial", "rows", "logits")
    transition, emission, start, rows, logits = (torch.from_numpy(inputs[name]).to(device) for name in names)
    hmm = library.HMM.__new__(library.HMM)
    torch.nn.Module.__init__(hmm)
    hmm.alpha_exp, hmm.beta, hmm.gamma = transition, emission.log(), start.log()
    hmm.hidden_states, hmm.vocab_size, hmm.eos_token_id = len(transition), emission.shape[1], eos
    class_of, delta = inputs["class_of"], inputs["delta"]
    edges = [
        (state, following, np.isin(class_of, np.flatnonzero(delta[state] == following)))
        for state in range(len(delta))
        for following in np.unique(delta[state]).tolist()
    ]
    accepting = np.flatnonzero(inputs["accepting"]).tolist()
    graph = {"edges": edges, "initial_state": initial, "accept_states": accepting}
    dfa = library.DFAModel(graph, hmm.vocab_size).to(device)
    started = time.perf_counter()
    processor = library.ConstraintLogitsProcessor(
        hmm, dfa, LEAST_TOKENS, tokens, [0], prefix_ids=[], suffix_ids=[SUFFIX_TOKEN, eos]
    )
    wait_for(device)
    precompute = time.perf_counter() - started
    processor.hmm_batch_size = max(1, SCORE_BYTES // (4 * len(delta) * hmm.vocab_size))
    scores, steps = {}, []
    for step in range(STEPS + 1):
        started = time.perf_counter()
        found = processor(rows[:, : step + 1], logits[step].clone())
        wait_for(device)
        steps.append(time.perf_counter() - started)
        scores[f"scores{step}"] = found.cpu().numpy()
    np.savez(Path(folder, "outputs.npz"), **scores)
    Path(folder, "times.json").write_text(json.dumps({"precompute": precompute, "step": statistics.median(steps[1:])}))


def import_checkout(checkout: str) -> Any:
    """The package `ctrlg` of a checkout, imported under NAME."""
    package = Path(checkout, "ctrlg")
    spec = importlib.util.spec_from_file_location(
        NAME, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{package} is no package: give the folder of a Ctrl-G checkout")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    _run(*sys.argv[1:])
