"""The fenced code of README and docs, and a way to run it.

A fence of Python is compiled. One with a title is a whole program, and what follows it belongs to it until the next:

* ``js title="…"`` or ``html title="…"``: its page, which Node runs with the stock client against the program;
* ``python title="client….py"``: the same in Python, run in a process of its own; there may be several for one program;
* ``text title="page"`` (or ``"client"``) and ``text title="server"``: the lines that the page and the program print, in
  this order. A program that has them and no page has that of the program before it.

A program listens on port 3000 in the text and on any free one in the test. One that does not call ``run`` is given to
uvicorn, under the name ``app`` or ``io``. The server may be JavaScript as well (``js title="server…"``), for pages that
compare: it is run by Node.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import types
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from madang.engine.host import Hosted
from tests.hosts import ROOT, listening

PAGES: Final = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")])
ADDRESS: Final = "http://localhost:3000"
PATIENCE: Final = 25.0

_FENCE: Final = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SCRIPT: Final = re.compile(r'<script type="module">\n(.*?)</script>', re.DOTALL)
_CDN: Final = re.compile(r'"https://cdn\.socket\.io/[^"]+"')

#: as much of a document as the pages use: text that is appended is printed; once connected, the form is sent
_DOM: Final = """
const elements = {};
globalThis.document = {
  querySelector: (name) => (elements[name] ??= { append: (text) => console.log(text) }),
  createElement: (name) => name,
};
const connected = (socket) => {
  socket.on("connect", () => {
    document.querySelector("input").value = "안녕하세요";
    elements.form.onsubmit({ preventDefault() {} });
  });
  return socket;
};
"""


@dataclass(frozen=True)
class Snippet:
    """One fence."""

    page: Path
    line: int
    language: str
    title: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass
class Program:
    """A whole program with its page and what both print."""

    server: Snippet
    page: Snippet | None = None
    prints: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def __str__(self) -> str:
        return str(self.page if self.page is not None and self.page.language == "python" else self.server)


def snippets(page: Path) -> list[Snippet]:
    """The fences of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Snippet(page, text.count("\n", 0, match.start()) + 2, match.group(1), match.group(2), match.group(3))
        for match in _FENCE.finditer(text)
    ]


def programs(page: Path) -> list[Program]:
    """The whole programs of a page."""
    found: list[Program] = []
    for snippet in snippets(page):
        if snippet.title is None:
            continue
        if snippet.language == "python" and snippet.title.startswith("client"):
            if found[-1].page is not None:
                found.append(Program(found[-1].server))
            found[-1].page = snippet
        elif snippet.language == "python" or snippet.title.startswith("server."):
            found.append(Program(snippet))
        elif snippet.language in ("js", "html"):
            found[-1].page = snippet
        elif snippet.language == "text":
            if found[-1].page is None:
                found[-1].page = found[-2].page
            title = "page" if snippet.title == "client" else snippet.title
            found[-1].prints[title] = snippet.code.splitlines()
    return found


@contextlib.asynccontextmanager
async def serving(snippet: Snippet, monkeypatch: pytest.MonkeyPatch, node: str, port: int) -> AsyncIterator[str]:
    """Run a program; the URL where it listens. `port` is for one in JavaScript."""
    if snippet.language == "js":
        async with serving_javascript(snippet.code, node, port) as url:
            yield url
        return
    ran: list[tuple[Hosted, dict[str, Any]]] = []
    monkeypatch.setattr(Hosted, "run", lambda self, **options: ran.append((self, options)))
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(snippet.code, str(snippet), "exec"), module.__dict__)
    if not ran:
        app = getattr(module, "app", None) or module.io
        async with listening(app, "uvicorn") as url:
            yield url
            if (io := getattr(module, "io", None)) is not None:
                await io.close()
        return
    ((hosted, options),) = ran
    running = await hosted.start(**{**options, "host": "127.0.0.1", "port": 0})
    try:
        yield running.url
    finally:
        await running.stop()


@contextlib.asynccontextmanager
async def serving_javascript(code: str, node: str, port: int) -> AsyncIterator[str]:
    """Run a server under Node; the URL where it listens."""
    process = await asyncio.create_subprocess_exec(
        *(node, "--input-type=module", "-"), cwd=ROOT / "tests" / "js", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(code.replace("3000", str(port)).encode())
    process.stdin.close()
    try:
        async with asyncio.timeout(PATIENCE):
            while process.returncode is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield f"http://localhost:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def script(page: Snippet) -> str:
    """What Node can run of a page: of HTML the script, with as much of a document as it needs."""
    if page.language != "html":
        return page.code
    (code,) = _SCRIPT.findall(page.code)
    code = _CDN.sub('"socket.io-client"', code)
    origin = '{ extraHeaders: { Origin: "http://localhost:8000" } }'
    return _DOM + code.replace(f'io("{ADDRESS}")', f'connected(io("{ADDRESS}", {origin}))')


@contextlib.asynccontextmanager
async def run_page(node: str, code: str, url: str, lines: int, *, python: bool = False) -> AsyncIterator[list[str]]:
    """Run a page under Node, or a client under Python; the first lines that it prints.

    It stays open for as long as the block.
    """
    process = await asyncio.create_subprocess_exec(
        *((sys.executable, "-u", "-") if python else (node, "--input-type=module", "-")),
        cwd=ROOT / "tests" / "js",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(code.replace(ADDRESS, url).encode())
    process.stdin.close()
    printed: list[str] = []
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while len(printed) < lines and (line := await process.stdout.readline()):
                    printed.append(line.decode().rstrip("\n"))
        yield printed
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
