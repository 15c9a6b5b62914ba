"""Streams and waits: what a full one stops and what it does not, several receivers, and cancelling at any moment."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

import madang
from madang.client.stream import FULL
from tests.client.tools import QUICK, SOON, WEBSOCKET, Heard, echo_server, until
from tests.conftest import Leaks
from tests.hosts import listening


def client_of(url: str, **options: Any) -> madang.Client:
    return madang.Client(url, **(QUICK | {"transports": WEBSOCKET, "timeout": SOON} | options))


def server() -> madang.Server:
    """A server that counts on `count`, and has a namespace ``/chat`` that does so too."""
    io = echo_server()

    def count(socket: madang.Socket, to: int) -> None:
        for number in range(to):
            socket.emit("number", number)

    io.on("count", count)
    chat = io.of("/chat")
    chat.on("count", count)
    chat.on("ask", lambda socket, *args: args)
    return io


async def full(client: Any) -> madang.EventStream:
    """A stream of the client that is full, so that nothing more is read."""
    stream = client.events("number")
    client.emit("count", 3 * FULL)
    await until(lambda: client._paused_session is not None)
    return stream


async def test_asking_while_the_stream_is_full():
    """Who takes events from a stream may ask the server about each, however many more are waiting."""
    async with listening(server()) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        stream = await full(client)
        for number in range(3 * FULL):
            event = await stream.receive()
            assert event.data == number
            assert await client.emit_with_ack("ask", number, timeout=1) == number
        await client.close()


async def test_a_question_does_not_lift_the_bound():
    """While an answer is awaited more may wait in a full stream, but not any number."""
    io = server()
    io.on("silent", silent)
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        stream = client.events("number")
        client.emit_with_ack("silent")
        client.emit("count", 100 * FULL)
        await until(lambda: client._paused_session is not None)
        assert 16 * FULL <= len(stream._events) < 32 * FULL
        await client.close()


def silent(socket: madang.Socket, ack: madang.Ack) -> None:
    """Never answers."""


@pytest.mark.parametrize("by", ["client", "server"])
async def test_leaving_a_namespace_with_a_full_stream(by: str):
    """A namespace that is left with a full stream does not keep the others of its connection from reading."""
    io = server()
    io.of("/chat").on("leave", lambda socket: socket.disconnect())
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        chat = client.of("/chat")
        await chat.connected
        await client.connected
        if by == "server":
            stream = chat.events("number")
            chat.emit("count", FULL - 1)
            chat.emit("leave")
        else:
            stream = await full(chat)
            chat.disconnect()
        await until(lambda: not chat.is_connected)
        assert await client.emit_with_ack("ask", 1, timeout=1) == 1
        await chat.connect()
        assert await chat.emit_with_ack("ask", 2, timeout=1) == 2
        assert len(stream._events) >= FULL - 1
        await client.close()


async def test_closing_with_a_full_stream():
    """A client whose stream is full closes at once."""
    async with listening(server()) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        stream = await full(client)
        begun = asyncio.get_running_loop().time()
        await client.close()
        assert asyncio.get_running_loop().time() - begun < 1
        received = [event.data async for event in stream]
        assert received == list(range(len(received)))
        assert len(received) >= FULL


async def test_a_full_stream_and_a_new_connection():
    """A stream that is still full on the next connection goes on stopping the reading there, until there is room."""
    io = server()
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        stream = await full(client)
        client.manager.engine.fail("transport error", None)  # type: ignore[union-attr]
        await until(lambda: client.is_connected)
        assert client._paused_session is client.manager.engine
        while len(stream._events):
            await stream.receive()
        assert client._paused_session is None
        assert await client.emit_with_ack("ask", 1, timeout=1) == 1
        await client.close()


@pytest.mark.parametrize("way", ["closed", "dropped", "dropped in a thread"])
async def test_an_abandoned_stream(way: str):
    """A full stream that is closed, or let go of in whatever thread, stops the reading no longer."""
    async with listening(server()) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        held = [await full(client)]
        if way == "closed":
            held[0].close()
        elif way == "dropped":
            held.clear()
            gc.collect()
        else:
            thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
            thread.start()
            await asyncio.to_thread(thread.join, SOON)
        assert await client.emit_with_ack("ask", 1, timeout=1) == 1
        await client.close()


async def test_several_receivers():
    """Those who receive from one stream share its events: each goes to one, none is lost, nobody starves."""
    async with listening(server()) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        stream = client.events("number")
        taken: dict[int, list[int]] = {number: [] for number in range(3)}

        async def take(receiver: int) -> None:
            async for event in stream:
                taken[receiver].append(event.data)
                await asyncio.sleep(0)

        receivers = [asyncio.create_task(take(receiver)) for receiver in taken]
        await asyncio.sleep(0)
        client.emit("count", 300)
        await until(lambda: sum(map(len, taken.values())) == 300)
        assert sorted(number for numbers in taken.values() for number in numbers) == list(range(300))
        assert all(len(numbers) > 50 for numbers in taken.values())
        await client.close()
        await asyncio.gather(*receivers)


@pytest.mark.parametrize("others", [0, 1])
async def test_cancelled_as_the_event_comes(others: int):
    """A receiver that is cancelled in the turn in which an event comes does not take it along."""
    async with listening(server()) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        stream = client.events("said")
        for number in range(20):
            doomed = asyncio.create_task(stream.receive())
            waiting = [asyncio.create_task(stream.receive()) for _ in range(others)]
            await asyncio.sleep(0)
            client.on("said", lambda *_, doomed=doomed: doomed.cancel())
            client.emit("say", number)
            await asyncio.wait([doomed])
            assert doomed.cancelled()
            assert (await (waiting[0] if waiting else stream.receive())).data == number
            client.off("said")
        await client.close()


async def test_awaiting_is_cancelled():
    """Whatever is awaited of a client may be cancelled, also by a time of one's own; the client is as it was."""
    io = server()
    io.on("silent", silent)
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        for awaited in (
            lambda: client.connected,
            lambda: client.connect(),
            lambda: client.emit_with_ack("silent"),
            lambda: client.wait_for("never"),
            lambda: client.events().receive(),
            lambda: client.wait(),
            lambda: client.drained(),
        ):
            for turns in range(4):

                async def wait(awaited: Any = awaited) -> None:
                    await awaited()

                task = asyncio.create_task(wait())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])

            async def in_no_time(awaited: Any = awaited) -> None:
                async with asyncio.timeout(0):
                    await awaited()
                    await asyncio.sleep(SOON)

            with pytest.raises(TimeoutError):
                await in_no_time()
        await client.connected
        assert await client.emit_with_ack("ask", 1) == 1
        assert (client._waiting, client._ends, bool(client._taps), client.tapped) == ([], [], False, False)
        assert not client._acks
        await client.close()


@pytest.mark.parametrize("turns", range(0, 30, 4))
async def test_an_entry_that_is_cancelled(turns: int, leaks: Leaks):
    """``async with`` that is cancelled on its way in leaves nothing behind."""
    io = server()
    async with listening(io) as url, asyncio.timeout(SOON), leaks(within=3):
        clients: list[madang.Client] = []

        async def enter() -> None:
            clients.append(client_of(url))
            async with clients[0]:
                await asyncio.Event().wait()

        task = asyncio.create_task(enter())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert not clients or clients[0].manager.state == "closed"
        await until(lambda: io.engine.clients_count == 0)


async def test_task_groups():
    """Connecting and asking in task groups works, and an error ends all of it."""
    async with listening(server()) as url, asyncio.timeout(SOON):
        client = client_of(url)

        async def ask(number: int) -> None:
            assert await client.emit_with_ack("ask", number) == number

        async def group_of_tasks() -> None:
            async with client, asyncio.TaskGroup() as group:
                for number in range(10):
                    group.create_task(ask(number))
                group.create_task(client.wait_for("never", timeout=0.05))
                group.create_task(client.wait())

        with pytest.raises(ExceptionGroup) as caught:
            await group_of_tasks()
        assert [type(error) for error in caught.value.exceptions] == [madang.WaitTimeout]
        assert client.manager.state == "closed"


async def test_early_events_of_many_connections():
    """What came before a namespace was joined counts against the bound of its own connection alone."""
    io = server()
    chat = io.of("/chat")
    chat.use(lambda socket: asyncio.Event().wait())
    big = "x" * 300_000
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        errors = Heard()
        client.on("disconnect", lambda reason: errors(reason))
        space = client.of("/chat")
        for round_ in range(6):
            await client.connected
            session: Any = client.manager.engine
            session.on_text(b'42/chat,["early","' + big.encode() + b'"]')
            session.fail("transport error", None)
            await errors.count(round_ + 1)
            await until(lambda: client.is_connected)
        assert {reason for (reason,) in errors.all} == {"transport error"}
        assert not space.is_connected
        await client.close()
