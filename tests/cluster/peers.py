"""One server of a cluster, be it madang's or Node's, behind the same few operations.

A peer serves one namespace of its own for each test, so that a Node process may serve many tests.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import madang
from tests.server.javascript import Heard, soon

NODE_SERVER: Final = Path(__file__).with_name("node.mjs")
TIMEOUT: Final = 3.0
KEY: Final = "test"


class Peer(Protocol):
    """A server of the cluster.

    Attributes:
        url: where its clients connect, the namespace included.
        heard: notes the arguments of ``notice``, sent by other servers.
        kind: ``"madang"`` or ``"node"``, which its sockets have as ``data.of``.
    """

    url: str
    heard: Heard
    kind: str

    async def emit(self, *args: Any, **whom: Any) -> None: ...
    async def ask(self, *args: Any, **whom: Any) -> list[Any]: ...
    async def fetch(self, **whom: Any) -> dict[str, dict[str, Any]]: ...
    async def join(self, *names: Any, **whom: Any) -> None: ...
    async def leave(self, *names: Any, **whom: Any) -> None: ...
    async def disconnect(self, close: bool = False, **whom: Any) -> None: ...
    async def tell(self, *args: Any) -> None: ...
    async def query(self, *args: Any) -> list[Any]: ...
    async def count(self) -> int: ...
    async def all_rooms(self) -> set[Any]: ...
    async def remote(self, do: str, socket: str, *what: Any) -> Any: ...
    async def settled(self) -> None: ...


class MadangPeer:
    """A `madang.Server` in this process."""

    kind = "madang"

    def __init__(self, io: madang.Server, url: str, name: str) -> None:
        self.io = io
        self.nsp = io.of(name)
        self.url = url + name
        self.heard = Heard()
        self.nsp.on("connection", lambda socket: socket.data.update(of="madang"))
        self.nsp.on_server_side("sum")(lambda a, b: a + b)
        self.nsp.on_server_side("notice")(lambda *args: self.heard(list(args)))

    def _chosen(self, rooms: Sequence[Any] = (), except_: Sequence[Any] = (), flags: Sequence[str] = ()) -> Any:
        target: Any = self.nsp.to(rooms).except_(except_)
        for flag in flags:
            target = target.compress(False) if flag == "compress" else getattr(target, flag)
        return target

    async def emit(self, *args: Any, **whom: Any) -> None:
        self._chosen(**whom).emit(*args)

    async def ask(self, *args: Any, timeout: float = TIMEOUT, **whom: Any) -> list[Any]:
        return await self._chosen(**whom).emit_with_ack(*args, timeout=timeout)

    async def fetch(self, **whom: Any) -> dict[str, dict[str, Any]]:
        found = await self._chosen(**whom).fetch_sockets()
        assert found.missing == 0
        return {one.id: {"rooms": one.rooms, "data": one.data, "query": one.handshake.query} for one in found}

    async def join(self, *names: Any, **whom: Any) -> None:
        self._chosen(**whom).sockets_join(*names)

    async def leave(self, *names: Any, **whom: Any) -> None:
        self._chosen(**whom).sockets_leave(*names)

    async def disconnect(self, close: bool = False, **whom: Any) -> None:
        self._chosen(**whom).disconnect_sockets(close)

    async def tell(self, *args: Any) -> None:
        self.nsp.server_side_emit(*args)

    async def query(self, *args: Any) -> list[Any]:
        return await self.nsp.server_side_emit_with_ack(*args)

    async def count(self) -> int:
        return await self.nsp.server_count()

    async def all_rooms(self) -> set[Any]:
        return await self.nsp.all_rooms()

    async def remote(self, do: str, socket: str, *what: Any) -> Any:
        (found,) = await self.nsp.in_(socket).fetch_sockets()
        if do == "ask":
            return await found.timeout(TIMEOUT).emit_with_ack(*what)
        return getattr(found, do)(*what)

    async def settled(self) -> None:
        await soon(self.nsp.adapter.settled(), "a settled adapter")


def pack(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$": "bytes", "is": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$": "date", "is": value.astimezone(UTC).isoformat()}
    if isinstance(value, dict):
        return {name: pack(item) for name, item in value.items()}
    return [pack(item) for item in value] if isinstance(value, list | tuple) else value


def unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$") == "bytes":
        return base64.b64decode(value["is"])
    return {name: unpack(item) for name, item in value.items()}


class NodeServer:
    """The Node process, which serves all tests of a run."""

    def __init__(self, node: str, kind: str, url: str, key: str = KEY) -> None:
        self._process = subprocess.Popen(
            [node, NODE_SERVER, kind, url, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{json.loads(self._process.stdout.readline())['port']}"
        self.pid = self._process.pid
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.listeners: dict[str, tuple[asyncio.AbstractEventLoop, Callable[[Any], None]]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def call(self, do: str, **what: Any) -> Any:
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "do": do, **what}) + "\n")
        self._process.stdin.flush()
        return await soon(future, f"an answer of Node to {do}", 8.0)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "heard" in told:
                name, args = told["heard"]
                if name in self.listeners:
                    loop, listener = self.listeners[name]
                    loop.call_soon_threadsafe(listener, unpack(args))
            else:
                future = self._waiting.pop(told["id"])
                future.get_loop().call_soon_threadsafe(self._answered, future, told)

    @staticmethod
    def _answered(future: asyncio.Future[Any], told: dict[str, Any]) -> None:
        if future.done():
            return
        if "error" in told:
            future.set_exception(AssertionError(told["error"]))
        else:
            future.set_result(unpack(told["value"]))

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()

    def close(self) -> None:
        self.thaw()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join()
        self._process.stdout.close()


class NodePeer:
    """A namespace of the Node process."""

    kind = "node"

    def __init__(self, server: NodeServer, name: str) -> None:
        self._server = server
        self._name = name
        self.url = server.url + name
        self.heard = Heard()
        server.listeners[name] = (asyncio.get_running_loop(), self.heard)

    def call(self, do: str, *, except_: Sequence[Any] = (), **what: Any) -> Any:
        return self._server.call(do, nsp=self._name, **{"except": list(except_)}, **what)

    async def open(self) -> None:
        await self.call("open")

    async def emit(self, *args: Any, **whom: Any) -> None:
        await self.call("emit", args=pack(args), **whom)

    async def ask(self, *args: Any, timeout: float = TIMEOUT, **whom: Any) -> list[Any]:
        return await self.call("ask", args=pack(args), timeout=timeout * 1000, **whom)

    async def fetch(self, **whom: Any) -> dict[str, dict[str, Any]]:
        found = await self.call("fetch", **whom)
        return {one["id"]: {**one, "rooms": set(one["rooms"])} for one in found}

    async def join(self, *names: Any, **whom: Any) -> None:
        await self.call("join", names=names, **whom)

    async def leave(self, *names: Any, **whom: Any) -> None:
        await self.call("leave", names=names, **whom)

    async def disconnect(self, close: bool = False, **whom: Any) -> None:
        await self.call("disconnect", close=close, **whom)

    async def tell(self, *args: Any) -> None:
        await self.call("tell", args=pack(args))

    async def query(self, *args: Any) -> list[Any]:
        return await self.call("query", args=pack(args))

    async def count(self) -> int:
        return await self.call("count")

    async def all_rooms(self) -> set[Any]:
        return set(await self.call("all"))

    async def remote(self, do: str, socket: str, *what: Any) -> Any:
        facts = {"args": pack(what), "names": pack(what), "close": bool(what and what[0] is True)}
        return await self.call(f"remote{do.capitalize()}", socket=socket, **facts)

    async def settled(self) -> None:
        """What Node was told before has been told to Redis once it answers a query over the same connection."""
        await self.call("count")
