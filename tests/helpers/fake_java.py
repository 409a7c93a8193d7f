"""A shell script in the place of Java, first on the search path: for what goes wrong, and for versions not at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def put_java(folder: Path, patch: pytest.MonkeyPatch, version: str, script: str = "exit 0") -> Path:
    """A `java` that says it is of that version, and runs a script where it is given a jar."""
    program = folder / "java"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -version ]; then echo \'openjdk version "{version}"\' >&2; exit 0; fi\n{script}\n'
    )
    program.chmod(0o755)
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program
