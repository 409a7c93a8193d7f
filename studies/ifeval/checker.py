"""IFEval's own checker, as the package `lm_eval` carries it, without the rest of that package and what it needs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ctrlg.errors import DataError

_PARENTS = ("lm_eval", "lm_eval.tasks")


@lru_cache(maxsize=1)
def checkers() -> Mapping[str, Any]:
    """The class that checks each type of instruction.

    Raises:
        DataError: lm_eval or one of the few packages that its checker needs is not installed.
    """
    found = importlib.util.find_spec("lm_eval")
    locations = None if found is None else found.submodule_search_locations
    if not locations:
        raise DataError("lm_eval is not installed", hint="pip install -r studies/ifeval/requirements.txt")
    # Packages without their __init__, which would import a hundred other things; taken away again afterwards.
    missing = [name for name in _PARENTS if name not in sys.modules]
    for name in missing:
        package = ModuleType(name)
        package.__path__ = [str(Path(locations[0], *name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        return importlib.import_module("lm_eval.tasks.ifeval.instructions_registry").INSTRUCTION_DICT
    except ImportError as error:
        raise DataError(
            f"IFEval's checker cannot be loaded: {error}", hint="pip install -r studies/ifeval/requirements.txt"
        ) from error
    finally:
        for name in missing:
            del sys.modules[name]


def followed(text: str, instructions: Sequence[tuple[str, Mapping[str, Any]]], prompt: str = "") -> list[bool]:
    """Which instructions a text follows, strictly.

    Args:
        text: a response.
        instructions: types with their arguments; None stands for a missing one.
        prompt: what was asked for, which some checkers want to know.

    Raises:
        DataError: as `checkers`.
    """
    outcomes = []
    for kind, arguments in instructions:
        checker = checkers()[kind](kind)
        checker.build_description(**{name: value for name, value in arguments.items() if value is not None})
        if "prompt" in (checker.get_instruction_args() or ()):
            checker.build_description(prompt=prompt)
        outcomes.append(bool(text.strip()) and bool(checker.check_following(text)))
    return outcomes
