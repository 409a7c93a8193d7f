"""How soon the page suggests, with the real models loaded: the first suggestion of a constraint, and the one after it.

    python benchmarks/page.py
    python benchmarks/page.py --model instruct --repeats 5

The page is served in this process and asked over HTTP, as a browser does. For each concept set of the demo: "first" is
a new constraint, whose tables are not prepared; "second" goes on from the text with the first suggestion inserted;
"prepared" is the first once more, whose tables are kept, as they are when a visitor pauses before pressing Suggest.
CPU seconds are those of the process: on a machine that does other work as well, wall seconds say little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

import torch

from ctrlg.cli.demo import CONCEPT_SETS
from ctrlg.generation import Generator
from ctrlg.page.server import Page, in_background
from ctrlg.page.settings import PageSettings

LENGTH = {"least": 4, "most": 12}


class Visitor:
    """Asks a page as its scripts do."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._opener.open(address).read()

    def suggest(self, before: str, concepts: tuple[str, ...]) -> tuple[str, float, float]:
        """The text before the gap with the best suggestion inserted, wall seconds and CPU seconds."""
        fields = {"include": {"phrases": list(concepts)}, "length": LENGTH}
        body = json.dumps({"before": before, "after": ".", "number": 3, "fields": fields}).encode()
        asked = urllib.request.Request(f"{self._address}api/suggest", body, {"Content-Type": "application/json"})
        wall, cpu = time.perf_counter(), time.process_time()
        with self._opener.open(asked) as answer:
            last: dict[str, Any] = json.loads(answer.read().splitlines()[-1])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if last["event"] != "done":
            raise SystemExit(f"{concepts}: {last}")
        return last["suggestions"][0]["inserted"], wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("default", "instruct"), default="default")
    parser.add_argument("--sets", type=int, choices=range(1, 9), default=6, help="concept sets of the demo")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    page = Page(lambda: Generator.default(arguments.model), PageSettings(port=0), arguments.model)
    while page.writer is None:
        if page.failure:
            raise SystemExit(page.failure)
        time.sleep(0.1)
    times: dict[str, list[tuple[float, float]]] = {"first": [], "second": [], "prepared": []}
    with in_background(page) as address:
        visitor = Visitor(address)
        for repeat in range(arguments.repeats):
            for concepts in CONCEPT_SETS[: arguments.sets]:
                before = f"{repeat + 1}." if repeat else ""  # tables are kept: a repetition asks for another text
                inserted, *spent = visitor.suggest(before, concepts[:3])
                times["first"].append((spent[0], spent[1]))
                times["prepared"].append(visitor.suggest(before, concepts[:3])[1:])
                times["second"].append(visitor.suggest(inserted, concepts[3:] or ("and",))[1:])
    print(f"{arguments.model}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, seconds")
    print("| suggestion | wall, median | wall, most | CPU, median |\n|---|---|---|---|")
    for name, spent in times.items():
        wall, cpu = zip(*spent, strict=True)
        print(f"| {name} | {statistics.median(wall):.1f} | {max(wall):.1f} | {statistics.median(cpu):.1f} |")


if __name__ == "__main__":
    main()
