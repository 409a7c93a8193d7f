"""What does compression cost? Nats per token against bytes, and how far the guide of the decoder moves.

    python -m studies.fidelity.study --test runs/samples/commongen.test --dataset_path validation.jsonl \\
        --output runs/fidelity.jsonl --plot fig/rate_distortion.svg --guidance_plot fig/guidance.svg
    python -m studies.fidelity.study --hmm runs/hmm/best --test runs/samples/commongen.test --keywords 3 --bits 8 3 \\
        --dataset_path validation.jsonl --methods norm-q log-norm-q --thresholds --output runs/few.jsonl

Every method at all bits it takes, the mask alone, and log-norm-q at 4 bits and each of --thresholds (more or fewer
entries stored). Rate: bytes on disk; nats lost on --test, and on what the float HMM samples. Guidance: for the most
frequent concepts of the data set, a sentence is written that holds the word, with the float HMM; before every token of
it, the distribution that the decoder draws from with the compressed HMM is compared to that with the float one. Each
result is a line of OUTPUT; what is there already is not measured again.
"""

from __future__ import annotations

import argparse

from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.figures import check_figure_path
from ctrlg.quantization.methods import METHODS
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.fidelity.figures import Summary, plot_guidance, plot_rate_distortion, summaries, table
from studies.fidelity.guidance import frequent_keywords
from studies.fidelity.measures import FidelitySettings, Point, points, run_fidelity

THRESHOLDS = [1e-5, 1e-6, 1e-7, 3e-8, 1e-8, 1e-9, 1e-10, 0.0]


def main() -> None:
    arguments = parse_arguments()
    for path in filter(None, (arguments.plot, arguments.guidance_plot)):
        check_figure_path(path)
    settings = FidelitySettings(
        hmm=arguments.hmm,
        model=arguments.model,
        test=arguments.test,
        dataset_path=arguments.dataset_path,
        output=arguments.output,
        keywords=arguments.keywords,
        beams=arguments.beams,
        sequences=arguments.sequences,
        seed=arguments.seed,
        device=arguments.device,
    )
    console = PlainConsole(stderr=True)

    def report(done: int, total: int) -> None:
        console.print(f"{done} of {total} points", highlight=False)

    results = run_fidelity(settings, points(arguments.methods, arguments.bits, arguments.thresholds), report)
    keywords = frequent_keywords(read_concept_sets(arguments.dataset_path), arguments.keywords)
    rows = summaries(results.lines, keywords, arguments.seed)
    say(table(rows))
    if arguments.plot:
        states, tokens = float_hmm(arguments.hmm, arguments.device).emission.shape
        plot_rate_distortion(rows, states * (states + tokens), arguments.plot, rate_title(rows))
    if arguments.guidance_plot:
        plot_guidance(rows, arguments.guidance_plot, guidance_title(rows))


def rate_title(rows: list[Summary]) -> str:
    """What two points say, where both were measured."""
    found = {row.point: row.kl_sequence for row in rows}
    ours, theirs = found.get(Point("log-norm-q", 3)), found.get(Point("norm-q", 8))
    if ours is None or theirs is None:
        return "What compression loses"
    return f"log-norm-q at 3 bits loses {ours:.3f} nats per token, Norm-Q at 8 bits {theirs:.3f}"


def guidance_title(rows: list[Summary]) -> str:
    """What two points say, where both were measured."""
    found = {row.point: row.kl.value for row in rows if row.kl is not None and not row.infinite}
    ours, theirs = found.get(Point("log-norm-q", 3)), found.get(Point("norm-q", 8))
    if ours is None or theirs is None:
        return f"How far compression moves the guide ({rows[0].keywords} keywords, {rows[0].steps} steps)"
    return f"The guide moves {ours:.3f} nats per step with log-norm-q at 3 bits, {theirs:.3f} with Norm-Q at 8"


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmm", default="default", help="folder or hub id; unpacked if compressed (%(default)s)")
    parser.add_argument("--model", default="default", help="the language model it comes from (%(default)s)")
    parser.add_argument("--test", required=True, help="file of sequences sampled from the language model")
    parser.add_argument("--dataset_path", required=True, help="concept sets, JSON lines, for the keywords")
    parser.add_argument("--keywords", type=int, default=50, help="the most frequent concepts (%(default)s)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="of docs/methods.md (all)")
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4, 3, 2, 6, 5, 1], help="in this order")
    parser.add_argument("--thresholds", nargs="*", type=float, default=THRESHOLDS, help="of log-norm-q at 4 bits")
    parser.add_argument("--beams", type=int, default=4, help="that write a keyword's text (%(default)s)")
    parser.add_argument("--sequences", type=int, default=500, help="sampled for KLseq, of 32 tokens (%(default)s)")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--plot", default="", help="rate against distortion: .png, .svg or .pdf")
    parser.add_argument("--guidance_plot", default="", help="guidance against bytes: .png, .svg or .pdf")
    parser.add_argument("--seed", type=int, default=0, help="of what KLseq samples and of the bootstrap")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
