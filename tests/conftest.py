"""What every test may use: the marker `feature`, which docs/parity.md is made from, and a few fixtures.

``pytest --collect-only --parity=write`` writes docs/parity.md from what the tests name, and runs none of them;
``--parity=check`` fails a run of everything in which a test that is named there does not pass.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from difflib import unified_diff
from itertools import islice
from pathlib import Path

import pytest

from scripts import parity

ROOT = Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------------------------------------- features and parity


class FeatureRun:
    """Which rows the tests of this run name, and how the tests ended."""

    def __init__(self) -> None:
        self.groups = {book: parity.load(book) for book in parity.BOOKS}
        self.named: dict[str, list[str]] = {}
        self.outcomes: dict[str, str] = {}

    def rows(self, test: pytest.Item) -> list[str]:
        """The rows that a test names; a row that is in no list is an error."""
        found: list[str] = []
        for book, groups in self.groups.items():
            rows = [str(row) for mark in test.iter_markers(book.marker) for row in mark.args]
            if unknown := [row for row in rows if row not in parity.ids(groups)]:
                raise pytest.UsageError(f"{test.nodeid} names {', '.join(unknown)}: no such row in {book.name}")
            found += rows
        return found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the rows of a test, and the worst outcome of its setup, call and teardown."""
        for name, value in report.user_properties:
            if name == ROWS:
                self.named[report.nodeid] = str(value).split()
        if report.outcome != "passed" or report.when == "call":
            self.outcomes.setdefault(report.nodeid, report.outcome)
        if report.outcome == "failed" or hasattr(report, "wasxfail"):
            self.outcomes[report.nodeid] = "failed"

    @property
    def proven(self) -> dict[str, list[str]]:
        """The rows that this run proves, and the tests that prove each."""
        return parity.proofs(self.named, self.outcomes)

    def pages(self) -> dict[parity.Book, str]:
        """What the pages have to be."""
        return {book: parity.render(groups, self.proven, book) for book, groups in self.groups.items()}

    def contradictions(self) -> list[str]:
        """Rows that are said to be missing though a test proves them."""
        return [
            line for book, groups in self.groups.items() for line in parity.contradictions(groups, self.proven, book)
        ]

    def problems(self) -> list[str]:
        """What is wrong with the pages, after a run of everything that has passed."""
        problems = self.contradictions()
        for book, fresh in self.pages().items():
            written = book.page.read_text(encoding="utf-8") if book.page.exists() else ""
            if written != fresh:
                changes = unified_diff(
                    written.splitlines(), fresh.splitlines(), "committed", "proven", n=0, lineterm=""
                )
                stale = f"docs/{book.page.name} is stale; run `make parity` and commit it:"
                problems += [stale, *islice(changes, 30)]
        return problems

    def collected(self, test: pytest.Item, rows: list[str]) -> None:
        """Take it that a test passes; a run of the tests is what shows whether it does."""
        self.named[test.nodeid] = rows
        self.outcomes[test.nodeid] = "passed"


FEATURES = pytest.StashKey[FeatureRun]()
PROBLEMS = pytest.StashKey[list[str]]()
ROWS = "features"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity",
        choices=("off", "check", "write"),
        default="off",
        help="docs/parity.md and its like: leave them alone, compare them with this run, or write what the tests name",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FEATURES] = FeatureRun()
    config.pluginmanager.register(config.stash[FEATURES])
    config.stash[PROBLEMS] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run = config.stash[FEATURES]
    for item in items:
        if rows := run.rows(item):
            item.user_properties.append((ROWS, " ".join(rows)))  # which comes back with the report, from any process
            if config.getoption("collectonly"):
                run.collected(item, rows)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        return
    run, wanted = config.stash[FEATURES], config.getoption("--parity")
    if wanted == "write":
        if not config.getoption("collectonly"):
            raise pytest.UsageError("--parity=write wants --collect-only, and all tests")
        if not session.exitstatus:
            for book, text in run.pages().items():
                book.page.write_text(text, encoding="utf-8")
    elif wanted == "check":
        if session.testsfailed or session.exitstatus:
            config.stash[PROBLEMS] = ["the pages of rows can be compared only when all tests pass"]
        elif problems := run.problems():
            config.stash[PROBLEMS] = problems
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash[FEATURES]
    for line in config.stash[PROBLEMS]:
        terminalreporter.write_line(line, red=True)
    if config.getoption("--parity") == "write":
        for line in run.contradictions():
            terminalreporter.write_line(line, red=True)
        for book, groups in run.groups.items():
            rows = parity.ids(groups)
            proven = len(rows.intersection(run.proven))
            terminalreporter.write_line(f"docs/{book.page.name}: {proven} of {len(rows)} rows proven")


# ------------------------------------------------------------------------------------------------------- small tools

LOOKS = 5
"""How often to look for what is left behind, however slow the machine."""


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on."""
    from tests.hosts import free_port

    return free_port()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's command; a test that asks for it fails where there is none."""
    found = subprocess.run([ROOT / "scripts" / "find_chromium.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr, pytrace=False)
    return found.stdout.strip()


@pytest.fixture(scope="session")
def node() -> str:
    """The command of Node.js; a test that asks for it fails where it or the packages of tests/js are missing."""
    found = shutil.which(os.environ.get("NODE", "node"))
    if found is None or not (ROOT / "tests" / "js" / "node_modules").is_dir():
        pytest.fail("Node.js or tests/js/node_modules is missing; try: make setup", pytrace=False)
    return found


# ------------------------------------------------------------------------------------------------------------- leaks

Leaks = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def leaks() -> Leaks:
    """A block that must leave no task, timer or object of the given types behind in the running loop.

    ::

        async with leaks(Session, Socket):
            ...  # connect, misbehave, be closed

    What the block started gets a second (or `within`) to end. Timers are counted on asyncio's own loop only.
    """
    return _no_leaks


@asynccontextmanager
async def _no_leaks(*types: type, within: float = 1.0) -> AsyncIterator[None]:
    before = _held(types)
    old_tasks = asyncio.all_tasks()
    yield
    loop = asyncio.get_running_loop()
    deadline, looks = loop.time() + within, 0
    while more := _held(types) - before:
        looks += 1
        if loop.time() > deadline and looks >= LOOKS:
            tasks = [repr(task) for task in asyncio.all_tasks() - old_tasks]
            timers = [repr(timer) for timer in _timers()] if more["timers"] else []
            raise AssertionError("\n".join([f"left behind: {dict(more)}", *tasks, *timers]))
        await asyncio.sleep(0.01)


def _timers() -> list[asyncio.TimerHandle]:
    """The timers that the running loop still has to fire."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return [timer for timer in scheduled if not timer.cancelled()]


def _held(types: tuple[type, ...]) -> Counter[str]:
    counts = Counter(tasks=len(asyncio.all_tasks()), timers=len(_timers()))
    if types:
        gc.collect()
        alive = [type(thing) for thing in gc.get_objects()]
        counts.update({kind.__name__: sum(issubclass(found, kind) for found in alive) for kind in types})
    return counts
