"""Servers that ``madang connect`` is tested against: the stock JavaScript server, and madang's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.client.servers import Backend, MadangBackend, NodeBackend, madang_backend, node_process


@pytest.fixture(scope="session")
def node_backend(node) -> Iterator[NodeBackend]:
    """The stock JavaScript server."""
    with node_process(node) as backend:
        yield backend


@pytest.fixture
async def madang_only(leaks) -> AsyncIterator[MadangBackend]:
    """madang's server, in the test's loop."""
    async with leaks(), madang_backend() as backend:
        yield backend


@pytest.fixture(params=["node", "madang"])
async def backend(request, leaks) -> AsyncIterator[Backend]:
    """One of the two."""
    if request.param == "node":
        yield request.getfixturevalue("node_backend")
        return
    async with leaks(), madang_backend() as backend:
        yield backend


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    """A terminal in which commands can be started; what runs in the end is ended."""
    terminal = Terminal(tmp_path)
    try:
        yield terminal
    finally:
        await terminal.close()
