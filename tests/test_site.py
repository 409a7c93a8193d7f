"""The documentation site: every page is found in its navigation, and what pages link to is there.

`make docs` builds the site and checks more; this is what a renamed file breaks first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[site]'")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OUTSIDE = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "ctrlg" / "assets" / "README.md"]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
IDENTIFIER = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def navigation() -> list[str]:
    """The pages that mkdocs.yml names, in order."""

    def pages(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        for inside in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from pages(inside)

    return list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))


def test_every_page_is_in_the_navigation_once() -> None:
    named = navigation()
    assert len(named) == len(set(named))
    assert {page.relative_to(DOCS).as_posix() for page in PAGES} <= set(named)


def test_the_navigation_names_pages_that_are_there() -> None:
    for name in navigation():
        outside = ROOT / (name.removesuffix(".md") if name.endswith(".ipynb.md") else name)
        assert (DOCS / name).is_file() or outside.is_file(), name


@pytest.mark.parametrize("page", [*PAGES, *OUTSIDE], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_point_to_files(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", sorted((DOCS / "api").glob("*.md")), ids=lambda page: page.stem)
def test_api_pages_name_modules_that_are_there(page: Path) -> None:
    for identifier in IDENTIFIER.findall(page.read_text(encoding="utf-8")):
        path = ROOT / identifier.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file() or path.parent.with_suffix(".py").is_file(), (
            identifier
        )
