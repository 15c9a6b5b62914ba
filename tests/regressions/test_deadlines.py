"""Listeners and handlers that fail while a session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import madang
from tests.hosts import listening
from tests.regressions.peer import joined, serving, until


def listener_raises(io: madang.Server) -> None:
    def fails(*args: Any) -> None:
        raise ValueError("a listener")

    io.on("connection", lambda socket: socket.conn.on("close", fails) and None)


def handler_cancels(io: madang.Server) -> None:
    @io.on("disconnect")
    def gone(socket):
        raise asyncio.CancelledError


def coroutine_cancels(io: madang.Server) -> None:
    @io.on("disconnect")
    async def gone(socket):
        raise asyncio.CancelledError


fails_at_the_end = pytest.mark.parametrize("fails", [listener_raises, handler_cancels, coroutine_cancels])


@fails_at_the_end
async def test_other_deadlines_hold(fails: Callable[[madang.Server], None]):
    """A listener or handler that fails when one silent client is dropped does not save the next silent client."""
    io = serving(ping_interval=0.1, ping_timeout=0.1)
    fails(io)
    async with listening(io) as url, joined(url) as first, joined(url) as second:
        first.pongs = False
        await until(lambda: len(io.sockets) == 1, "the first client is dropped")
        await second.served()
        second.pongs = False
        await until(lambda: not io.sockets, "the second client is dropped")
        await first.ended.wait()
        await second.ended.wait()


@fails_at_the_end
async def test_deadlines_of_one_moment_hold(fails: Callable[[madang.Server], None]):
    """Of several clients that are dropped at the same moment each one's failure is its own."""
    io = serving(ping_interval=0.1, ping_timeout=0.1)
    fails(io)
    async with listening(io) as url, joined(url) as first, joined(url) as second, joined(url) as third:
        for peer in (first, second, third):
            peer.pongs = False
        await until(lambda: not (io.sockets or io.engine.sessions), "all clients are dropped")


@fails_at_the_end
async def test_closing_ends_all_sessions(io: madang.Server, fails: Callable[[madang.Server], None]):
    """`close` ends all sessions, whatever listeners and handlers raise meanwhile."""
    fails(io)
    async with listening(io) as url, joined(url) as first, joined(url) as second, joined(url) as third:
        await io.close()
        assert (dict(io.engine.sessions), io.sockets, io.connections) == ({}, {}, set())
        for peer in (first, second, third):
            await asyncio.wait_for(peer.ended.wait(), 2)
