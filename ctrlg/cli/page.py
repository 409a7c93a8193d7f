"""The command `ctrlg page`; what it imports, it imports when it runs."""

from __future__ import annotations

from typing import Any

from ctrlg.arguments import checked
from ctrlg.files.outputs import require_packages
from ctrlg.page.settings import LOOPBACK, PageSettings
from ctrlg.terminal.program import Program


@checked
def page(
    settings: PageSettings = PageSettings(),  # noqa: B008 - it is frozen
    model: str = "default",
    hmm: str | None = None,
    device: str = "cpu",
    browser: bool = False,
) -> None:
    """A page to write on, in the browser.

    A text with a gap, what must and must not occur, suggestions, and how each was written. The page loads nothing from
    elsewhere and sends nothing away; only the base model of the embedded pairs is fetched, once.

    Args:
        model: Hugging Face id, folder, .gguf file, 'default' (captions) or 'instruct'.
        hmm: folder or hub id of an HMM, 'default', 'instruct' or 'none'; by default the model's own.
        device: cpu or cuda.
        browser: open the page in a browser.
    """
    require_packages(["starlette", "uvicorn"], "page")
    from ctrlg.page.server import address, bound_socket, serve
    from ctrlg.page.snippets import of_models
    from ctrlg.terminal.console import say

    listening = bound_socket(settings)
    where = address(listening, settings.host)
    say(f"The page is at {where} (end it with Ctrl+C)")
    if settings.host not in LOOPBACK:
        say(
            f"warning: it listens on {settings.host}: whoever reaches this address can use this computer to write, "
            "and what they type is sent there unencrypted"
        )
    if browser:
        import webbrowser

        webbrowser.open(where)
    serve(lambda: _generator(model, hmm, device), settings, model, of_models(model, hmm), listening)


def _generator(model: str, hmm: str | None, device: str) -> Any:
    from ctrlg.generation import Generator
    from ctrlg.loading import load_pair

    return Generator(*load_pair(model, hmm, device))


PROGRAMS = {
    "page": Program(
        page,
        "ctrlg page",
        examples="""
Examples:

  ctrlg page

  ctrlg page --model instruct --port 8800 --browser

  ctrlg page --model gpt2 --hmm runs/hmm/best
""",
    ),
}
