"""Evaluate a language model by the tasks of EleutherAI's harness (lm-eval), and by the perplexity of a text file.

    pip install -e ".[lm-eval]" -c constraints.txt
    python scripts/evaluate_model.py runs/tweaked --text wiki.test.raw --window 1024
    python scripts/evaluate_model.py runs/tweaked.gguf --tasks hellaswag arc_easy --limit 200 --output runs/tasks.json
    python scripts/evaluate_model.py default-base --tasks mine --include_path my_tasks --num_fewshot 5

The model is a folder, a GGUF file, a Hugging Face id, "default" or "default-base". A text file needs no network; the
data of lm-eval's own tasks come from the hub. Each article of a file of WikiText is a document, any other file is one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ctrlg.arguments import Natural, Positive, checked
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program


@checked
def main(
    model: str,
    tasks: tuple[str, ...] = (),
    text: str = "",
    limit: Positive | None = None,
    num_fewshot: Natural | None = None,
    include_path: str | None = None,
    batch_size: Positive = 1,
    window: Positive | None = None,
    device: str = "cpu",
    output: str = "",
) -> None:
    """Evaluate a language model.

    Args:
        model: folder, GGUF file, Hugging Face id, 'default' or 'default-base'.
        tasks: names of tasks, see `lm-eval ls tasks`.
        text: text file to measure perplexities on.
        limit: documents of each task; all where None.
        num_fewshot: examples before each question; each task's own number where None.
        include_path: folder of task files of your own.
        batch_size: sequences at once.
        window: tokens read at once; what the model can read where None.
        device: cpu or cuda.
        output: JSON file of the figures.
    """
    arguments = locals().copy()

    import logging

    from ctrlg.files.atomic import write_json
    from ctrlg.files.outputs import check_input_file, check_output_file
    from ctrlg.loading.language_models import load_language_model
    from normtweaking.harness import evaluate_tasks, require_harness

    require_harness()
    if output:
        check_output_file(output)
    if text:
        check_input_file(text, "--text")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    loaded, tokenizer = load_language_model(model, device)
    started = time.perf_counter()
    results = evaluate_tasks(
        loaded,
        tokenizer,
        list(tasks),
        text=text,
        limit=limit,
        num_fewshot=num_fewshot,
        include_path=include_path,
        batch_size=batch_size,
        window=window,
    )
    seconds = time.perf_counter() - started
    say(table(results))
    say(f"{seconds:.1f} s")
    if output:
        figures = {task: {name: one._asdict() for name, one in found.items()} for task, found in results.items()}
        write_json(output, {"arguments": arguments, "seconds": seconds, "results": figures})


def table(results: Mapping[str, Mapping[str, tuple[float, float | None]]]) -> str:
    """Markdown, a row for each task and metric."""
    from ctrlg.files.records import markdown_rows

    rows = [
        (task, metric, f"{value:.4f}", "" if stderr is None else f"{stderr:.4f}")
        for task, found in results.items()
        for metric, (value, stderr) in found.items()
    ]
    return markdown_rows([("task", "metric", "value", "standard error"), *rows])


PROGRAM = Program(main, "evaluate_model.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
