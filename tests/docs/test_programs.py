"""Every piece of Python in README and docs compiles, and the whole programs do what their pages say."""

from __future__ import annotations

import ast
import asyncio

import pytest

from tests.docs.snippets import PAGES, Program, Snippet, programs, run_page, script, serving, snippets

PYTHON = [snippet for path in PAGES for snippet in snippets(path) if snippet.language == "python"]
PROGRAMS = [program for path in PAGES for program in programs(path)]


@pytest.mark.parametrize("snippet", PYTHON, ids=str)
def test_python_compiles(snippet: Snippet):
    """It is Python, with `await` allowed where a handler's body is shown alone."""
    compile(snippet.code, str(snippet), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.feature("X5")
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
async def test_a_program_does_what_its_page_says(
    program: Program,
    node: str,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Program and page run together and print the lines that stand below them."""
    assert program.page is not None, f"{program} has a title, so it needs a page that uses it"
    wanted = program.prints["page"]
    async with (
        serving(program.server, monkeypatch, node, free_port) as url,
        run_page(node, script(program.page), url, len(wanted), python=program.page.language == "python") as printed,
    ):
        assert printed == wanted
        if (said := program.prints.get("server")) is not None:
            assert await server_prints(capsys, len(said)) == said


async def server_prints(capsys: pytest.CaptureFixture[str], lines: int) -> list[str]:
    """The first lines that this process has printed, once they are there."""
    out = ""
    for _ in range(100):
        out += capsys.readouterr().out
        if len(out.splitlines()) >= lines:
            break
        await asyncio.sleep(0.02)
    return out.splitlines()
