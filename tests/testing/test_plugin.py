"""The plugin for pytest, in runs of pytest of their own; the tests of docs/testing.md are run so as well."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module

import pytest

from tests.hosts import ROOT

pytest_plugins = ["pytester"]

PLUGIN = "madang.testing.plugin"
ASYNCIO = ("-p", "no:anyio", "--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
ANYIO = ("-p", "no:asyncio")
FOR_ANYIO = """
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"

"""


@pytest.fixture(autouse=True)
def this_source(monkeypatch: pytest.MonkeyPatch):
    """The runs are to test what stands here, whatever is installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester.runpytest_subprocess(*options, "-p", "no:cacheprovider", timeout=50)


def page() -> str:
    """The tests of docs/testing.md."""
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(("options", "head"), [(ASYNCIO, ""), (ANYIO, FOR_ANYIO)], ids=["asyncio", "anyio"])
def test_the_page(pytester: pytest.Pytester, options: tuple[str, ...], head: str):
    """All tests of docs/testing.md pass, with either plugin that runs coroutine tests."""
    pytester.makepyfile(head + page())
    run(pytester, *options).assert_outcomes(passed=page().count("async def test_"))


FAILING = """
import asyncio

import pytest

import madang

io = madang.Server()
ends = []
io.on("fail", lambda socket: 1 / 0)
io.on("disconnect", lambda socket, reason: ends.append(reason))


@pytest.fixture
async def client(madang_client):
    return await madang_client(io)


async def test_that_fails(client):
    client.emit("fail")


async def test_after_it(client):
    assert ends == ["client namespace disconnect"]
    assert client.failures == []


async def test_collecting(madang_client):
    client = await madang_client(io, failures="collect")
    client.emit("fail")


class TestClass:
    async def test_a_method(self, madang_clock, client):
        await asyncio.sleep(100)
        assert madang_clock.time() == pytest.approx(100)


def test_without_a_loop(madang_client):
    pass


def test_of_something_else():
    pass
"""


def test_failures_of_handlers(pytester: pytest.Pytester):
    """A handler that raises fails its own test, and no other; a plain function with the fixtures is told why not."""
    pytester.makepyfile(FAILING)
    result = run(pytester, *ASYNCIO)
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*ZeroDivisionError: division by zero", "*HandlerFailed: the handler of 'fail' has raised *", "*UsageError*"]
    )


def test_a_run_without_any_of_it(pytester: pytest.Pytester):
    """Where no plugin runs coroutine tests, and nobody asks for the fixtures, the plugin changes nothing."""
    pytester.makepyfile("def test_one(): pass")
    run(pytester, "-p", "no:asyncio", "-p", "no:anyio").assert_outcomes(passed=1)


def test_it_is_found():
    """pyproject.toml names the plugin, and `import madang` does without it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"madang": PLUGIN}
    assert import_module(PLUGIN).madang_client
