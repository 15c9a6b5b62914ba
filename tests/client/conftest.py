"""Servers and clients for the tests of the client.

`backend` is one of two servers with the same application, see `servers`; `make_client` makes clients of it that are
closed at the end, over each transport; `anyhow` is for what has nothing to do with transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest

import madang
from tests.client.servers import Backend, MadangBackend, NodeBackend, madang_backend, node_process
from tests.client.tools import QUICK, SOON, WAYS

_numbers: Final = count(1)


@pytest.fixture(scope="session")
def node_backend(node) -> Iterator[NodeBackend]:
    """The stock JavaScript server, one for the whole run."""
    with node_process(node) as backend:
        yield backend


@pytest.fixture
async def settled(leaks) -> AsyncIterator[None]:
    """Looks, after servers and clients have ended, whether one of them left a task or a timer behind."""
    async with leaks():
        yield


@pytest.fixture(params=["node", "madang"])
async def backend(request, settled) -> AsyncIterator[Backend]:
    """One of the two servers."""
    if request.param == "node":
        yield request.getfixturevalue("node_backend")
        return
    async with madang_backend() as backend:
        yield backend


@pytest.fixture
async def madang_only(settled) -> AsyncIterator[MadangBackend]:
    """madang's server alone."""
    async with madang_backend() as backend:
        yield backend


@pytest.fixture(params=WAYS)
def way(request) -> str:
    """How the client connects: ``websocket``, ``polling``, or ``upgrade`` from one to the other."""
    return request.param


class Made(madang.Client):
    """A client that knows the name it has given to the server."""

    who: str = ""


class Maker:
    """Makes clients, and closes them in the end.

    Args:
        url: the server's.
        transports: those of the clients, unless told otherwise.
    """

    def __init__(self, url: str, transports: list[str]) -> None:
        self.url = url
        self.transports = transports
        self.clients: list[madang.Client] = []

    def __call__(self, namespace: str = "", *, who: str | None = None, **options: Any) -> Made:
        """A client of a namespace, as `madang.Client` makes it.

        Args:
            namespace: such as ``"/chat"``.
            who: its name for the server. Default: a new one.
            **options: see `madang.Client`; the `query` is added to.
        """
        who = who or f"client {next(_numbers)}"
        query = {"who": who, **options.pop("query", {})}
        client = Made(
            self.url + namespace, **(QUICK | {"timeout": SOON, "transports": self.transports, "query": query} | options)
        )
        client.who = who
        self.clients.append(client)
        return client

    async def joined(self, namespace: str = "", **options: Any) -> Made:
        """A client that has joined its namespace."""
        client = self(namespace, **options)
        async with asyncio.timeout(SOON):
            await client.connect()
        return client

    async def close(self) -> None:
        async with asyncio.timeout(SOON):
            for client in self.clients:
                await client.manager.close()


@pytest.fixture
async def make_client(backend, way) -> AsyncIterator[Maker]:
    """Makes clients of each server over each transport."""
    maker = Maker(backend.url, WAYS[way])
    yield maker
    await maker.close()


@pytest.fixture
async def anyhow(backend) -> AsyncIterator[Maker]:
    """Makes clients of each server over WebSocket."""
    maker = Maker(backend.url, WAYS["websocket"])
    yield maker
    await maker.close()


@pytest.fixture
async def of_node(node_backend, settled) -> AsyncIterator[Maker]:
    """Makes clients of the JavaScript server over WebSocket."""
    maker = Maker(node_backend.url, WAYS["websocket"])
    yield maker
    await maker.close()


@pytest.fixture
async def own(settled) -> AsyncIterator[Callable[..., madang.Client]]:
    """Makes clients of any URL, with options as they are."""
    clients: list[madang.Client] = []

    def make(url: str, **options: Any) -> madang.Client:
        clients.append(madang.Client(url, **options))
        return clients[-1]

    yield make
    async with asyncio.timeout(SOON):
        for client in clients:
            await client.manager.close()
