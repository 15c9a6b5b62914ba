"""Fixtures for tests that look at both ends: the server in this process, and stock JavaScript clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

import madang
from tests.server.javascript import Client, Driver, Heard, Js, Transport

MODES: Final[dict[str, list[Transport]]] = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}


@pytest.fixture(scope="session")
def driver(node: str) -> Iterator[Driver]:
    """The process that holds the clients of all tests."""
    driver = Driver(node)
    yield driver
    driver.close()


@pytest.fixture
async def js(driver: Driver) -> AsyncIterator[Js]:
    """Stock clients, on WebSocket unless the test says otherwise; they and the servers are gone after the test."""
    async with Js(driver) as js:
        yield js


@pytest.fixture(params=MODES)
async def mode(request: pytest.FixtureRequest, js: Js) -> AsyncIterator[str]:
    """Makes the test run over WebSocket only, over polling only, and over polling with an upgrade meanwhile."""
    js.transports = MODES[request.param]
    yield request.param
    if request.param == "upgrade":
        for client in js.clients.values():
            if client.lives("upgrade") == 0 and (await client.state())["connected"]:
                await _upgraded_or_gone(client)


async def _upgraded_or_gone(client: Client) -> None:
    """Wait for the end of an upgrade, which may be that of the connection, if its server is closing."""
    waiting = [asyncio.ensure_future(client.life(kind)) for kind in ("upgrade", "disconnect")]
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
    for one in done:
        one.result()


@pytest.fixture
def io() -> madang.Server:
    """A server with nothing special about it."""
    return madang.Server()


@pytest.fixture
def heard() -> Heard:
    """A function that notes its arguments."""
    return Heard()
