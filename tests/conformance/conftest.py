"""The servers the conformance tests talk to: one process per app, host and temper, shared by all tests of a session.

A *fast* server has the suites' heartbeat (300 ms and 200 ms), a *calm* one the default (25 s and 20 s): whatever closes
on a calm server closes because it was meant to. An *impatient* one is calm but lets nobody wait without a namespace.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import cast

import pytest

from tests.conformance import told
from tests.conformance.told import Serving
from tests.hosts import HOSTS, Host, ServerProcess

CALM = ("--ping-interval", "25", "--ping-timeout", "20")


@pytest.fixture(scope="session", params=HOSTS)
def host(request: pytest.FixtureRequest) -> Host:
    return cast("Host", request.param)


def _serving(app: str, host: Host, *options: str) -> Iterator[ServerProcess]:
    server = ServerProcess(app, host, *options)
    server.start()
    yield server
    assert server.alive, f"the server ended before it was asked to\n{server.stderr}"
    status, errors = server.stop()
    assert status == 0, f"the server ended with status {status}\n{errors}"
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def engine_fast(host: Host) -> Iterator[ServerProcess]:
    yield from _serving("engine_echo", host)


@pytest.fixture(scope="session")
def engine_calm(host: Host) -> Iterator[ServerProcess]:
    yield from _serving("engine_echo", host, *CALM)


@pytest.fixture(scope="session")
def socketio_fast(host: Host) -> Iterator[ServerProcess]:
    yield from _serving("socketio_echo", host, "--connect-timeout", "45")


@pytest.fixture(scope="session")
def socketio_calm(host: Host) -> Iterator[ServerProcess]:
    yield from _serving("socketio_echo", host, *CALM, "--connect-timeout", "45")


@pytest.fixture(scope="session")
def socketio_impatient(host: Host) -> Iterator[ServerProcess]:
    yield from _serving("socketio_echo", host, *CALM, "--connect-timeout", "0.4")


@pytest.fixture(params=("native", "uvicorn"))
def engine(request: pytest.FixtureRequest) -> Serving:
    """Makes an engine with options of the test's own, in the test's loop."""
    return partial(told.engine, request.param)


@pytest.fixture(params=("native", "uvicorn"))
def socketio(request: pytest.FixtureRequest) -> Serving:
    """Makes a Socket.IO server with options of the test's own, in the test's loop."""
    return partial(told.socketio, request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers of a failed test had to say."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, ServerProcess):
                report.sections.append((f"stderr of {name}", value.stderr))
    return report
