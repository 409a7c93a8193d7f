"""SPICE (Anderson et al. 2016): the official jar that pycocoevalcap ships, where Stanford's models are beside it."""

from __future__ import annotations

import importlib.util
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctrlg.errors import ArgumentError, ProcessError
from ctrlg.evaluation.metrics.java import Java, find_java, run_jar

MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
"""What the jar needs in its folder `lib` and no package ships."""
LEAST_JAVA, MOST_JAVA = 8, 13
"""It was made for 8; newer than 13, it is refused access to Java's own classes."""


def require_spice() -> Java:
    """The Java to run it on: to be called before long work.

    Raises:
        ArgumentError: the jar, a model or Java is missing, or Java is not of the versions that it runs on.
    """
    folder = _folder()
    missing = [
        path for path in (folder / "spice-1.0.jar", *(folder / "lib" / name for name in MODELS)) if not path.is_file()
    ]
    if missing:
        raise ArgumentError(
            f"SPICE is not to be had: there is no {missing[0]}",
            hint="SPICE's own archive has it; docs/quality.md says how to fetch it",
        )
    java = find_java()
    if not LEAST_JAVA <= java.version <= MOST_JAVA:
        raise ArgumentError(
            f"SPICE does not run on Java {java.version}",
            hint=f"put Java {LEAST_JAVA} (at most {MOST_JAVA}) first on the search path",
        )
    return java


def spice(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """SPICE of each tokenised sentence, in [0, 1], [n]; 0 where the jar finds nothing to compare.

    Args:
        sentences: n tokenized texts.
        references: tokenized, of each sentence.

    Returns:
        [n], in [0, 1].

    Raises:
        CtrlGError: as `spice_scores`.
    """
    return np.array([_number(found["All"]["f"]) for found in spice_scores(sentences, references)])


def spice_scores(
    sentences: Sequence[str], references: Sequence[Sequence[str]], categories: bool = False
) -> list[dict[str, dict[str, Any]]]:
    """What the jar says of each tokenised sentence: by category, precision "pr", recall "re", F-measure "f" and counts.

    Args:
        sentences: n tokenized texts.
        references: tokenized, of each sentence.
        categories: beside "All" also "Object", "Relation" and others.

    Raises:
        ArgumentError: as `require_spice`.
        ProcessError: the jar fails.
    """
    java = require_spice()
    items = [
        {"image_id": index, "test": sentence, "refs": list(group)}
        for index, (sentence, group) in enumerate(zip(sentences, references, strict=True))
    ]
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "asked.json", Path(folder) / "answered.json"
        asked.write_text(json.dumps(items), encoding="utf-8")
        arguments = [str(asked), "-out", str(answered), "-silent"]
        run_jar(java, _folder() / "spice-1.0.jar", "8G", [*arguments, *["-subset"] * categories])
        try:
            found = json.loads(answered.read_text(encoding="utf-8"))
            for item in found:
                _number(item["scores"]["All"]["f"])  # what every caller takes for granted
            scores = {item["image_id"]: item["scores"] for item in found}
            return [scores[index] for index in range(len(items))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProcessError("SPICE's jar wrote no scores", hint="does it have 8 GB of memory?") from error


def _folder() -> Path:
    package = importlib.util.find_spec("pycocoevalcap.spice.spice")
    return Path(str(package and package.origin)).parent


def _number(value: Any) -> float:
    number = 0.0 if value is None else float(value)
    return 0.0 if math.isnan(number) else number
