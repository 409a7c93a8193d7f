"""The page in a real browser, as people use it. Everything is there without a network: a request elsewhere fails the
test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ctrlg.constraints import Constraint

from .conftest import Site, wait_until

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
MUST, MUST_NOT = "Add a word that must occur", "Add a word that must not occur"
Open = Callable[..., Any]


@pytest.fixture
def open_page(site: Site, browser: Any) -> Iterator[Open]:
    """Opens the page as a new visitor. Errors of scripts, and requests to other addresses, fail the test."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def opened(viewport: dict[str, int] = DESKTOP, **settings: Any) -> Any:
        context = browser.new_context(viewport=viewport, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if _is_wrong(said) else None)
        page.on("request", lambda asked: None if asked.url.startswith(site.address) else wrong.append(asked.url))
        page.goto(site.address)
        page.locator("#suggest:enabled").wait_for()
        page.get_by_label("Before the gap").fill("the")
        page.get_by_label("At least").fill("1")
        page.get_by_label("At most").fill("4")
        page.get_by_label("Any inflection").uncheck()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def _is_wrong(said: Any) -> bool:
    """Whether a line of the console tells of a fault; answers of the page's own server that refuse something do not."""
    return said.type == "error" and "the server responded with a status of 4" not in said.text


def add(page: Any, label: str, *phrases: str) -> None:
    for phrase in phrases:
        page.get_by_label(label).fill(phrase)
        page.get_by_label(label).press("Enter")


def suggest(page: Any) -> Any:
    """Ask, wait, and return the suggestions."""
    page.get_by_role("button", name="Suggest", exact=True).click()
    page.locator("#suggestions li").first.wait_for()
    page.locator("#progress").wait_for(state="hidden")
    return page.locator("#suggestions li")


def problem(page: Any, field: str) -> str:
    """The message at a field, once there is one."""
    page.locator(f"#problem-{field}:not(:empty)").wait_for()
    return page.locator(f"#problem-{field}").inner_text()


def test_the_whole_way(open_page: Open) -> None:
    page = open_page()
    add(page, MUST, "dog", "park")
    add(page, MUST_NOT, "cat")
    found = suggest(page)
    texts = found.locator(".insert").all_inner_texts()
    assert 1 <= len(texts) <= 3 and all("dog" in text and "park" in text for text in texts)
    assert found.first.locator("mark").all_inner_texts().count("dog") == 1
    assert "satisfies the constraint" in found.first.inner_text()
    assert re.search(r"\d suggestions? in \d+\.\d s", page.locator("#message").inner_text())

    page.get_by_role("button", name="How it was written").first.click()
    page.locator("#see svg.curve").wait_for()
    assert "at the start" in page.locator("#see svg").get_attribute("aria-label")
    assert page.evaluate("document.activeElement.id") == "see-heading"
    tokens = page.locator("#see .tokens button")
    tokens.last.click()
    assert tokens.last.get_attribute("aria-pressed") == "true" and tokens.last.inner_text() == "end"
    assert page.locator("#see .preferred li").count() == 10

    found.first.locator(".insert").click()
    before = page.get_by_label("Before the gap")
    assert before.input_value().startswith("the") and "dog" in before.input_value()
    page.get_by_role("button", name="Undo insert").click()
    assert before.input_value() == "the" and page.get_by_role("button", name="Undo insert").is_disabled()

    page.get_by_text("JSON of the constraint").click()
    page.locator("#json:not(:empty)").wait_for()
    constraint = Constraint.from_dict(json.loads(page.locator("#json").inner_text()))
    assert constraint.holds("the dog park") and not constraint.holds("the dog park cat")
    page.get_by_text("Python", exact=True).click()
    assert "generator(constraint, n=3, prefix='the', suffix='.'" in page.locator("#python").inner_text()

    page.get_by_role("button", name="New text").click()
    page.get_by_role("button", name=re.compile("^Use again: contains dog")).click()
    assert before.input_value() == "the" and page.locator("#field-exclude .chips li").inner_text().startswith("cat")


def test_an_impossible_constraint_is_told_beside_its_fields_at_once(open_page: Open) -> None:
    page = open_page()
    add(page, MUST, "dog")
    add(page, MUST_NOT, "dog")
    assert "together with: Words that must not occur" in problem(page, "include")
    assert "together with: Words that must occur" in problem(page, "exclude")
    assert page.get_by_label(MUST).get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="Remove dog").last.click()
    page.locator("#problem-include").wait_for(state="hidden")
    assert page.get_by_label(MUST).get_attribute("aria-invalid") == "false"
    page.get_by_label("At most").fill("-3")
    assert "not a whole number" in problem(page, "length").lower()
    page.get_by_role("button", name="Suggest", exact=True).click()
    page.locator("#progress").wait_for(state="hidden")
    assert page.locator("#suggestions li").count() == 0


def test_ten_thousand_pasted_words_are_a_message(open_page: Open) -> None:
    page = open_page()
    page.evaluate(
        """(label) => {
          const data = new DataTransfer();
          data.setData("text", Array.from({length: 10000}, (_, n) => `word${n}`).join("\\n"));
          document.querySelector(`[aria-label="${label}"]`).dispatchEvent(
            new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        MUST,
    )
    assert "10,000 phrases are too many" in problem(page, "include")
    page.get_by_label(MUST).fill("")
    page.get_by_label("Before the gap").fill("word " * 10_000)
    assert "50,000 characters" in problem(page, "before")
    page.get_by_label("Before the gap").fill("bell \x07")
    page.locator("#problem-before").get_by_text("U+0007").wait_for()


def test_markup_stays_text(open_page: Open) -> None:
    page = open_page()
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    add(page, MUST, "<b>dog</b>")
    page.get_by_label("Before the gap").fill(evil)
    page.get_by_label("At most").fill("6")
    found = suggest(page)
    assert evil in found.first.inner_text() and page.locator(".chips").first.inner_text().startswith("<b>dog</b>")
    page.get_by_role("button", name="How it was written").first.click()
    page.locator("#see svg.curve").wait_for()
    assert page.locator("main img, main script, main b").count() == 0


def test_empty_fields_are_no_constraint_but_a_form(open_page: Open) -> None:
    page = open_page()
    for label in ("Before the gap", "After the gap", "At least", "At most"):
        page.get_by_label(label).fill("")
    page.get_by_label("One sentence").uncheck()
    assert suggest(page).count() >= 1


def test_two_visitors_at_once(slowly: Site, open_page: Open) -> None:
    one, two = open_page(), open_page()
    add(one, MUST, "dog")
    add(two, MUST, "park")
    one.get_by_role("button", name="Suggest", exact=True).click()
    one.get_by_text("tokens decided").wait_for()
    two.get_by_role("button", name="Suggest", exact=True).click()
    two.get_by_text("before yours").wait_for()
    for page, own, foreign in ((one, "dog", "park"), (two, "park", "dog")):
        page.locator("#suggestions li").first.wait_for()
        shown = page.locator("#suggestions").inner_text() + page.locator("#history").inner_text()
        assert own in shown and foreign not in shown


def test_cancel_stops_the_search(slowly: Site, open_page: Open) -> None:
    page = open_page()
    add(page, MUST, "dog")
    for way in ("button", "Escape"):
        page.get_by_role("button", name="Suggest", exact=True).click()
        page.get_by_text("tokens decided").wait_for()
        if way == "button":
            page.get_by_role("button", name="Cancel", exact=True).click()
        else:
            page.keyboard.press("Escape")
        assert page.locator("#message").inner_text() == "Cancelled."
        wait_until(lambda: slowly.page.queue.idle, seconds=2)
        assert page.locator("#suggestions li").count() == 0
    slowly.step_seconds = 0.0
    assert suggest(page).count() >= 1


def test_with_the_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Before the gap").focus()
    order = []
    for _ in range(12):
        order.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        page.keyboard.press("Tab")
    assert order[:4] == ["before", "after", "clear", "include-phrases"]  # "Undo insert" has nothing to undo yet
    assert order[5:7] == ["include-inflect", "include-ordered"]
    page.get_by_label(MUST).focus()
    page.keyboard.type("cat,dog")
    page.keyboard.press("Enter")
    assert page.locator("#field-include .chips span").all_inner_texts() == ["cat", "dog"]
    page.keyboard.press("Backspace")
    assert page.locator("#field-include .chips span").all_inner_texts() == ["cat"]
    page.keyboard.press("Backspace")
    page.keyboard.type("dog")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # an empty line sends the form
    page.locator("#suggestions li").first.wait_for()
    page.locator(".insert").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert "dog" in page.get_by_label("Before the gap").input_value()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_and_contrast(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    add(page, MUST, "dog")
    add(page, MUST_NOT, "dog")
    problem(page, "include")
    page.get_by_role("button", name="Remove dog").last.click()
    suggest(page)
    page.get_by_role("button", name="How it was written").first.click()
    page.locator("#see svg.curve").wait_for()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, textarea, select, button, summary")]
          .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()))
          .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    assert page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => one.tagName)")[:2] == ["H1", "H2"]
    faint = page.evaluate(CONTRAST)
    assert faint == []


CONTRAST = """() => {
  const parts = (colour) => {
    const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const bright = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((one) =>
      one.checkVisibility() && !one.disabled && !(one instanceof SVGElement) &&
      [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((one) => {
      const [light, dark] = [bright(parts(getComputedStyle(one).color)), bright(behind(one))].sort((a, b) => b - a);
      return [one.textContent.slice(0, 40), (light + 0.05) / (dark + 0.05)];
    })
    .filter(([, ratio]) => ratio < 4.5);
}"""
"""Texts whose contrast with what is behind them is below 4.5 to 1, which WCAG 2 asks for at level AA."""


def test_on_a_narrow_screen(open_page: Open) -> None:
    page = open_page(PHONE, has_touch=True, is_mobile=True)
    add(page, MUST, "dog", "a phrase of several words that does not fit")
    page.get_by_role("button", name=re.compile("Remove a phrase")).tap()
    suggest(page)
    page.get_by_role("button", name="How it was written").first.tap()
    page.locator("#see svg.curve").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, summary")].filter((one) => one.checkVisibility())
          .map((one) => [one.textContent.trim().slice(0, 30), one.getBoundingClientRect()])
          .filter(([, box]) => box.height < 24 || box.width < 24).map(([name]) => name)"""
    )
    assert small == []
