"""Everything that is measured on a card, in one call: kernels, decoding, a decoder's step, EM; one table, one file.

    python benchmarks/gpu.py --reference ../Ctrl-G --revision $(git rev-parse --short HEAD) --json gpu.json
    python benchmarks/gpu.py --sections kernels,em --seconds 120
    python benchmarks/gpu.py --toy --device cpu     # every line of it, in seconds, without a card
    python benchmarks/gpu.py --floors               # bytes, operations and least times of the kernels
    python benchmarks/gpu.py --markdown gpu.json    # tables for docs/gpu.md

The sections share the time and stop between two measurements when theirs is over; the file is written at every row. The
work is done in a process of its own. Where that dies, hangs, or breaks the device's context, what it died of is marked
and another process goes on with the rest.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SECTIONS = {"ceilings": 1.0, "kernels": 8.0, "decoding": 7.0, "share": 4.0, "width": 2.0, "em": 3.0, "tune": 2.0}
"""In their order, and their parts of the time; what one leaves over goes to those after it."""

MEASURES = {  # module and function of each
    "ceilings": ("ceilings", "measure"),
    "kernels": ("kernels", "measure"),
    "decoding": ("decoding", "measure"),
    "share": ("share", "measure"),
    "width": ("decoding", "measure_width"),
    "em": ("em", "measure"),
    "tune": ("tune", "measure"),
}

BROKEN = 3  # exit code of a process whose device refuses to go on
MOST_DEATHS = 6  # after which a section that a process dies in is not taken up again


def main() -> None:
    arguments = _arguments()
    if arguments.floors:
        from gpu_sections import floors

        print("\n".join(floors.table()))
    elif arguments.markdown:
        from gpu_sections import tables

        print("\n".join(tables.markdown(json.loads(arguments.markdown.read_text(encoding="utf-8")))))
    elif arguments.table:
        from gpu_sections import tables

        print("\n".join(tables.plain(json.loads(arguments.table.read_text(encoding="utf-8")))))
    elif arguments.worker:
        work(arguments)
    else:
        supervise(arguments)


def supervise(arguments: argparse.Namespace) -> None:
    """One process after the other until every section has had its turn; then the table."""
    from gpu_sections import tables

    arguments.json.unlink(missing_ok=True)
    deadline = time.time() + arguments.seconds
    waiting = list(arguments.sections)
    deaths = 0
    while waiting:
        worker = ["--worker", f"{deadline:.0f}", "--sections", ",".join(waiting)]
        code = subprocess.run([sys.executable, __file__, *sys.argv[1:], *worker]).returncode
        if not arguments.json.exists():
            raise SystemExit(f"the measuring process ended with code {code} before it began")
        content = json.loads(arguments.json.read_text(encoding="utf-8"))
        states = content["sections"]
        if code:
            deaths += 1
            bury(content, code, again=deaths < MOST_DEATHS)
            arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        left = [section for section in waiting if section not in states]
        if deaths > MOST_DEATHS + len(SECTIONS) or (not code and left):
            raise SystemExit(f"the measuring process ended with code {code}, {', '.join(left)} not measured")
        waiting = left
    print("\n".join(tables.plain(json.loads(arguments.json.read_text(encoding="utf-8")))))


def bury(content: dict[str, Any], code: int, again: bool) -> None:
    """Write down what a process died of. `again`: its section goes on with what has not been tried; else it is over."""
    states = content["sections"]
    for section in [name for name, state in states.items() if state["status"] == "running"]:
        error = states[section].get("error", f"its process ended with code {code}")
        trying = content["trying"]
        if trying:
            row = {"section": section, "what": trying[-1], "value": None, "unit": "", "goal": "", "met": None}
            content["rows"].append(row | {"note": f"DIED: {error}", "detail": dict(states[section])})
        if trying and again:
            del states[section]
        else:
            states[section] |= {"status": "died", "error": error}


def work(arguments: argparse.Namespace) -> None:
    """The sections in turn, each guarded."""
    from gpu_sections import ceilings, timing
    from gpu_sections.record import Record, Run

    record = Record(arguments.json)
    if not record.content["environment"]:
        record.content["environment"] = ceilings.environment(arguments.device, arguments.revision)
    record.write()
    run = Run(record, arguments.device, arguments.toy, arguments.reference, arguments.compile_reference)
    for position, section in enumerate(arguments.sections):
        left = max(0.0, arguments.worker - time.time())
        seconds = left * SECTIONS[section] / sum(SECTIONS[name] for name in arguments.sections[position:])
        started = time.perf_counter()
        record.state(section, "running")
        print(f"{section}: up to {seconds:.0f} s", file=sys.stderr, flush=True)
        run.begin(section, seconds)
        failed: dict[str, str] = {}
        try:
            module, function = MEASURES[section]  # imported in its turn, so that what one lacks stops no other
            getattr(importlib.import_module(f"gpu_sections.{module}"), function)(run)
        except Exception as error:
            failed = {"error": f"{type(error).__name__}: {error}".splitlines()[0], "traceback": traceback.format_exc()}
        run.end()
        if run.broken():
            record.state(section, "running", **failed)
            os._exit(BROKEN)  # at once: clean-up would ask the device
        status = "failed" if failed else "cut" if run.cut else "done"
        record.state(section, status, seconds=time.perf_counter() - started, **failed)
        timing.free(run.device)


def _sections(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=_sections, default=list(SECTIONS), help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--seconds", type=float, default=270.0, help="for all of them together")
    parser.add_argument("--device", default="cuda", help="where to measure")
    parser.add_argument("--toy", action="store_true", help="toy sizes: does it run at all?")
    parser.add_argument("--reference", type=Path, help="a checkout of Ctrl-G to compare with")
    parser.add_argument("--compile-reference", action="store_true", help="let torch compile it; takes a minute or two")
    parser.add_argument("--revision", default="unknown", help="of this software, for the record")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="where all numbers go")
    parser.add_argument("--floors", action="store_true", help="print the floors of the kernels and stop")
    parser.add_argument("--markdown", type=Path, help="print the tables of this file of results and stop")
    parser.add_argument("--table", type=Path, help="print the plain table of this file, say of a run that was cut off")
    parser.add_argument("--worker", type=float, help=argparse.SUPPRESS)  # when its time is over, seconds of the epoch
    return parser.parse_args()


if __name__ == "__main__":
    main()
