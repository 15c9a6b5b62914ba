"""The site of docs/: it builds without a warning, has every page, and needs nothing from elsewhere."""

from __future__ import annotations

import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import madang
from scripts import docs
from scripts.docstrings import fenced
from tests.docs.snippets import Snippet, snippets
from tests.hosts import ROOT

CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
SITE = ROOT / CONFIG["site_dir"]
PAGES = sorted(page.relative_to(docs.DOCS).as_posix() for page in docs.DOCS.rglob("*.md"))
KOREAN = sorted(ROOT.glob("docs/ko/*.md"))


def in_navigation(entries: list[Any]) -> Iterator[str]:
    """The pages below an entry of the navigation."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from in_navigation(below if isinstance(below, list) else [below])


class Built(HTMLParser):
    """What a page of the site is made of: its language, what a browser fetches by itself, its twin in each language."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.language: str | None = None
        self.twins: dict[str | None, Path] = {}
        self._page = page
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language = given.get("lang")
        if tag == "a" and given.get("class") == "md-select__link":
            self.twins[given.get("hreflang")] = (self._page.parent / str(given.get("href"))).resolve()
        url = given.get("src") or (given.get("href") if tag == "link" else None)
        if url is not None:
            self.urls.append(url)


@pytest.mark.timeout(240)
def test_the_site():
    """It builds strictly. Each page of docs is there, in its language, and is shown without another server."""
    assert docs.build() is None
    for page in PAGES:
        html = (SITE / page).with_suffix(".html")
        built = Built(html)
        name = html.name if (ROOT / "docs" / "ko" / page.removeprefix("ko/")).exists() else "index.html"
        english = SITE / html.name if page.startswith("ko/") else html
        assert built.twins == {"en": english, "ko": SITE / "ko" / name}, page
        assert built.language == ("ko" if page.startswith("ko/") else "en"), page
        for url in built.urls:
            assert not re.match(r"(\w+:)?//", url), f"{page} fetches {url}"
            assert (html.parent / url.partition("#")[0].partition("?")[0]).exists(), f"{page} fetches {url}"
    reference = "".join(page.read_text(encoding="utf-8") for page in SITE.glob("reference*.html"))
    public = {*madang.__all__, *madang.WITH_BROKERS}
    assert {name for name in public if f'id="madang.{name}"' not in reference} == set()
    assert "네임스페이스" in (SITE / "search.json").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation():
    """zensical.toml names each page of docs once."""
    assert sorted(in_navigation(CONFIG["nav"])) == PAGES


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[the chat](../examples/chat/README.md)", "the chat (`examples/chat/README.md`)"),
        ("[README](../README.md#try-it)", "`README.md`"),
        ("[`test_x`](../tests/docs/test_site.py)", "`test_x`"),
        ("[options.md](options.md#cors)", "[Options](options.md#cors)"),
        ("[all options](options.md)", "[all options](options.md)"),
        ("[MIT](https://opensource.org/license/mit)", "[MIT](https://opensource.org/license/mit)"),
        ("[below](#section)", "[below](#section)"),
        ("![bars](../benchmarks/bars.svg)", "![bars](../benchmarks/bars.svg)"),
        ("```text\n[a](../README.md)\n```", "```text\n[a](../README.md)\n```"),
    ],
)
def test_links(written: str, shown: str):
    """Links out of docs become paths, and names of files the titles of their pages."""
    assert docs.for_the_site(written, docs.DOCS) == shown


def test_literal_blocks_of_docstrings():
    """What a docstring marks with two colons is a fence in the reference."""
    written = "First line.\n\n::\n\n    io = 1\n\n    io.run()\n\nIt goes on::\n\n    more\n\nArgs:\n    x: y.\n"
    shown = (
        "First line.\n\n\n\n```python\nio = 1\n\nio.run()\n```\n"
        "\nIt goes on:\n\n```python\nmore\n```\n\nArgs:\n    x: y.\n"
    )
    assert re.sub(r"\n+", "\n", fenced(written)) == re.sub(r"\n+", "\n", shown)


# -------------------------------------------------------------------------------------------------- two languages


def without_comments(snippet: Snippet) -> str:
    """What a program does: its text without comments, which are translated."""
    if snippet.language != "python":
        return re.sub(r"(^|\s+)(#|//) .*$", "", snippet.code, flags=re.MULTILINE)
    lines = snippet.code.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(snippet.code).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join(lines)


def programs_of(page: Path) -> list[tuple[str, str | None, str]]:
    """The fences of a page but for pictures in text: language, title, and what they do."""
    return [
        (snippet.language, snippet.title, without_comments(snippet))
        for snippet in snippets(page)
        if snippet.title is not None or snippet.language != "text"
    ]


@pytest.mark.parametrize("page", KOREAN, ids=lambda page: page.name)
def test_the_korean_programs(page: Path):
    """A Korean page has the programs of the English one, whose tests run them, and as many sections and tables."""
    if page.name == "index.md":
        assert programs_of(page) == []
        return
    english = ROOT / "docs" / page.name
    assert programs_of(page) == programs_of(english)
    for pattern in (r"^##+ ", r"^\|"):
        found = [
            len(re.findall(pattern, re.sub(r"(?ms)^```.*?^```$", "", text.read_text(encoding="utf-8")), re.MULTILINE))
            for text in (page, english)
        ]
        assert found[0] == found[1], f"{page.name}: {pattern}"
