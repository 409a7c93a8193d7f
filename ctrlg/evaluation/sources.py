"""Where the concept sets come from that are called "default": CommonGen's validation split."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from ctrlg import assets
from ctrlg.errors import CtrlGError
from ctrlg.evaluation.rows import read_rows

DEFAULT = "default"
HUB_NAME = "allenai/common_gen"
NORM_Q_FILE = Path("data/common-gen_validation.json")
"""Where Norm-Q's scripts look for CommonGen, below the folder they are run in."""
_ANSWER_SECONDS = 5.0


class Source(NamedTuple):
    """Where concept sets come from.

    Attributes:
        name: what `read_concept_sets` takes.
        note: which source was taken and why; "" where the user named it.
    """

    name: str
    note: str = ""


def find_source(name: str | Path) -> Source:
    """The source of concept sets that `name` stands for: itself, unless it is "default".

    "default" is the file `NORM_Q_FILE` where there is one, else CommonGen on the hub where that answers within
    seconds, else the 100 validation sets inside this package.

    Args:
        name: a file, a name on the hub, or "default".
    """
    if str(name) != DEFAULT:
        return Source(str(name))
    if NORM_Q_FILE.is_file():
        return Source(str(NORM_Q_FILE), f"concept sets: {NORM_Q_FILE}")
    if problem := _hub_problem():
        return Source(str(packaged_sets()), f"concept sets: the 100 of this package ({problem})")
    return Source(HUB_NAME, f"concept sets: {HUB_NAME} on the hub")


def packaged_sets() -> Path:
    """100 of CommonGen's validation sets with their references, spread evenly; JSON lines."""
    return Path(assets.__file__).parent / "commongen" / "validation.jsonl"


def _hub_problem() -> str:
    """Why CommonGen cannot be had from the hub; "" where it can."""
    if importlib.util.find_spec("datasets") is None:
        return "datasets is not installed"
    if not _hub_answers():
        return "the hub cannot be reached"
    try:
        read_rows(HUB_NAME)
    except CtrlGError:  # it answers, but the files cannot be fetched
        return f"{HUB_NAME} cannot be fetched from the hub"
    return ""


def _hub_answers() -> bool:
    """Whether the hub knows the data set. `datasets` itself would retry for half a minute without a connection, and
    looking up a name has no time limit of its own, so one request is made in a thread that is not waited for."""
    from huggingface_hub import HfApi

    answered = Event()

    def ask() -> None:
        try:
            HfApi().dataset_info(HUB_NAME, timeout=_ANSWER_SECONDS)
        except Exception:  # connections, proxies, offline mode: their errors have no common root
            return
        answered.set()

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    return answered.is_set()
