"""A language model's figures in the tasks of EleutherAI's evaluation harness (the package lm-eval), and on text files.

    bits_per_byte = -1/(N ln 2) sum_t log p(x_t | the tokens before it in its window),    N bytes

A text is cut into windows of what the model reads at once, each of which begins with the last token of the one before,
the first with the begin-of-text token (the end-of-text token of tokenizers without one). So every token is predicted.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.errors import ArgumentError, DataError

_ARTICLE = re.compile(r"^(?= = [^=\n]+ = ?$)", re.MULTILINE)  # before a title of WikiText, " = Du Fu = "
_METRICS = ("word_perplexity", "byte_perplexity", "bits_per_byte")


class Score(NamedTuple):
    """A figure of the harness.

    Attributes:
        value: of a metric.
        stderr: its standard error; None where the harness gives none, as for perplexities.
    """

    value: float
    stderr: float | None


def require_harness() -> None:
    """Check that lm-eval is installed: to be called before long work.

    Raises:
        ArgumentError: it is not.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ArgumentError("not installed: lm_eval", hint="pip install 'ctrlg[lm-eval]'")


def evaluate_tasks(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str] = (),
    *,
    text: str | Path = "",
    limit: int | None = None,
    num_fewshot: int | None = None,
    include_path: str | Path | None = None,
    batch_size: int = 1,
    window: int | None = None,
) -> dict[str, dict[str, Score]]:
    """Figures of tasks for a causal language model of transformers, on the device that it is on.

    Seeds random, numpy and torch, as lm-eval does.

    Args:
        model: a causal language model of transformers.
        tokenizer: the model's tokenizer.
        tasks: names of the harness's tasks, groups and tags.
        text: a file to measure perplexities on, the task of its name; each article of a file of WikiText is a document,
            any other file is one.
        limit: documents of each task; all where None.
        num_fewshot: examples before each question; each task's own number where None, and where a task says 0.
        include_path: folder of task files of one's own.
        batch_size: sequences at once.
        window: tokens at once; what the model can read where None.

    Returns:
        Task -> metric -> figure. Metrics behind a filter are named "metric,filter".

    Raises:
        ArgumentError: as `require_harness`; unknown tasks and numbers out of range.
        DataError: the text or a task's data cannot be had.
    """
    require_harness()
    _check_numbers(model, limit, num_fewshot, batch_size, window)
    if not tasks and not text:
        raise ArgumentError("there is nothing to evaluate", hint="name tasks, or a text file")
    if include_path is not None and not Path(include_path).is_dir():
        raise ArgumentError(f"there is no folder {include_path}", hint="give the folder of your task files")
    texts = [_text_task(text)] if text else []
    harness: Any = importlib.import_module("lm_eval")
    manager: Any = importlib.import_module("lm_eval.tasks").TaskManager(
        include_path=None if include_path is None else str(include_path), include_defaults=bool(tasks)
    )
    _check_names(tasks, manager.all_tasks)
    plain = copy.deepcopy(tokenizer)  # the harness gives it a padding token
    wrapped = importlib.import_module("lm_eval.models.huggingface").HFLM(
        pretrained=model, tokenizer=plain, batch_size=batch_size, max_length=window
    )
    try:
        found: Any = harness.simple_evaluate(
            model=wrapped,
            tasks=[*dict.fromkeys(tasks), *texts],
            num_fewshot=num_fewshot,
            limit=limit,
            task_manager=manager,
            log_samples=False,
        )
    except OSError as error:  # those of datasets and of the hub among them
        raise DataError(
            f"the data of a task cannot be had: {error}", hint="they come from the hub: is it reachable?"
        ) from error
    return {task: _measured(figures) for task, figures in found["results"].items()}


def _check_numbers(model: Any, limit: int | None, num_fewshot: int | None, batch_size: int, window: int | None) -> None:
    numbers = {"limit": (limit, 1), "num_fewshot": (num_fewshot, 0), "batch_size": (batch_size, 1)}
    for name, (value, least) in numbers.items():
        if value is not None and value < least:
            raise ArgumentError(f"{name} is {value}", hint=f"choose {least} or more")
    room: Any = getattr(model.config, "max_position_embeddings", None) or window
    if window is not None and not 2 <= window <= room:
        raise ArgumentError(f"window is {window}", hint=f"choose 2 to {room}, what the model can read")


def _check_names(tasks: Sequence[str], known: Sequence[str]) -> None:
    for name in tasks:
        if name not in known:
            close = difflib.get_close_matches(name, known, 3)
            hint = f"is it {' or '.join(close)}?" if close else "`lm-eval ls tasks` lists them"
            raise ArgumentError(f"the task {name!r} is unknown", hint=hint)


def _text_task(path: str | Path) -> dict[str, Any]:
    """A task of the harness: perplexities of a text file, as it stands."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}", hint="give a file of UTF-8 text") from error
    documents = [{"text": part} for part in _ARTICLE.split(text) if part.strip()]
    if not documents:
        raise DataError(f"{path} holds no text")

    def dataset(**_: Any) -> dict[str, Any]:
        return {"test": importlib.import_module("datasets").Dataset.from_list(documents)}

    return {
        "task": Path(path).name,
        "custom_dataset": dataset,
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "text",
        "num_fewshot": 0,
        "metric_list": [{"metric": metric} for metric in _METRICS],
    }


def _measured(figures: Mapping[str, Any]) -> dict[str, Score]:
    """Of the harness's "metric,filter" and "metric_stderr,filter"; what else it says of a task is left out."""
    found = {}
    for key, value in figures.items():
        metric, comma, behind = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = figures.get(f"{metric}_stderr,{behind}")
        known = isinstance(stderr, int | float)
        found[metric if behind == "none" else key] = Score(float(value), float(stderr) if known else None)
    return found
