"""The command `ctrlg page`: it says where the page is, warns of other addresses, and ends when it is interrupted."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ctrlg.cli import main as cli
from ctrlg.errors import ArgumentError
from ctrlg.page.server import bound_socket
from ctrlg.page.settings import PageSettings

pytest.importorskip("starlette", reason="starlette is not installed: pip install -e '.[page]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install -e '.[page]'")


@pytest.fixture
def started() -> Iterator[subprocess.Popen[str]]:
    words = ["page", "--port", "0", "--host", "0.0.0.0", "--model", "/nowhere"]
    with subprocess.Popen([sys.executable, "-m", "ctrlg", *words], stdout=-1, stderr=-1, text=True) as process:
        yield process
        process.kill()


def test_it_says_where_the_page_is_and_ends_when_interrupted(started: subprocess.Popen[str]) -> None:
    assert started.stdout is not None and started.stderr is not None
    where = re.search(r"http://127\.0\.0\.1:\d+/", started.stdout.readline())
    assert where is not None
    assert "warning: it listens on 0.0.0.0" in started.stdout.readline()
    with urllib.request.urlopen(where[0]) as page:
        assert b"<title>ctrlg" in page.read()
    found: dict[str, Any] = {}
    for _ in range(300):
        with urllib.request.urlopen(f"{where[0]}api/page") as answer:
            found = json.load(answer)
        if found["failure"]:
            break
        time.sleep(0.1)
    assert "cannot be loaded" in found["failure"] and "/nowhere" in found["failure"] and not found["ready"]
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=20)
    assert "cannot be loaded" in errors and "Traceback" not in errors


def test_a_port_that_is_taken_is_refused() -> None:
    with bound_socket(PageSettings(port=0)) as taken, pytest.raises(ArgumentError, match="cannot listen"):
        cli.run(["page", "--port", str(taken.getsockname()[1])])
