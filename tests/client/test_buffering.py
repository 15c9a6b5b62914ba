"""What is sent before there is a connection, and what comes before its turn, with either server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import madang
from madang import AckTimeout, BufferFull
from tests.client.tools import SOON, Heard, until, upgraded


@pytest.mark.feature("W12")
async def test_what_is_sent_early_arrives_in_order(make_client, backend):
    """Events emitted before the connection wait for it, and arrive in order, before what "connect" sends."""
    client = make_client()
    client.on("connect", lambda: client.emit("from connect"))
    for number in range(3):
        client.emit("early", number, b"bytes")
    asked = client.emit_with_ack("echo", "asked early")
    assert client.buffered > 0
    async with asyncio.timeout(SOON):
        assert await asked == "asked early"
    heard = [entry[1:] for entry in await backend.heard(client.who, 6)]
    assert heard == [
        ["connect"],
        *(["early", number, b"bytes"] for number in range(3)),
        ["echo", "asked early"],
        ["from connect"],
    ]


@pytest.mark.feature("W12")
async def test_what_is_sent_between_connections(make_client, backend):
    """Events emitted while the client comes back wait for the next connection."""
    client = await make_client.joined()
    client.on("disconnect", lambda reason: [client.emit("between", number) for number in range(3)])
    await backend.cut(client.who)
    heard = [entry[1:] for entry in await backend.heard(client.who, 6) if entry[1] != "disconnect"]
    assert heard == [["connect"], ["connect"], *(["between", number] for number in range(3))]


@pytest.mark.feature("W12")
async def test_what_waits_is_bounded(anyhow):
    """More than `outbound_limit` does not wait: the emit that is too much says so."""
    client = anyhow(auto_connect=False, outbound_limit=10_000)
    while client.buffered <= 10_000:
        client.emit("x", "y" * 1000)
    with pytest.raises(BufferFull):
        client.emit("x", "y" * 1000)
    assert 10_000 <= client.buffered <= 12_000


@pytest.mark.feature("W12")
async def test_each_namespace_waits_by_itself(anyhow, backend):
    """What is sent to a namespace that lets in late waits there, and does not hold up the others."""
    client = await anyhow.joined()
    late = client.of("/late")
    late.emit("first")
    client.emit("second")
    await late.connected
    heard = [entry[:2] for entry in await backend.heard(client.who, 4)]
    assert heard == [["/", "connect"], ["/", "second"], ["/late", "connect"], ["/late", "first"]]


@pytest.mark.feature("W14")
async def test_volatile_events_do_not_wait(make_client, backend):
    """A volatile event without a connection is dropped; with an answer wanted, that fails at once."""
    client = make_client(auto_connect=False)
    client.volatile.emit("dropped")
    with pytest.raises(AckTimeout):
        await client.volatile.emit_with_ack("echo", "dropped")
    assert client.buffered == 0
    await client.connect()
    if len(make_client.transports) == 2:
        await upgraded(client)
    await until(lambda: client.manager.writable)
    client.volatile.emit("sent", b"bytes")
    assert (await backend.heard(client.who, 2))[1:] == [["/", "sent", b"bytes"]]


@pytest.mark.feature("W14")
async def test_volatile_events_are_dropped_while_something_waits(make_client, backend):
    """A volatile event that would have to wait behind others is dropped."""
    client = await make_client.joined()
    if len(make_client.transports) == 2:
        await upgraded(client)
    await until(lambda: client.manager.writable)
    client.emit("large", "x" * 100_000)
    client.volatile.emit("volatile")
    assert await client.emit_with_ack("echo", 1) == 1
    assert [entry[1] for entry in await backend.heard(client.who)] == ["connect", "large", "echo"]


@pytest.mark.feature("W13")
async def test_what_comes_early_is_delivered(make_client, backend):
    """Events that come before the namespace is joined wait for it, and are given to handlers in order."""
    client = make_client(query={"early": "1", "hello": "1"})
    order: list[Any] = []
    done = Heard()
    client.on("early", lambda number: order.append(number))
    client.on("hello", lambda session_id: done(session_id))
    async with asyncio.timeout(SOON):
        await client.connected
    assert await done.count(1) == [(client.id,)]
    assert order == [1, 2]


@pytest.mark.feature("W13")
async def test_what_comes_early_is_forgotten_with_its_connection(anyhow, backend):
    """Events that came for a namespace that was never joined are dropped with the connection."""

    async def auth() -> dict[str, str]:
        await gate.wait()
        return {}

    gate = asyncio.Event()
    client = anyhow(auth=auth, query={"early": "1"})
    order: list[int] = []
    client.on("early", order.append)
    await until(lambda: client._early)
    await backend.cut(client.who)
    await until(lambda: client.manager.state != "open")
    gate.set()
    await client.connected
    assert await client.emit_with_ack("echo", 1) == 1
    assert order == [1, 2]


async def test_the_first_event_is_not_missed(make_client):
    """Who has awaited the connection may then register a handler for what the server sends at once."""
    client = make_client(query={"hello": "1"})
    await client.connected
    heard = Heard()
    client.on("hello", heard)
    assert await heard.count(1) == [(client.id,)]


async def test_drained(make_client, backend):
    """`drained` waits until what was emitted has left."""
    client = await make_client.joined()
    for number in range(10):
        client.emit("x", number, "y" * 10_000)
    async with asyncio.timeout(SOON):
        await client.drained()
    assert client.buffered == 0
    assert len(await backend.heard(client.who, 11)) == 11


async def test_drained_ends_with_the_connection(anyhow):
    """`drained` does not wait for ever if the connection ends."""
    client = await anyhow.joined()
    client.emit("x", "y" * 1000)
    waiting = asyncio.ensure_future(client.drained())
    await asyncio.sleep(0)
    client.disconnect()
    async with asyncio.timeout(SOON):
        await waiting


async def test_an_event_that_is_too_large_does_not_leave(madang_only, own):
    """What waited and turns out to be too large for the server is told to `on_error`, or fails its question."""
    client = own(madang_only.url, auto_connect=False, transports=["websocket"])
    failed = Heard()
    client.on_error(lambda error, socket, event: failed(type(error), event))
    client.emit("large", "x" * 1_100_000)
    asked = client.emit_with_ack("large", "x" * 1_100_000)
    await client.connect()
    with pytest.raises(madang.PayloadTooLarge):
        await asked
    assert await failed.count(1) == [(madang.PayloadTooLarge, "large")]
    with pytest.raises(madang.PayloadTooLarge):
        client.emit("large", "x" * 1_100_000)
    assert await client.emit_with_ack("echo", 1) == 1
