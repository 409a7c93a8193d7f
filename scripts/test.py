"""One constrained generation: three words in any inflection, ten words in all, by an HMM of your choice.

python scripts/test.py
python scripts/test.py --method norm-q --bits 4
python scripts/test.py --qbit 8 --beams 128 --keywords kid room dance
python scripts/test.py --method mask-only --keywords shot game player --words 8 12
"""

from __future__ import annotations

import argparse

import ctrlg
from ctrlg.devices import fast_dtype
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark import float_hmm, guide, parse_grid
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser


def main() -> None:
    arguments = parse_arguments()
    if arguments.qbit and arguments.method != "float32":
        raise ArgumentError("both --qbit and --method", hint="--qbit is the method integer; name one of them")
    method, bits = ("integer", arguments.qbit) if arguments.qbit else (arguments.method, arguments.bits)
    single = method in ("float32", "mask-only")
    (setting,) = parse_grid([method if single else f"{method}:{bits}"])
    promise = ctrlg.Keywords([[word] for word in arguments.keywords], inflect=True) & ctrlg.WordCount(*arguments.words)
    model, tokenizer = load_language_model(arguments.base_model, arguments.device, fast_dtype(arguments.device))
    hmm = guide(float_hmm(arguments.hmm_model_path), setting)
    results = ctrlg.generate(
        model,
        tokenizer,
        hmm,
        promise,
        min_new_tokens=5,
        max_new_tokens=32,
        num_beams=arguments.beams,
        num_return_sequences=min(20, arguments.beams),
        soft_mask=arguments.soft_mask,
    )
    for place, result in enumerate(results):
        kept = "" if result.satisfied else "  (the promise is broken)"
        say(f"{place}. {result.text}  {result.log_prob:.3f}{kept}")


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--keywords", nargs="+", default=["field", "look", "stand"], help="%(default)s")
    parser.add_argument("--words", nargs=2, type=int, default=[10, 10], help="least and most words (%(default)s)")
    parser.add_argument("--method", default="float32", help="of docs/methods.md, float32 or mask-only (%(default)s)")
    parser.add_argument("--bits", type=int, default=8, help="of --method (%(default)s)")
    parser.add_argument("--qbit", type=int, default=0, help="Norm-Q's flag: the method integer, at so many bits")
    parser.add_argument("--hmm_model_path", default="default", help="folder or hub id of an HMM (%(default)s)")
    parser.add_argument("--base_model", default="default", help="the language model it comes from (%(default)s)")
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--soft_mask", action="store_true", help="the HMM alone steers, as in Ctrl-G")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
