"""A page with tiny models, served in this process, and a browser where there is one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.generation import Generator
from ctrlg.hmm import HMM
from ctrlg.page.settings import PageSettings

pytest.importorskip("starlette", reason="starlette is not installed: pip install -e '.[page]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install -e '.[page]'")

SECONDS = 90  # that anything may take


class Site:
    """A page and its address; `step_seconds` makes every step of the language model take so long."""

    def __init__(self) -> None:
        from ctrlg.page.server import Page

        self.step_seconds = 0.0
        self.steps = 0
        self.address = ""
        self.page = Page(self._generator, PageSettings(port=0, time_limit=SECONDS), "tiny")
        wait_until(lambda: self.page.writer is not None or bool(self.page.failure))
        assert not self.page.failure

    def _generator(self) -> Generator:
        tokenizer = tiny_tokenizer()
        model = tiny_language_model(len(tokenizer))
        model.register_forward_hook(self._slow)
        torch.manual_seed(1)
        return Generator(model, tokenizer, HMM(4, len(tokenizer), int(tokenizer.eos_token_id)))  # type: ignore[arg-type]

    def _slow(self, *arguments: Any) -> None:
        self.steps += 1
        time.sleep(self.step_seconds)


def wait_until(condition: Any, seconds: float = SECONDS) -> None:
    """Return as soon as the condition holds; AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    from ctrlg.page.server import in_background

    served = Site()
    with in_background(served.page) as served.address:
        yield served


@pytest.fixture
def slowly(site: Site) -> Iterator[Site]:
    """The site, every step of which takes a while."""
    site.step_seconds = 0.15
    yield site
    site.step_seconds = 0.0
    wait_until(lambda: site.page.queue.idle)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
