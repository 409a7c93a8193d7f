"""The Java that METEOR and SPICE run on: found, asked for its version, and run so that no process outlives the call."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ctrlg.errors import ArgumentError, ProcessError

_START_SECONDS, _RUN_SECONDS = 60, 3600


class Java(NamedTuple):
    """A Java that was found.

    Attributes:
        program: its path.
        version: 8, 11, 17, ...
    """

    program: str
    version: int


def find_java() -> Java:
    """The `java` of the search path.

    Raises:
        ArgumentError: there is none, or it does not start.
    """
    program = shutil.which("java")
    if program is None:
        raise ArgumentError("there is no java on the search path", hint="install a Java runtime, or do without")
    try:
        shown = subprocess.run([program, "-version"], capture_output=True, timeout=_START_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArgumentError(
            f"{program} does not start: {error}", hint="mend the Java runtime, or do without"
        ) from error
    text = (shown.stderr + shown.stdout).decode(errors="replace")
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if shown.returncode or found is None:
        raise ArgumentError(f"{program} is broken: {_last_line(text)}", hint="mend the Java runtime, or do without")
    first, second = found.groups()
    return Java(program, int(second or 0) if first == "1" else int(first))  # Java 8 calls itself 1.8


def run_jar(java: Java, jar: Path, memory: str, arguments: Sequence[str], text: str = "") -> str:
    """What a jar prints when it reads `text`, both UTF-8 whatever the locale.

    Args:
        java: to run it on.
        jar: its file.
        memory: its largest heap, such as "2G".
        arguments: of the jar.
        text: that it reads.

    Raises:
        ProcessError: it fails or takes more than an hour; it is gone in any case.
    """
    command = [java.program, f"-Xmx{memory}", "-Dfile.encoding=UTF-8", "-jar", str(jar), *arguments]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, cwd=jar.parent, timeout=_RUN_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProcessError(f"{jar.name} did not run: {error}", hint=f"{java.program} is Java {java.version}") from error
    if done.returncode:
        problem = _last_line(done.stderr.decode(errors="replace"))
        raise ProcessError(
            f"{jar.name} ended with code {done.returncode}: {problem}",
            hint=f"it was given {memory} of memory on Java {java.version}, {java.program}",
        )
    return done.stdout.decode(errors="replace")


def _last_line(text: str) -> str:
    """The last line that is not of a stack trace, where the error itself stands."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("\t", " "))]
    return lines[-1] if lines else "it says nothing"
