"""Brings onto the site what its pages link to elsewhere in the repository: figures, pages, notebooks and source files.

A page of docs/ that links to `../fig/trace.svg` works on the site as it does in the repository. Linked source files and
notebooks become pages, so that they can be read there.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = (
    "tutorial_ctrlg.ipynb",
    "tutorial_constraints.ipynb",
    "distillation/tutorial_distillation.ipynb",
    "ctrlg/assets/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
"""Pages of the navigation that stand elsewhere."""
LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".sh": "sh",
    ".toml": "toml",
    ".yml": "yaml",
    ".cff": "yaml",
    "": "make",
}
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_ADDRESS = re.compile(r"^[a-z]+:")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LIST_BELOW_TEXT = re.compile(r"^([^\s|>#*\d-].*|\*\*.*)\n(?=- |1\. )", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of OUTSIDE, and then whatever any page links to."""
    for name in OUTSIDE:
        files.append(_added(config, ROOT / name, InclusionLevel.INCLUDED))
    pages = [file for file in files.documentation_pages() if Path(file.abs_src_path or "").suffix == ".md"]
    for page in pages:
        for match in _LINK.finditer(_FENCE.sub("", page.content_string)):
            target = linked_file(page.src_uri, match[2])
            if target is not None and files.get_file_from_path(site_path(target)) is None:
                file = _added(config, target)
                files.append(file)
                if target.suffix == ".md":
                    pages.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where `on_files` put the files; a list right below a line of text is a list, as on GitHub."""
    folder = os.path.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target = linked_file(page.file.src_uri, match[2])
        if target is None or files.get_file_from_path(site_path(target)) is None:
            return match[0]
        return match[1] + os.path.relpath(site_path(target), folder) + match[3]

    def prose(text: str) -> str:
        return _LIST_BELOW_TEXT.sub(r"\1\n\n", _LINK.sub(moved, text))

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [prose(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, prose(markdown[end:])])


def linked_file(page: str, link: str) -> Path | None:
    """The file of the repository that a link on a page means; None for what is none, such as addresses."""
    if _ADDRESS.match(link):
        return None
    source = DOCS / page if (DOCS / page).exists() else ROOT / page
    target = (source.parent / link).resolve()
    return target if target.is_file() and target.is_relative_to(ROOT) else None


def site_path(target: Path) -> str:
    """Where a file of the repository is on the site, before pages become HTML."""
    inside = target.relative_to(DOCS if target.is_relative_to(DOCS) else ROOT).as_posix()
    return f"{inside}.md" if _becomes_page(target) else inside


def _becomes_page(target: Path) -> bool:
    return target.suffix == ".ipynb" or target.suffix in LANGUAGES


def _added(config: MkDocsConfig, target: Path, level: InclusionLevel = InclusionLevel.NOT_IN_NAV) -> File:
    name = target.relative_to(ROOT).as_posix()
    if not _becomes_page(target):
        return File.generated(config, site_path(target), abs_src_path=str(target), inclusion=level)
    page = notebook_page(target) if target.suffix == ".ipynb" else source_page(name, target)
    return File.generated(config, site_path(target), content=page, inclusion=level)


def source_page(name: str, source: Path) -> str:
    """A source file as a page that the search leaves out."""
    language = LANGUAGES[source.suffix]
    text = source.read_text(encoding="utf-8").rstrip()
    settings = "---\nsearch: {exclude: true}\nhide: [navigation, toc]\n---"
    return f'{settings}\n# `{name}`\n\n````{language} linenums="1"\n{text}\n````\n'


def notebook_page(notebook: Path) -> str:
    """A notebook as a page: its text, its code, and what the code printed."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [shown for output in cell.get("outputs", ()) for shown in _output(output)]
    return "\n\n".join(parts) + "\n"


def _output(output: dict) -> list[str]:
    data = output.get("data", {})
    if "image/png" in data:
        return [f"![Output](data:image/png;base64,{''.join(data['image/png']).strip()})"]
    text = "".join(output.get("text", data.get("text/plain", "")))
    return [f"```{{.text .output}}\n{text.rstrip()}\n```"] if text.strip() else []
