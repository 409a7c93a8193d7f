"""Where does the time of a step go, to the language model or to the promise, as the HMM grows?

    python scripts/test_trace.py --hidden_states 512 1024 2048 4096 8192 16384 --output runs/trace.jsonl \\
        --plot fig/trace.svg
    python scripts/test_trace.py --hidden_states 512 1024 --tokens 12 --repeats 1 --plot runs/trace.png
    python scripts/test_trace.py --model gpt2 --device cuda --dtype bfloat16 --beams 1 16 128 --plot fig/trace-cuda.svg

A promise is written with synthetic HMMs of each size, compressed and, with the same probabilities, in float32; the
language model is real. Times are medians over steps, after warm-up, without the profiler; operators' shares are from
torch.profiler. Compressed rows have --entries stored entries each, which is what a compressed step costs; `ctrlg
inspect default` says what the embedded HMM has (84 in a transition row, 1,479 in an emission row, on average).
Each result is a line of OUTPUT; what is there already is not measured again. A float HMM for which the memory does not
suffice is left out, with a message. The figure has the three panels of figure 1 of the Norm-Q paper (arXiv 2509.25439).
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from ctrlg.devices import checked_device, lacking_memory
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.synthetic import SyntheticHMM, float_bytes, synthetic_hmm
from ctrlg.figures import check_figure_path
from ctrlg.files.records import StudyLines
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.tracing.figure import KINDS, draw_trace
from studies.tracing.tracing import TracedGeneration, check_tokens

COLUMNS = (
    *("hidden_states", "kind", "beams"),
    *("model", "device", "dtype", "threads", "entries", "bits", "tokens", "seed"),
)


def main() -> None:
    arguments = parse_arguments()
    check(arguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = StudyLines(arguments.output, COLUMNS)
    study = Study(arguments, results)
    for hidden_states in sorted(set(arguments.hidden_states)):
        for kind in KINDS:
            if kind in arguments.kinds:
                study.run(hidden_states, kind)
    results.close()
    if arguments.plot:
        draw_trace([line for line in results.lines if study.wants(line)], arguments.plot)


class Study:
    """The language model, opened when the first measurement needs it, and the results."""

    def __init__(self, arguments: argparse.Namespace, results: StudyLines) -> None:
        self.arguments = arguments
        self.results = results
        self.setting = (
            *(arguments.model, arguments.device, arguments.dtype, torch.get_num_threads()),
            *(arguments.entries, arguments.bits, arguments.tokens, arguments.seed),
        )
        self.console = PlainConsole()
        self._model: Any = None

    def run(self, hidden_states: int, kind: str) -> None:
        """Measure one HMM with every number of beams that has no line yet."""
        missing = [
            beams
            for beams in sorted(set(self.arguments.beams))
            if (hidden_states, kind, beams, *self.setting) not in self.results
        ]
        if not missing:
            return
        if self._model is None:
            dtype = getattr(torch, self.arguments.dtype)
            self._model, _ = load_language_model(self.arguments.model, self.arguments.device, dtype)
        vocab_size = int(self._model.get_output_embeddings().weight.shape[0])
        if kind == "float" and (reason := lacking_memory(float_bytes(hidden_states, vocab_size), self._model.device)):
            self.console.print(f"{hidden_states} states in float32 are left out: {reason}", soft_wrap=True)
            return
        hmm = self._hmm(hidden_states, vocab_size, kind)
        generation = TracedGeneration(self._model, hmm, self.arguments.tokens, self.arguments.seed)
        for beams in missing:
            times = generation.measure(beams, self.arguments.repeats)
            values = {"hmm_bytes": hmm.nbytes, "preparation_seconds": generation.preparation, **times._asdict()}
            self.results.add((hidden_states, kind, beams, *self.setting), values)
            self.console.print(
                f"{hidden_states:6,} states, {kind:10}, {beams:3} beams: neural {times.neural:.1f} ms, symbolic "
                f"{times.symbolic:.2f} ms a token, {times.share:.1%} of a step ({times.steps} steps)",
                highlight=False,
                soft_wrap=True,
            )

    def wants(self, line: dict[str, Any]) -> bool:
        """Whether a line belongs into the figure of this command."""
        chosen = self.arguments
        return (
            tuple(line[name] for name in COLUMNS[3:]) == self.setting
            and line["hidden_states"] in chosen.hidden_states
            and line["beams"] in chosen.beams
            and line["kind"] in chosen.kinds
        )

    def _hmm(self, hidden_states: int, vocab_size: int, kind: str) -> SyntheticHMM:
        arguments = self.arguments
        hmm = synthetic_hmm(hidden_states, vocab_size, arguments.entries, arguments.bits, arguments.seed)
        return (hmm.dense() if kind == "float" else hmm).to(self._model.device)


def check(arguments: argparse.Namespace) -> None:
    """Raise ArgumentError for what would be refused only after some work."""
    for name in ("hidden_states", "beams"):
        if min(getattr(arguments, name)) < 1:
            raise ArgumentError(f"--{name} {min(getattr(arguments, name))}", hint="choose numbers from 1 on")
    for name in ("entries", "bits", "repeats"):
        if getattr(arguments, name) < 1:
            raise ArgumentError(f"--{name} {getattr(arguments, name)}", hint="choose 1 or more")
    if arguments.bits > 8:
        raise ArgumentError(f"--bits {arguments.bits}", hint="codes have 1 to 8 bits")
    check_tokens(arguments.tokens)
    checked_device(arguments.device)
    if arguments.plot:
        check_figure_path(arguments.plot)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hidden_states", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of HMMs (%(default)s)")
    parser.add_argument("--model", default="default", help="language model: id, folder or .gguf file (%(default)s)")
    parser.add_argument("--device", default="cpu", help="of both halves (%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the model")
    parser.add_argument("--entries", type=int, default=150, help="stored in a compressed row (%(default)s)")
    parser.add_argument("--bits", type=int, default=8, help="of a code (%(default)s)")
    parser.add_argument("--tokens", type=int, default=24, help="of a text (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="texts whose steps are timed (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="torch's choice where 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="runs/trace.jsonl", help="JSON lines (%(default)s)")
    parser.add_argument("--plot", default="", help=".png, .svg or .pdf")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
