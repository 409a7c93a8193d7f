"""Memory of an EM step by formula, as a table: everything that is held at its peak, for many states and many cards.

    python benchmarks/em_memory.py
    python benchmarks/em_memory.py --ranks 8 --vocab-size 49152

Held are the parameters and the counts, both of float32; the transition matrix once more while counts turn into
parameters and once more in the products' dtype where that is another; filtered and arriving states of a batch, in that
dtype; the emission columns of its tokens, at most one for each. With rows of both matrices shared out over N ranks, a
rank holds its states' rows, their counts and their filtered states, but all arriving states and emission columns.
"""

from __future__ import annotations

from ctrlg.terminal.flags import PlainArgumentParser

STATES = (256, 1024, 4096, 16384, 32768, 65536)
CARD_GIGABYTES = 80
SINGLE, HALF = 4, 2  # bytes of float32 and bfloat16


def em_bytes(states: int, vocabulary: int, tokens: int, product_bytes: int, ranks: int = 1) -> tuple[int, int]:
    """Of the model and its counts, and of the work of one batch of so many tokens, on each of the ranks."""
    mine = -(-states // ranks)
    transition = 3 * SINGLE + (product_bytes if product_bytes != SINGLE else 0)
    model = 2 * SINGLE * vocabulary * mine + transition * mine * states
    work = product_bytes * tokens * (mine + states) + SINGLE * tokens * states
    return model, work


def main() -> None:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--vocab-size", type=int, nargs="+", default=[49152, 50257], help="V")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8], help="among which rows are shared out")
    arguments = parser.parse_args()
    print(f"GB of 1e9 bytes a rank, batches of {arguments.tokens} tokens; * is more than {CARD_GIGABYTES} GB\n")
    ranks = " | ".join(f"{count} rank{'s' * (count > 1)}" for count in arguments.ranks)
    print(f"| V | H | products | {ranks} |")
    print("|---:|---:|---|" + "---:|" * len(arguments.ranks))
    for vocabulary in arguments.vocab_size:
        for states in STATES:
            for name, size in (("float32", SINGLE), ("bfloat16", HALF)):
                sizes = (sum(em_bytes(states, vocabulary, arguments.tokens, size, n)) / 1e9 for n in arguments.ranks)
                cells = " | ".join(f"{gb:.2f}" + " *" * (gb > CARD_GIGABYTES) for gb in sizes)
                print(f"| {vocabulary:,} | {states:,} | {name} | {cells} |")


if __name__ == "__main__":
    main()
