"""Where does the time of a step go, to the language model or to the constraint, as the HMM grows?

    python scripts/test_trace.py --hidden_states 512 1024 2048 4096 8192 16384 --output runs/trace.jsonl \\
        --plot fig/trace.svg
    python scripts/test_trace.py --hidden_states 512 1024 --tokens 12 --repeats 1 --plot runs/trace.png
    python scripts/test_trace.py --model gpt2 --device cuda --dtype bfloat16 --beams 1 16 128 --plot fig/trace-cuda.svg

A constraint is written with synthetic HMMs of each size, compressed and, with the same probabilities, in float32; the
language model is real. Times are medians over steps, after warm-up, without the profiler; operators' shares are from
torch.profiler. Compressed rows have --entries stored entries each, which is what a compressed step costs; `ctrlg
inspect default` says what the embedded HMM has (84 in a transition row, 1,479 in an emission row, on average).
Each result is a line of OUTPUT; what is there already is not measured again. A float HMM for which the memory does not
suffice is left out, with a message. The figure has the three panels of figure 1 of the Norm-Q paper (arXiv 2509.25439).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch

from ctrlg.devices import lacking_memory
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.synthetic import SyntheticHMM, float_bytes, synthetic_hmm
from ctrlg.loading.language_models import load_language_model
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of
from studies.tracing.figure import KINDS, plot_trace
from studies.tracing.tracing import TracedGeneration, check_tokens


class Steps(Study):
    key = (
        *("hidden_states", "kind", "beams"),
        *("model", "device", "dtype", "threads", "entries", "bits", "tokens", "seed"),
    )
    figures = ("figure",)
    output = "runs/trace.jsonl"

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--hidden_states", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 16384])
        add("--beams", type=int, nargs="+", default=[1, 16])
        add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of HMMs")
        add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the language model")
        add("--bits", type=int, default=8, help="of a code")
        add("--tokens", type=int, default=24, help="of a text")
        add("--repeats", type=int, default=3, help="texts whose steps are timed")
        flags.share("model", "entries", "threads", "seed")

    def check(self) -> None:
        chosen = self.arguments
        for name in ("hidden_states", "beams"):
            if min(getattr(chosen, name)) < 1:
                raise ArgumentError(f"--{name} {min(getattr(chosen, name))}", hint="choose numbers from 1 on")
        for name in ("entries", "bits", "repeats"):
            if getattr(chosen, name) < 1:
                raise ArgumentError(f"--{name} {getattr(chosen, name)}", hint="choose 1 or more")
        if chosen.bits > 8:
            raise ArgumentError(f"--bits {chosen.bits}", hint="codes have 1 to 8 bits")
        check_tokens(chosen.tokens)

    @property
    def setting(self) -> Key:
        """What all measurements of this command have in common."""
        chosen = self.arguments
        computed = (chosen.model, chosen.device, chosen.dtype, torch.get_num_threads())
        return (*computed, chosen.entries, chosen.bits, chosen.tokens, chosen.seed)

    def batches(self) -> Iterable[Sequence[Key]]:
        for states in sorted(set(self.arguments.hidden_states)):
            for kind in [kind for kind in KINDS if kind in self.arguments.kinds]:
                yield [(states, kind, beams, *self.setting) for beams in sorted(set(self.arguments.beams))]

    @cached_property
    def model(self) -> Any:
        """The language model, opened when the first measurement needs it."""
        dtype = getattr(torch, self.arguments.dtype)
        return load_language_model(self.arguments.model, self.arguments.device, dtype)[0]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """One HMM with several numbers of beams."""
        states, kind, *_ = keys[0]
        vocab_size = int(self.model.get_output_embeddings().weight.shape[0])
        if kind == "float" and (reason := lacking_memory(float_bytes(states, vocab_size), self.model.device)):
            self.say(f"{states} states in float32 are left out: {reason}")
            return
        hmm = self.synthetic(states, vocab_size, kind)
        generation = TracedGeneration(self.model, hmm, self.arguments.tokens, self.arguments.seed)
        for key in keys:
            times = generation.measure(key[2], self.arguments.repeats)
            yield (
                key,
                {"hmm_bytes": hmm.nbytes, "preparation_seconds": generation.preparation, **times._asdict()},
            )

    def synthetic(self, states: int, vocab_size: int, kind: str) -> SyntheticHMM:
        """A synthetic HMM, compressed or with the same probabilities in float32."""
        chosen = self.arguments
        hmm = synthetic_hmm(states, vocab_size, chosen.entries, chosen.bits, chosen.seed)
        return (hmm.dense() if kind == "float" else hmm).to(self.model.device)

    def wants(self, line: Line) -> bool:
        return self.asks_for(line)

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each HMM and number of beams."""
        return table_of(
            [
                {
                    "states": f"{line['hidden_states']:,}",
                    "HMM": line["kind"],
                    "beams": line["beams"],
                    "neural, ms a token": f"{line['neural']:.1f}",
                    "symbolic, ms a token": f"{line['symbolic']:.2f}",
                    "symbolic, of a step": f"{line['share']:.1%}",
                    "steps": line["steps"],
                }
                for line in lines
            ]
        )

    def figure(self, lines: Sequence[Line]) -> Any:
        return plot_trace(lines)


if __name__ == "__main__":
    Steps.main()
