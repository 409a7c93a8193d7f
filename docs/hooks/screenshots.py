"""Screenshots of the page, with the embedded models: `python docs/hooks/screenshots.py fig`.

Needs the extra `page`, playwright and a Chromium. The comparison compresses the HMM first, once on a machine.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from ctrlg.generation import Generator
from ctrlg.page.server import Page, in_background
from ctrlg.page.settings import PageSettings

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WORDS = ("dog", "park")
PATIENCE = 300_000  # milliseconds


def opened(browser: Any, address: str, **settings: Any) -> Any:
    """The page with the words of the example in it."""
    page = browser.new_context(device_scale_factor=1.5, **settings).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator("#suggest:enabled").wait_for()
    for word in WORDS:
        page.get_by_label("Add a word that must occur").fill(word)
        page.get_by_label("Add a word that must occur").press("Enter")
    return page


def suggested(page: Any) -> Any:
    """The page with suggestions, and how the first was written."""
    page.get_by_role("button", name="Suggest", exact=True).click()
    page.locator("#suggestions li").first.wait_for()
    page.locator("#progress").wait_for(state="hidden")
    page.get_by_role("button", name="How it was written").first.click()
    page.locator("#see svg.curve").wait_for()
    page.locator("#see .tokens button").nth(1).click()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.evaluate("document.getElementById('message').textContent = ''")  # the time says what else the machine does
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    served = Page(Generator.default, PageSettings(port=0, time_limit=600), "default")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with in_background(served) as address, sync_playwright() as driver:
        while served.writer is None and not served.failure:
            time.sleep(0.1)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        wrong = opened(browser, address, viewport=DESKTOP, color_scheme="dark")
        for word in ("cat", "dog"):
            wrong.get_by_label("Add a word that must not occur").fill(word)
            wrong.get_by_label("Add a word that must not occur").press("Enter")
        wrong.get_by_label("Any inflection").uncheck()  # "dogs" would do
        wrong.locator("#problem-include:not(:empty)").wait_for()
        wrong.evaluate("document.activeElement.blur()")
        wrong.locator("section[aria-labelledby=constraint-heading]").screenshot(path=folder / "page_problem.png")
        page = suggested(opened(browser, address, viewport=DESKTOP))
        seen = page.locator("#see").bounding_box()
        whole = {"x": 0, "y": 0, "width": DESKTOP["width"], "height": seen["y"] + seen["height"] + 18}
        page.screenshot(path=folder / "page.png", full_page=True, clip=whole)
        phone = suggested(opened(browser, address, viewport=PHONE, is_mobile=True, has_touch=True))
        phone.locator("#see").screenshot(path=folder / "page_phone.png")
        page.locator("#compare").click()
        page.locator("#compare-cancel").wait_for()
        page.locator("#compare-cancel").wait_for(state="hidden")
        page.evaluate("document.activeElement.blur()")
        page.locator("section[aria-labelledby=compare-heading]").screenshot(path=folder / "page_compare.png")
        browser.close()


if __name__ == "__main__":
    main()
