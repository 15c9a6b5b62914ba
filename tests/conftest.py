"""What every test may use: the marker `feature`, which docs/parity.md is made from, and a few fixtures.

``pytest --parity=write`` writes docs/parity.md after the run; ``--parity=check`` adds a last test that fails if the
file is not what the run proves. Both want a run of everything.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from scripts import parity

ROOT = Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------------------------------------- features and parity


class FeatureRun:
    """Which rows the tests of this run name, and how the tests ended."""

    def __init__(self) -> None:
        self.groups = parity.load()
        self.named: dict[str, list[str]] = {}
        self.outcomes: dict[str, str] = {}

    def name(self, test: pytest.Item) -> None:
        """Note the rows that a test names; a row that is not in docs/features.toml is an error."""
        known = parity.ids(self.groups)
        rows = [row for mark in test.iter_markers("feature") for row in mark.args]
        unknown = [str(row) for row in rows if row not in known]
        if unknown:
            raise pytest.UsageError(f"{test.nodeid} names {', '.join(unknown)}: no such row in docs/features.toml")
        if rows:
            self.named[test.nodeid] = rows

    def note(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of a test's setup, call and teardown."""
        if report.outcome != "passed" or report.when == "call":
            self.outcomes.setdefault(report.nodeid, report.outcome)
        if report.outcome == "failed" or hasattr(report, "wasxfail"):
            self.outcomes[report.nodeid] = "failed"

    @property
    def proven(self) -> dict[str, list[str]]:
        """The rows that this run proves, and the tests that prove each."""
        return parity.proofs(self.named, self.outcomes)

    def text(self) -> str:
        """What docs/parity.md has to be."""
        return parity.render(self.groups, self.proven)


FEATURES = pytest.StashKey[FeatureRun]()
LAST_TEST = "test_parity_is_what_the_tests_prove"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity",
        choices=("off", "check", "write"),
        default="off",
        help="docs/parity.md: leave it alone, compare it with what this run proves, or write it",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FEATURES] = FeatureRun()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run = config.stash[FEATURES]
    for item in items:
        run.name(item)
    last = [item for item in items if item.name == LAST_TEST]
    if last:
        items[:] = [item for item in items if item.name != LAST_TEST]
        if config.getoption("--parity") == "check":
            items += last
        else:
            config.hook.pytest_deselected(items=last)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if config.getoption("--parity") == "write" and not config.getoption("collectonly") and session.testscollected:
        parity.PARITY.write_text(config.stash[FEATURES].text(), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--parity") == "write":
        run = config.stash[FEATURES]
        terminalreporter.write_line(f"docs/parity.md: {len(run.proven)} of {len(parity.ids(run.groups))} rows proven")
        for line in parity.contradictions(run.groups, run.proven):
            terminalreporter.write_line(line, red=True)


@pytest.fixture
def feature_run(request: pytest.FixtureRequest) -> FeatureRun:
    """What this run has proven so far."""
    return request.config.stash[FEATURES]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    report: pytest.TestReport = yield
    item.config.stash[FEATURES].note(report)
    return report


# ------------------------------------------------------------------------------------------------------- small tools


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    deadline = loop.time() + within
    while more := _held(types) - before:
        if loop.time() > deadline:
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
