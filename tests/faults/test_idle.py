"""What a client costs whose server does not do its part: next to nothing, and few attempts."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

import madang
from tests.hosts import listening

#: seconds that are looked at, and what the processor may have done meanwhile, for all clients and servers together
LOOK, MAY_USE = 2.0, 0.2

OPEN = (
    b"0"
    + json.dumps(
        {"sid": "s", "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 100000}
    ).encode()
)


def http(body, status=b"200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


class Scripted:
    """A server that answers each request as it is told to; without an answer it hangs up at once."""

    def __init__(self, answer):
        self.answer = answer
        self.accepted = 0
        self.requests = 0
        self.tasks = set()

    async def serve(self, reader, writer):
        self.accepted += 1
        self.tasks.add(asyncio.current_task())
        try:
            while self.answer is not None:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                body = await reader.readexactly(int(length or 0))
                self.requests += 1
                answer = self.answer(head, body)
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.tasks.discard(asyncio.current_task())
            writer.close()

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await asyncio.gather(*self.tasks, return_exceptions=True)


def noops(head, body):
    if head.startswith(b"POST"):
        return http(b"ok")
    return http(b"6" if b"sid=" in head else OPEN + b'\x1e40{"sid":"x"}')


def goodbyes(head, body):
    return http(b"ok") if head.startswith(b"POST") else http(OPEN + b"\x1e1")


def refusals(head, body):
    if head.startswith(b"POST"):
        return http(b"ok")
    return None if b"sid=" in head else http(OPEN + b'\x1e44{"message":"no"}')


def leavings(head, body):
    if head.startswith(b"POST"):
        return http(b"ok")
    return None if b"sid=" in head else http(OPEN + b'\x1e40{"sid":"x"}\x1e41')


def unknown(head, body):
    return http(b'{"code":1,"message":"Session ID unknown"}', b"400 Bad Request") if b"sid=" in head else http(OPEN)


def nothing(head, body):
    return http(b"")


CASES = [
    # what it is, what the server answers, and how many requests and joined namespaces there may be
    ("every poll is answered at once, with nothing", noops, 45, 1),
    ("CLOSE after each handshake", goodbyes, 9, 0),
    ("each CONNECT is refused", refusals, 5, 0),
    ("DISCONNECT after each CONNECT", leavings, 5, 1),
    ("no session is known", unknown, 12, 0),
    ("empty answers", nothing, 4, 0),
]


class Watched:
    """A client with the usual delays, and how often it has done what."""

    def __init__(self, url, transport):
        self.joined = self.errors = self.attempts = 0
        self.client = madang.Client(url, transports=[transport], force_new=True)
        self.client.on("connect", self.count_join)
        self.client.on("connect_error", self.count_error)
        self.client.manager.on("reconnect_attempt", self.count_attempt)
        self.client.emit("note", 1)

    def count_join(self):
        self.joined += 1

    def count_error(self, error):
        self.errors += 1

    def count_attempt(self, number):
        self.attempts += 1


@pytest.mark.feature("V34", "V35", "V36", "W18", "W20")
async def test_servers_that_lead_nowhere_cost_next_to_nothing(free_port):
    """Whatever a server says or fails to say, and however fast: a client waits its time, and turns in no circles."""
    io = madang.Server()

    @io.on("connection")
    def connected(socket):
        socket.conn.close()

    async with AsyncExitStack() as stack:
        scripted = [Scripted(answer) for _, answer, *_ in CASES]
        led = [Watched(await stack.enter_async_context(each.listening()), "polling") for each in scripted]
        nobody, hanging = f"http://127.0.0.1:{free_port}", Scripted(None)
        leaving = await stack.enter_async_context(listening(io))
        hung_up = await stack.enter_async_context(hanging.listening())
        alone, cut_off, thrown_out = (
            [Watched(url, transport) for transport in ("websocket", "polling")] for url in (nobody, hung_up, leaving)
        )
        everyone = [*led, *alone, *cut_off, *thrown_out]
        try:
            await asyncio.sleep(0.2)
            gc.collect()
            begun = time.process_time()
            await asyncio.sleep(LOOK)
            used = time.process_time() - begun
        finally:
            await asyncio.gather(*(watched.client.close() for watched in everyone))
    assert used < MAY_USE
    for (name, _, requests, joins), server, watched in zip(CASES, scripted, led, strict=True):
        assert server.requests <= requests, name
        assert watched.joined == joins, name
        assert watched.attempts <= 4, name
    for watched in (*alone, *cut_off):
        assert watched.joined == 0
        # at 0.5 to 1.5 seconds, and 1 to 3 seconds later
        assert watched.attempts <= 2
        assert watched.errors in (watched.attempts, watched.attempts + 1)
    assert hanging.accepted <= 6
    for watched in thrown_out:
        # that it could join is a success; the delay holds nevertheless
        assert watched.joined in (watched.attempts, watched.attempts + 1)
        assert watched.attempts <= 4
