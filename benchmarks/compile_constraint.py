"""Time to compile a constraint of concepts in any inflection and a number of words, and to make its look-ahead tables.

    python benchmarks/compile_constraint.py
    python benchmarks/compile_constraint.py --concepts dog run park --words 6 16 --tokens 32

With the embedded HMM and the default tokenizer. Reading the dictionary of inflections, once a process, is
told apart; the first of the repeats is a cold one.
"""

from __future__ import annotations

import argparse
import time

import ctrlg
from ctrlg.devices import wait_for
from ctrlg.loading.language_models import load_tokenizer
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag


def main() -> None:
    arguments = parse_arguments()
    hmm, tokenizer = ctrlg.load_hmm("default", arguments.device), load_tokenizer("default")
    started = time.perf_counter()
    keywords = ctrlg.Keywords([[concept] for concept in arguments.concepts], inflect=True)
    forms = sum(map(len, keywords.forms))
    print(f"{forms} forms in {time.perf_counter() - started:.2f} s, lemminflect's dictionary read")
    constraint = keywords & ctrlg.WordCount(*arguments.words)
    suffix = [*tokenizer.encode("."), hmm.eos_token_id]
    for repeat in range(arguments.repeats):
        started = time.perf_counter()
        dfa = constraint.compile(tokenizer)
        compiled = time.perf_counter()
        ctrlg.ConstraintLogitsProcessor(hmm, dfa, 5, arguments.tokens, [hmm.eos_token_id], [], suffix)
        wait_for(arguments.device)
        ready = time.perf_counter()
        print(f"{repeat}: {dfa.num_states:,} states in {compiled - started:.2f} s, tables in {ready - compiled:.2f} s")


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--concepts", nargs="+", default=["dog", "run", "park", "ball", "throw"])
    parser.add_argument("--words", type=int, nargs=2, default=[8, 12], help="least and most")
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of a text")
    parser.add_argument("--repeats", type=int, default=3)
    add_device_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
