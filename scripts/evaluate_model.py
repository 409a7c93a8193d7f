"""Evaluate a language model by the tasks of EleutherAI's harness (lm-eval), and by the perplexity of a text file.

    pip install -e ".[lm-eval]" -c constraints.txt
    python scripts/evaluate_model.py runs/tweaked --text wiki.test.raw --window 1024
    python scripts/evaluate_model.py runs/tweaked.gguf --tasks hellaswag arc_easy --limit 200 --output runs/tasks.json
    python scripts/evaluate_model.py default-base --tasks mine --include_path my_tasks --num_fewshot 5

The model is a folder, a GGUF file, a Hugging Face id, "default" or "default-base". A text file needs no network; the
data of lm-eval's own tasks come from the hub. Each article of a file of WikiText is a document, any other file is one.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Mapping

from ctrlg.files.atomic import write_json
from ctrlg.files.outputs import check_input_file, check_output_file
from ctrlg.files.records import markdown_rows
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from normtweaking.harness import Score, evaluate_tasks, require_harness


def main() -> None:
    arguments = parse_arguments()
    require_harness()
    if arguments.output:
        check_output_file(arguments.output)
    if arguments.text:
        check_input_file(arguments.text, "--text")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model, tokenizer = load_language_model(arguments.model, arguments.device)
    started = time.perf_counter()
    results = evaluate_tasks(
        model,
        tokenizer,
        arguments.tasks,
        text=arguments.text,
        limit=arguments.limit,
        num_fewshot=arguments.num_fewshot,
        include_path=arguments.include_path,
        batch_size=arguments.batch_size,
        window=arguments.window,
    )
    seconds = time.perf_counter() - started
    say(table(results))
    say(f"{seconds:.1f} s")
    if arguments.output:
        figures = {task: {name: one._asdict() for name, one in found.items()} for task, found in results.items()}
        write_json(arguments.output, {"arguments": vars(arguments), "seconds": seconds, "results": figures})


def table(results: Mapping[str, Mapping[str, Score]]) -> str:
    """Markdown, a row for each task and metric."""
    rows = [
        (task, metric, f"{value:.4f}", "" if stderr is None else f"{stderr:.4f}")
        for task, found in results.items()
        for metric, (value, stderr) in found.items()
    ]
    return markdown_rows([("task", "metric", "value", "standard error"), *rows])


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("model", help='folder, GGUF file, Hugging Face id, "default" or "default-base"')
    parser.add_argument("--tasks", nargs="+", default=[], help="names of tasks, see `lm-eval ls tasks`")
    parser.add_argument("--text", default="", help="text file to measure perplexities on")
    parser.add_argument("--limit", type=int, help="documents of each task (all)")
    parser.add_argument("--num_fewshot", type=int, help="examples before each question (each task's own number)")
    parser.add_argument("--include_path", help="folder of task files of your own")
    parser.add_argument("--batch_size", type=int, default=1, help="sequences at once (1)")
    parser.add_argument("--window", type=int, help="tokens read at once (what the model can read)")
    parser.add_device()
    parser.add_argument("--output", default="", help="JSON file of the figures")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
