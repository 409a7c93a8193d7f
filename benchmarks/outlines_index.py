"""How long does outlines-core take to turn a constraint into its index? One line for each number of concepts and form.

    python benchmarks/outlines_index.py --output runs/outlines_index.jsonl --seconds 600 --gigabytes 8

A constraint: that many concepts in any inflection, in any order or in the one given, 6 to 16 words, counted in the
three ways of `studies.alternatives.expressions`. Every index is built in a process of its own, which ends after so many
seconds of processor time or with so much memory: "finished" is false then. Seconds are the processor's, so that a
busy machine does not count. Beside it, the automaton of the whole constraint that `Constraint.compile` makes. What is
in OUTPUT already is not measured again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from typing import Any

from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.loading.language_models import load_tokenizer
from ctrlg.terminal.console import as_program
from studies.alternatives.expressions import Counting, constraint_pattern
from studies.alternatives.outlines_generation import require_outlines

CONCEPTS = ("dog", "catch", "frisbee", "throw", "park")
WORDS = (LEAST_WORDS, MOST_WORDS)
COLUMNS = ("concepts", "counting", "order", "characters", "finished", "seconds", "gigabytes", "states", "transitions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--concepts", type=int, nargs="+", default=[3, 4, 5], choices=range(1, len(CONCEPTS) + 1))
    parser.add_argument("--seconds", type=int, default=600, help="of the processor, an index (%(default)s)")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="an index (%(default)s)")
    arguments = parser.parse_args()
    require_outlines()
    lines = StudyLines(arguments.output, ("concepts", "counting", "order"))
    for count in arguments.concepts:
        if (count, "whole constraint", "any") not in lines:
            lines.add((count, "whole constraint", "any"), compiled(count))
    for order in ("given", "any"):
        for counting in (Counting.NONE, Counting.SHARED, Counting.EXACT):
            for count in arguments.concepts:
                key = (count, counting.value, order)
                if key not in lines:
                    measured = in_a_process(count, counting, order == "any", arguments.seconds, arguments.gigabytes)
                    print(lines.add(key, measured), flush=True)
    print(markdown_rows([COLUMNS, *([line.get(name, "") for name in COLUMNS] for line in lines.lines)]))


def compiled(count: int) -> dict[str, Any]:
    """Our automaton of the whole constraint, after one of another, for the tokenizer's tables, which are kept."""
    tokenizer = load_tokenizer("default")
    ConceptSet(0, ("cat", "sit"), ()).constraint(*WORDS).compile(tokenizer)
    constraint = ConceptSet(0, CONCEPTS[:count], ()).constraint(*WORDS)
    started = time.process_time()
    dfa = constraint.compile(tokenizer)
    seconds = time.process_time() - started
    return {"finished": True, "seconds": round(seconds, 2), "states": dfa.num_states}


def in_a_process(count: int, counting: Counting, any_order: bool, seconds: int, gigabytes: float) -> dict[str, Any]:
    """What `_build` measured, or how far it came."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_build, args=(sender, count, counting, any_order, seconds, gigabytes))
    process.start()
    sender.close()
    measured: dict[str, Any] = {"finished": False}
    try:
        while True:
            measured |= receiver.recv()
    except EOFError:
        process.join()
    return {**measured, "limit_seconds": seconds, "limit_gigabytes": gigabytes, "exit_code": process.exitcode}


def _build(
    results: Connection, count: int, counting: Counting, any_order: bool, seconds: int, gigabytes: float
) -> None:
    from outlines_core import Index

    from ctrlg.loading.language_models import load_tokenizer

    vocabulary = outlines_vocabulary(load_tokenizer("default"))
    pattern = constraint_pattern(CONCEPTS[:count], WORDS, counting, any_order)
    results.send({"characters": len(pattern)})
    started = time.process_time()
    limit = int(started) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    memory_limit = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
    index = Index(pattern, vocabulary)
    taken = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    results.send({"finished": True, "seconds": round(taken, 2), "gigabytes": round(memory, 2)})
    transitions = index.get_transitions()
    results.send({"states": len(transitions), "transitions": sum(map(len, transitions.values()))})


def outlines_vocabulary(tokenizer: Any) -> Any:
    """As outlines makes it for a model of transformers."""
    from outlines.backends.outlines_core import OutlinesCoreBackend
    from outlines.models.transformers import TransformerTokenizer

    adapter = TransformerTokenizer(tokenizer)
    return OutlinesCoreBackend.create_outlines_core_vocabulary(
        adapter.get_vocab(), adapter.eos_token_id, adapter.eos_token, adapter.convert_token_to_string
    )


if __name__ == "__main__":
    with as_program():
        main()
