"""Other threads: what they may call, what they can wait for, and what is told when one handler holds the loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import madang
from madang.errors import ServerClosed, UsageError, WaitTimeout
from madang.server import watchdog
from tests.hosts import listening
from tests.server.javascript import Js


async def test_what_is_awaited(js: Js, io: madang.Server):
    """A thread gets the answers of clients and of queries, in the order of what it asked for."""
    clients = [await js.connect(io) for _ in range(3)]
    for client in clients:
        await client.reply("vote", client.id)

    def work() -> tuple[Any, ...]:
        io.sockets_join("room")
        votes = io.from_thread(io.to("room").timeout(5).emit_with_ack, "vote")
        one = io.from_thread(io.sockets[clients[0].id].emit_with_ack, "vote")
        sockets = io.from_thread(io.in_("room").fetch_sockets)
        return sorted(votes), one, sorted(socket.id for socket in sockets), io.from_thread(len, io.sockets)

    ids = sorted(client.id for client in clients)
    assert await asyncio.to_thread(work) == (ids, clients[0].id, ids, 3)


async def test_emit_from_many_threads(js: Js, io: madang.Server):
    """What one thread emits keeps its order, whatever others do meanwhile."""
    client = await js.connect(io)
    threads, count = 4, 50

    def work(thread: int) -> None:
        for number in range(count):
            io.emit("n", thread, number)

    await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(threads)))
    came = [await client.next("n") for _ in range(threads * count)]
    for thread in range(threads):
        assert [number for whose, number in came if whose == thread] == list(range(count))


async def test_errors_come_to_the_thread():
    """What the call raises is raised in the thread, a TimeoutError of its own too."""
    io = madang.Server()

    def fail() -> None:
        raise LookupError("no such room")

    async def late() -> None:
        raise TimeoutError("its own")

    async with listening(io):
        with pytest.raises(LookupError, match="no such room"):
            await asyncio.to_thread(io.from_thread, fail)
        with pytest.raises(TimeoutError, match="its own"):
            await asyncio.to_thread(io.from_thread, late)


async def test_where_it_cannot_be():
    """In the loop's own thread, and before the server runs, it says what to do instead of waiting for ever."""
    io = madang.Server()
    with pytest.raises(UsageError, match="once the server has been started"):
        await asyncio.to_thread(io.from_thread, len, [])
    async with listening(io):
        with pytest.raises(UsageError, match="await the call instead"):
            io.from_thread(len, [])


async def test_a_timeout_cancels_the_call():
    """A thread that waits no longer leaves nothing behind in the loop."""
    io = madang.Server()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with listening(io):
        with pytest.raises(WaitTimeout, match=r"did not end within 0\.05 seconds"):
            await asyncio.to_thread(lambda: io.from_thread(endless, timeout=0.05))
        await asyncio.wait_for(cancelled.wait(), 5)
        assert begun.is_set()


async def test_a_server_that_closes():
    """Who waits when the server is closed is told so."""
    io = madang.Server()
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with listening(io):
        waiting = asyncio.create_task(asyncio.to_thread(io.from_thread, endless))
        await begun.wait()
        await io.close()
        with pytest.raises(ServerClosed, match="the server was closed"):
            await waiting


def test_a_loop_that_has_ended():
    """A thread whose server's loop is gone is told so, and does not wait for ever."""
    io = madang.Server()
    stop = threading.Event()

    async def serve() -> None:
        running = await io.start(port=0)
        await asyncio.to_thread(stop.wait)
        await running.stop()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    while not io.sockets and io.thread is None:
        time.sleep(0.001)
    assert io.from_thread(len, "abc") == 3
    stop.set()
    thread.join()
    with pytest.raises(ServerClosed, match="the event loop of the server has ended"):
        io.from_thread(len, "abc", timeout=5)
    loop.close()
    with pytest.raises(ServerClosed, match="the event loop of the server has ended"):
        io.from_thread(len, "abc")


class Told(logging.Handler):
    """What the watchdog says; and what is held is let go once it has looked, which takes as long as it takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.over = threading.Event()
        self.hold = threading.Event()
        self.wanted = ""
        where = watchdog.Watchdog._where

        def look(dog: watchdog.Watchdog) -> str:
            text = where(dog)
            if self.wanted and self.wanted in text:
                self.hold.set()
            return text

        monkeypatch.setattr(watchdog.Watchdog, "_where", look)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.texts.append(text)
        if "still does" in text:
            self.hold.set()
        elif self.hold.is_set():
            self.over.set()

    async def said(self) -> list[str]:
        """What it has said, once it has said how long it took."""
        assert await asyncio.to_thread(self.over.wait, 20)
        return self.texts


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    handler = Told(monkeypatch)
    watchdog.logger.addHandler(handler)
    yield handler
    watchdog.logger.removeHandler(handler)


class TestWatchdog:
    """`slow_handler`."""

    @pytest.mark.parametrize("event", ["make", "make_later"])
    async def test_the_handler_is_named(self, told: Told, event: str):
        """Event, namespace, function and line of what holds the loop are told, and for how long."""
        io = madang.Server(slow_handler=0.1)
        told.wanted = event

        @io.of("/reports").on("make")
        def make(socket: Any) -> str:
            told.hold.wait(30)
            return "made"

        @io.of("/reports").on("make_later")
        async def make_later(socket: Any) -> str:
            await asyncio.sleep(0)
            crunch()
            return "made"

        def crunch() -> None:
            told.hold.wait(30)

        async with listening(io) as url, madang.connect(f"{url}/reports", transports=["websocket"]) as client:
            assert await client.emit_with_ack(event) == "made"
            text = (await told.said())[-1]
        assert text.startswith(
            f"the handler of '{event}' in /reports, TestWatchdog.test_the_handler_is_named.<locals>."
        )
        assert f"{event} (test_threads.py:" in text
        assert ": told.hold.wait(30), held the event loop for 0." in text.replace("for 1.", "for 0.")
        assert "thread=True" in text

    async def test_something_else(self, told: Told):
        """What is no handler is named by its function."""
        io = madang.Server(slow_handler=0.1)
        told.wanted = "callback"

        def callback() -> None:
            told.hold.wait(30)

        async with listening(io):
            asyncio.get_running_loop().call_soon(callback)
            text = (await told.said())[-1]
        assert "callback (test_threads.py:" in text
        assert "the handler of" not in text

    async def test_still(self, told: Told, monkeypatch: pytest.MonkeyPatch):
        """A loop that is held for long is told of while it is."""
        monkeypatch.setattr(watchdog, "STILL", 0.05)
        io = madang.Server(slow_handler=0.1)
        async with listening(io):
            asyncio.get_running_loop().call_soon(told.hold.wait, 30)
            texts = await told.said()
        assert "holds the event loop for" in texts[-2]
        assert "held the event loop for" in texts[-1]

    async def test_off(self):
        """Without the option there is no thread, and with it none is left behind."""

        def watching() -> bool:
            return any(thread.name == "madang watchdog" for thread in threading.enumerate())

        async with listening(madang.Server()):
            assert not watching()
        async with listening(madang.Server(slow_handler=5.0)):
            assert watching()
        assert not watching()

    @pytest.mark.parametrize("given", [0, -1, "1", True])
    def test_bad_options(self, given: Any):
        """What is no number of seconds is refused."""
        with pytest.raises(madang.OptionError, match="slow_handler must be a number above 0"):
            madang.Server(slow_handler=given)
