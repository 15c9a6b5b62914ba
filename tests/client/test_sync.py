"""The blocking client: many threads, handlers that never end, forks, interrupts, and programs that forget to close."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import madang
from tests.client.tools import SOON, WEBSOCKET, Heard, echo_server, until
from tests.hosts import ROOT, listening

NO_TIME = 0.001


def client_of(url: str, **options: Any) -> madang.SyncClient:
    return madang.SyncClient(url, **({"transports": WEBSOCKET, "timeout": SOON} | options))


def silent(socket: madang.Socket, ack: madang.Ack) -> None:
    """Never answers."""


def threads() -> set[str]:
    """The threads of blocking clients."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("madang")}


async def blocking(function: Callable[..., Any], *args: Any) -> Any:
    """Run a program of blocking calls, in a bounded time."""
    async with asyncio.timeout(3 * SOON):
        return await asyncio.to_thread(function, *args)


async def program(code: str, url: str, *, within: float = SOON) -> tuple[int | None, str, str]:
    """Run a program of its own; the code it ends with, and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "dev",
        "-c",
        f"import madang, os, threading, time, sys\nurl = {url!r}\nws = ['websocket']\n{code}",
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within + 5):
            out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), error.decode()


async def test_many_threads():
    """Any number of threads may emit and ask through one client; each gets its own answers, in its own order."""
    io = echo_server()
    heard: dict[int, list[int]] = {}
    io.on("note", lambda socket, thread, number: heard.setdefault(thread, []).append(number))

    def use(url: str) -> None:
        with client_of(url) as client:

            def one(thread: int) -> None:
                for number in range(50):
                    client.emit("note", thread, number)
                    assert client.emit_with_ack("ask", thread, number, timeout=SOON) == (thread, number)

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(one, range(8)))

    async with listening(io) as url:
        await blocking(use, url)
    assert heard == {thread: list(range(50)) for thread in range(8)}
    assert not threads()


async def test_a_timeout_of_nothing():
    """A timeout of 0 is a timeout, however it is given."""

    def use(url: str) -> None:
        with client_of(url) as client:
            for ask in (
                lambda: client.emit_with_ack("silent", timeout=0),
                lambda: client.timeout(SOON).emit_with_ack("silent", timeout=0),
                lambda: client.timeout(0).emit_with_ack("silent"),
            ):
                with pytest.raises(madang.AckTimeout):
                    ask()

    io = echo_server()
    io.on("silent", silent)
    async with listening(io) as url:
        await blocking(use, url)


async def test_close_in_a_handler():
    """A handler may close its client: that does not wait for the handler itself, and no thread is left."""
    took: list[float] = []

    def use(url: str) -> None:
        client = client_of(url)
        done = threading.Event()

        @client.on("said")
        def said() -> None:
            begun = time.monotonic()
            client.close()
            took.append(time.monotonic() - begun)
            done.set()

        client.connect()
        client.emit("say")
        assert done.wait(SOON)
        assert not client.connected

    async with listening(echo_server()) as url:
        await blocking(use, url)
        await until(lambda: not threads())
    assert took[0] < 1


async def test_close_in_the_loop_is_refused():
    """A coroutine handler cannot close the client, which it is told; the client goes on as before."""

    def use(url: str) -> None:
        with client_of(url) as client:
            errors: list[BaseException] = []
            client.on_error(lambda error: errors.append(error))

            @client.on("said")
            async def said() -> None:
                client.close()

            client.emit("say")
            assert client.emit_with_ack("ask", 1) == 1
            assert [type(error) for error in errors] == [madang.UsageError]
            assert client.connected

    async with listening(echo_server()) as url:
        await blocking(use, url)
    assert not threads()


async def test_a_handler_that_never_ends():
    """A handler that blocks for ever does not keep the client from closing, nor its loop's thread from ending."""
    release = threading.Event()

    def use(url: str) -> None:
        with client_of(url) as client:
            begun = threading.Event()

            @client.on("said")
            def said() -> None:
                begun.set()
                release.wait(60)

            client.emit("say")
            assert begun.wait(SOON)
            at = time.monotonic()
            client.close(timeout=0.1)
            assert time.monotonic() - at < 1.5
            assert "madang client" not in threads()

    try:
        async with listening(echo_server()) as url:
            await blocking(use, url)
    finally:
        release.set()
    await until(lambda: not threads())


async def test_a_loop_that_is_blocked(caplog: pytest.LogCaptureFixture):
    """Even if a coroutine handler blocks the loop, closing ends in time, and says what was wrong."""
    release = threading.Event()

    def use(url: str) -> None:
        client = client_of(url)
        begun = threading.Event()

        @client.on("said")
        async def said() -> None:
            begun.set()
            release.wait(60)

        client.connect()
        client.emit("say")
        assert begun.wait(SOON)
        at = time.monotonic()
        client.close(timeout=0.1)
        assert time.monotonic() - at < 7
        assert not client._loop_thread.running

    try:
        async with listening(echo_server()) as url:
            await blocking(use, url)
    finally:
        release.set()
    assert "blocks the client's loop" in caplog.text
    await until(lambda: not threads())


async def test_calls_that_wait_while_another_thread_closes():
    """Whatever a thread waits for, it ends when another closes the client."""

    def use(url: str) -> None:
        client = client_of(url)
        client.connect()
        stream = client.events("never")
        waits: list[Callable[[], Any]] = [
            lambda: client.wait_for("never", timeout=None),
            lambda: stream.receive(None),
            lambda: client.emit_with_ack("silent", timeout=60),
            lambda: client.wait() == "io client disconnect" or pytest.fail("another reason"),
            lambda: list(client.events("never")) == [] or pytest.fail("events"),
        ]
        ready = threading.Barrier(len(waits) + 1)
        errors: list[type[BaseException]] = []

        def wait(call: Callable[[], Any]) -> None:
            ready.wait(SOON)
            try:
                call()
            except madang.SocketClosed as error:
                errors.append(type(error))

        with ThreadPoolExecutor(len(waits)) as pool:
            ended = [pool.submit(wait, call) for call in waits]
            ready.wait(SOON)
            for _ in range(5):
                client.emit_with_ack("ask", 1)
            client.close()
            for one in ended:
                one.result(SOON)
        assert len(errors) >= 3

    io = echo_server()
    io.on("silent", silent)
    async with listening(io) as url:
        await blocking(use, url)


async def test_closing_from_many_threads():
    """While some threads close and connect a client and others use it, each call ends well or with a `MadangError`."""

    def use(url: str) -> None:
        client = client_of(url)
        stop = threading.Event()

        def asking() -> None:
            while not stop.is_set():
                try:
                    client.emit_with_ack("ask", 1, timeout=0.5)
                except madang.MadangError:
                    stop.wait(NO_TIME)

        def toggling() -> None:
            for _ in range(15):
                try:
                    client.connect()
                except madang.MadangError:
                    stop.wait(NO_TIME)
                client.close()

        with ThreadPoolExecutor(5) as pool:
            askers = [pool.submit(asking) for _ in range(3)]
            togglers = [pool.submit(toggling) for _ in range(2)]
            try:
                for one in togglers:
                    one.result(3 * SOON)
            finally:
                stop.set()
            for one in askers:
                one.result(SOON)
        client.close()

    async with listening(echo_server()) as url:
        await blocking(use, url)
        await until(lambda: not threads())


async def test_connect_again():
    """A client that was closed keeps what is emitted then, and connects again."""

    def use(url: str) -> None:
        client = client_of(url)
        said: list[Any] = []
        client.on("said", said.append)
        client.emit("say", "before")
        for _ in range(3):
            client.connect()
            client.emit("say", "open")
            assert client.emit_with_ack("ask", 1) == 1
            client.close()
            client.emit("say", "closed")
        with client:
            stream = client.events("said")
            client.emit("say", "last")
            while stream.receive(SOON).data != "last":
                pass
        assert said[0] == "before"
        assert said.count("closed") == 3

    async with listening(echo_server()) as url:
        await blocking(use, url)
    assert not threads()


async def test_what_came_before_the_close_is_still_in_the_stream():
    """A stream gives what had come when the client was closed, and then ends."""

    def use(url: str) -> None:
        with client_of(url) as client:
            stream = client.events("said")
            for number in range(3):
                client.emit("say", number)
            client.emit_with_ack("ask", 1)
        assert [event.data for event in stream] == [0, 1, 2]

    async with listening(echo_server()) as url:
        await blocking(use, url)


@pytest.mark.parametrize("retries", [0, 2])
async def test_too_much_before_the_connection(retries: int):
    """Before there is a connection, and while it is away, `emit` says so when too much waits, in any thread."""

    def use(url: str) -> None:
        client = client_of(url, outbound_limit=10_000, retries=retries)

        def fill() -> None:
            for _ in range(100):
                client.emit("say", "x" * 1000)

        for _ in range(2):
            with pytest.raises(madang.BufferFull):
                fill()
            with pytest.raises(madang.EncodeError):
                client.emit("say", object())
            client.connect()
            client.disconnect()
        client.close()

    async with listening(echo_server()) as url:
        await blocking(use, url)


async def test_what_is_on_its_way_to_the_loop_is_bounded():
    """What other threads emit counts as waiting before the loop has it; what fails there is told to `on_error`."""

    def use(url: str) -> None:
        with client_of(url, outbound_limit=100_000) as client:
            hold, held = threading.Event(), threading.Event()

            def fill() -> None:
                for _ in range(1000):
                    client.emit("note", "x" * 1000)

            @client.on("said")
            async def said() -> None:
                held.set()
                hold.wait(SOON)

            client.emit("say")
            assert held.wait(SOON)
            with pytest.raises(madang.BufferFull):
                fill()
            hold.set()

    async with listening(echo_server()) as url:
        await blocking(use, url)


async def test_retries_from_another_thread():
    """With `retries` events go in order from any thread, and what cannot be sent is refused where it is emitted."""
    heard = Heard()
    io = echo_server()
    io.on("note", lambda socket, number: heard(number))

    def use(url: str) -> None:
        client = client_of(url, retries=2, ack_timeout=SOON)
        client.emit("note", 0)  # there is no loop yet
        with client:
            for number in range(1, 20):
                client.emit("note", number)
            with pytest.raises(madang.EncodeError):
                client.emit("note", {1, 2, object()})
            assert client.emit_with_ack("ask", 1) == 1

    async with listening(io) as url:
        await blocking(use, url)
    assert heard.all == [(number,) for number in range(20)]


async def test_auth_that_blocks():
    """A function that gives what to present runs in a thread, so it may take its time; a close does not wait for it."""
    release = threading.Event()
    asked = threading.Event()

    def auth() -> dict[str, Any]:
        asked.set()
        release.wait(60)
        return {"token": 1}

    def use(url: str) -> None:
        client = client_of(url, auth=auth)
        assert client.auth is auth
        with ThreadPoolExecutor(1) as pool:
            connecting = pool.submit(client.connect)
            assert asked.wait(SOON)
            at = time.monotonic()
            client.close(timeout=0.1)
            assert time.monotonic() - at < 1.5
            with pytest.raises(madang.SocketClosed):
                connecting.result(SOON)

    try:
        async with listening(echo_server()) as url:
            await blocking(use, url)
    finally:
        release.set()


async def test_interrupted():
    """Ctrl-C ends a call that waits with KeyboardInterrupt, and the client goes on."""
    code = """
import signal
client = madang.SyncClient(url, transports=ws)
client.connect()
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    client.wait_for("never", timeout=60)
except KeyboardInterrupt:
    print("interrupted", client.emit_with_ack("ask", 1))
client.close()
print([thread.name for thread in threading.enumerate() if thread.name.startswith("madang")])
"""
    async with listening(echo_server()) as url:
        assert await program(code, url) == (0, "interrupted 1\n[]\n", "")


async def test_used_after_a_fork():
    """A client that was connected before a fork says in the child what is wrong, where it would wait for ever."""
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12's own, of forks with threads
client = madang.SyncClient(url, transports=ws)
client.connect()
sys.stdout.flush()
if os.fork() == 0:
    for call in (lambda: client.emit("say", 1), lambda: client.emit_with_ack("ask", 1), client.connect,
                 lambda: client.wait_for("said"), lambda: client.on("said", print), client.events):
        try:
            call()
            print("went through")
        except madang.UsageError as error:
            print("fork" in str(error), end=" ")
    client.disconnect()
    client.close()
    print("child", flush=True)
    os._exit(0)
os.wait()
print("parent", client.emit_with_ack("ask", 1))
client.close()
"""
    async with listening(echo_server()) as url:
        assert await program(code, url) == (0, "True True True True True True child\nparent 1\n", "")


async def test_made_before_a_fork():
    """A client that is made before a fork and connected after it works, as worker processes do it."""
    code = """
client = madang.SyncClient(url, transports=ws)
client.on("said", lambda: None)
if os.fork() == 0:
    with client:
        print("child", client.emit_with_ack("ask", 1), flush=True)
    os._exit(0)
os.wait()
with client:
    print("parent", client.emit_with_ack("ask", 1))
"""
    async with listening(echo_server()) as url:
        assert await program(code, url) == (0, "child 1\nparent 1\n", "")


async def test_a_program_that_does_not_close():
    """A program that ends without closing its client ends at once, and what it had emitted arrives."""
    heard = Heard()
    io = echo_server()
    io.on("note", lambda socket, what: heard(what))
    io.on("disconnect", lambda socket, reason: heard(reason))
    code = """
said = threading.Event()
client = madang.SyncClient(url, transports=ws)
client.on("said", lambda: (said.set(), threading.Event().wait()))
client.connect()
client.emit_with_ack("ask", 1)
client.emit("say")
said.wait()
client.emit("note", "last")
"""
    async with listening(io) as url:
        begun = time.monotonic()
        assert await program(code, url) == (0, "", "")
        assert time.monotonic() - begun < 3
        assert await heard.count(2) == [("last",), ("client namespace disconnect",)]


async def test_a_client_that_is_forgotten():
    """A client that nobody holds any more is closed, with a ResourceWarning; a stream or a namespace holds it."""

    def use(url: str) -> None:
        def stream() -> Any:
            client = client_of(url)
            client.connect()
            events = client.events("said")
            client.emit("say", 1)
            return events, client.of("/")

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            events, space = stream()
            gc.collect()
            assert events.receive(SOON).data == 1
            assert space.connected
            assert not [one for one in caught if "SyncClient" in str(one.message)]
            del events, space
            gc.collect()
            assert [one.category for one in caught if "SyncClient" in str(one.message)] == [ResourceWarning]

    io = echo_server()
    heard = Heard()
    io.on("disconnect", lambda socket, reason: heard(reason))
    async with listening(io) as url:
        await blocking(use, url)
        assert await heard.count(1) == [("client namespace disconnect",)]
        await until(lambda: not threads())


async def test_in_a_running_loop():
    """In a notebook, whose main thread has a running loop, the blocking client works as elsewhere."""
    io = echo_server()
    with ThreadPoolExecutor(1) as pool:  # the server has its own thread, as the test's loop is blocked here
        ready: Any = threading.Event()
        stop: list[Any] = []

        def serve() -> None:
            async def main() -> None:
                end = asyncio.Event()
                async with listening(io) as url:
                    stop.extend([url, asyncio.get_running_loop(), end])
                    ready.set()
                    await end.wait()

            asyncio.run(main())

        serving = pool.submit(serve)
        assert ready.wait(SOON)
        url, loop, end = stop
        with client_of(url) as client:
            assert client.emit_with_ack("ask", 1, timeout=SOON) == 1
        loop.call_soon_threadsafe(end.set)
        serving.result(SOON)


def test_signals_are_left_alone():
    """A blocking client changes no signal handler."""
    before = signal.getsignal(signal.SIGINT)
    client = client_of("http://localhost:1")
    client.close()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.feature("X4")
def test_the_same_names():
    """Whatever the blocking client can do has the name that it has in the other one."""
    client = madang.Client("http://localhost:1", auto_connect=False)
    names = {name for name in dir(madang.SyncClient) if not name.startswith("_")}
    assert {name for name in names if not hasattr(client, name)} == {"on_manager"}
