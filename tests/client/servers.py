"""The application that the client is tested against: the stock JavaScript server, and the same one with madang.

Clients name themselves by the query parameter `who`; what came from each is written down, in order, as
``[namespace, event, *args]``, with ``connect`` and ``disconnect`` among the events.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import madang
from tests.client.tools import SOON, until

SCRIPT: Final = Path(__file__).parent.parent / "js" / "client_server.mjs"

NAMESPACES: Final = ("/", "/chat", "/auth", "/late")


class Backend(Protocol):
    """A server, from the point of view of a test.

    Attributes:
        name: ``"node"`` or ``"madang"``.
        url: where it listens.
    """

    name: str
    url: str

    async def heard(self, who: str, count: int = 0) -> list[list[Any]]:
        """All that came from a client, once there are so many entries."""
        ...

    async def emit(self, who: str, *args: Any, nsp: str = "/") -> None:
        """Emit an event to a client."""
        ...

    async def ask(self, who: str, *args: Any, nsp: str = "/") -> list[Any]:
        """Emit an event to a client, and give what it answers."""
        ...

    async def leave(self, who: str, close: bool = False, nsp: str = "/") -> None:
        """Disconnect a client, with its connection or without."""
        ...

    async def cut(self, who: str) -> None:
        """End a client's session under its namespaces."""
        ...

    async def raw(self, who: str, text: str) -> None:
        """Send a message as it is."""
        ...

    async def state(self, who: str, nsp: str = "/") -> dict[str, Any]:
        """What the server knows of a client: id, auth, query, headers."""
        ...


def pack(value: Any) -> Any:
    """As JSON, with bytes as hexadecimal digits."""
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case list() | tuple():
            return [pack(item) for item in value]
        case dict():
            return {key: pack(item) for key, item in value.items()}
        case _:
            return value


def unpack(value: Any) -> Any:
    """The opposite of `pack`."""
    match value:
        case {"$bytes": digits}:
            return bytes.fromhex(digits)
        case list():
            return [unpack(item) for item in value]
        case dict():
            return {key: unpack(item) for key, item in value.items()}
        case _:
            return value


# --------------------------------------------------------------------------------------------------------------- Node


class NodeBackend:
    """tests/js/client_server.mjs, which serves all tests of a run."""

    name = "node"

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def do(self, command: str, **arguments: Any) -> Any:
        """Let it do something."""
        body = json.dumps({"do": command, **pack(arguments)}).encode()
        async with asyncio.timeout(2 * SOON):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = f"POST /control HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert "error" not in said, said["error"]
        return unpack(said["value"])

    async def heard(self, who: str, count: int = 0) -> list[list[Any]]:
        return await self.do("heard", who=who, count=count)

    async def emit(self, who: str, *args: Any, nsp: str = "/") -> None:
        await self.do("emit", who=who, nsp=nsp, args=args)

    async def ask(self, who: str, *args: Any, nsp: str = "/") -> list[Any]:
        return await self.do("ask", who=who, nsp=nsp, args=args)

    async def leave(self, who: str, close: bool = False, nsp: str = "/") -> None:
        await self.do("leave", who=who, nsp=nsp, close=close)

    async def cut(self, who: str) -> None:
        await self.do("cut", who=who)

    async def mute(self, who: str) -> None:
        """Send no pings any more."""
        await self.do("mute", who=who)

    async def raw(self, who: str, text: str) -> None:
        await self.do("raw", who=who, text=text)

    async def state(self, who: str, nsp: str = "/") -> dict[str, Any]:
        return await self.do("state", who=who, nsp=nsp)

    async def publish(self, who: str, *args: Any) -> None:
        """Emit an event to the room that a client of the recovering server is in, whether it is there or not."""
        await self.do("publish", room=f"room of {who}", args=args)


@contextmanager
def node_process(node: str) -> Iterator[NodeBackend]:
    """The process; it ends when its standard input does."""
    process = subprocess.Popen([node, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield NodeBackend(json.loads(process.stdout.readline())["port"])
    finally:
        process.stdin.close()
        try:
            process.wait(SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


# ------------------------------------------------------------------------------------------------------------- madang


class MadangBackend:
    """The same application on madang's server, in the test's own loop."""

    name = "madang"

    def __init__(self, **options: Any) -> None:
        self.url = ""
        self.io = madang.Server(**options)
        self.ledgers: dict[str, list[list[Any]]] = {}
        self.sockets: dict[tuple[str, str], madang.Socket] = {}
        self.sessions: dict[str, Any] = {}
        self.tries: dict[str, int] = {}
        for name in NAMESPACES:
            self._furnish(self.io.of(name))
        self.io.of("/auth").use(self._look_at)
        self.io.of("/late").use(self._late)
        self.io.engine.on("connection", self._session)

    def _ledger(self, who: str) -> list[list[Any]]:
        return self.ledgers.setdefault(who, [])

    async def _look_at(self, socket: madang.Socket) -> None:
        self._ledger(who_is(socket)).append(["/auth", "asks", socket.handshake.auth])
        if socket.handshake.auth.get("token") != "good":
            raise madang.ConnectError("not allowed", data={"code": 401})

    async def _late(self, socket: madang.Socket) -> None:
        await asyncio.sleep(0.03)

    def _session(self, session: Any) -> None:
        who = session.request.query.get("who")
        self.sessions[who] = session
        if session.request.query.get("early"):
            for number in (1, 2):
                session.send(f'2["early",{number}]')

    def _furnish(self, namespace: Any) -> None:
        name = namespace.name

        @namespace.on("connection")
        def joined(socket: madang.Socket) -> None:
            who = who_is(socket)
            heard = self._ledger(who)
            self.sockets[who, name] = socket
            heard.append([name, "connect"])
            if socket.handshake.query.get("hello"):
                socket.emit("hello", socket.id)
            socket.on_any(lambda *args: heard.append([name, *(arg for arg in args if type(arg) is not madang.Ack)]))
            socket.on("disconnect", lambda reason: heard.append([name, "disconnect", reason]))

        @namespace.on("echo")
        def echo(socket: madang.Socket, ack: madang.Ack, *args: Any) -> None:
            if ack.wanted:
                ack(*args)
            else:
                socket.emit("echo", *args)

        @namespace.on("nth")
        def nth(socket: madang.Socket, number: int, key: str, ack: madang.Ack) -> None:
            self.tries[key] = self.tries.get(key, 0) + 1
            if self.tries[key] >= number:
                ack(self.tries[key])

        @namespace.on("please")
        def please(socket: madang.Socket, event: str, *args: Any) -> None:
            socket.emit(event, *args)

        @namespace.on("please ask")
        async def please_ask(socket: madang.Socket, event: str, *args: Any) -> None:
            answer = await socket.emit_with_ack(event, *args, timeout=SOON)
            socket.emit("answered", *values_of(answer))

        @namespace.on("leave")
        def leave(socket: madang.Socket, close: bool = False) -> None:
            socket.disconnect(close)

    async def heard(self, who: str, count: int = 0) -> list[list[Any]]:
        ledger = self._ledger(who)
        await until(lambda: len(ledger) >= count)
        return json.loads(json.dumps(ledger)) if not any(map(_has_bytes, ledger)) else ledger

    async def emit(self, who: str, *args: Any, nsp: str = "/") -> None:
        self.sockets[who, nsp].emit(*args)

    async def ask(self, who: str, *args: Any, nsp: str = "/") -> list[Any]:
        return values_of(await self.sockets[who, nsp].emit_with_ack(*args, timeout=SOON))

    async def leave(self, who: str, close: bool = False, nsp: str = "/") -> None:
        self.sockets[who, nsp].disconnect(close)

    async def cut(self, who: str) -> None:
        self.sessions[who].close()

    async def raw(self, who: str, text: str) -> None:
        self.sessions[who].send(text)

    async def state(self, who: str, nsp: str = "/") -> dict[str, Any]:
        socket = self.sockets[who, nsp]
        shake = socket.handshake
        return {
            "id": socket.id,
            "auth": shake.auth,
            "query": dict(shake.query),
            "headers": dict(shake.headers),
            "connected": socket.connected,
        }


def who_is(socket: madang.Socket) -> str:
    return socket.handshake.query.get("who", "")


def values_of(answer: Any) -> list[Any]:
    """An answer as the list of values that it was."""
    return [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]


def _has_bytes(value: Any) -> bool:
    match value:
        case bytes():
            return True
        case list() | tuple():
            return any(map(_has_bytes, value))
        case dict():
            return any(map(_has_bytes, value.values()))
        case _:
            return False


@asynccontextmanager
async def madang_backend(**options: Any) -> AsyncIterator[MadangBackend]:
    """madang's server on a free port, by its own host."""
    backend = MadangBackend(**options)
    running = await backend.io.start(port=0, host="127.0.0.1")
    backend.url = running.url
    try:
        yield backend
    finally:
        await running.stop()
