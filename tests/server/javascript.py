"""The stock JavaScript client in a test: a Python face over tests/js/driver.mjs.

::

    client = await js.connect(io, "/chat", auth={"token": "x"})
    client.emit("hello", 1)
    assert await client.next("hello") == [1]
    assert await client.emit_with_ack("sum", 1, 2) == 3
    client.disconnect()
    assert await client.disconnected() == "io client disconnect"

Whatever waits here has a deadline, and an `AssertionError` says what came instead.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import subprocess
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import madang
from tests.hosts import Host, listening

DRIVER: Final = Path(__file__).parent.parent / "js" / "driver.mjs"
PATIENCE: Final = 5.0
UNDEFINED: Final = {"$": "undefined"}
"""As an argument, JavaScript's `undefined`."""

Transport = Literal["polling", "websocket"]
T = TypeVar("T")


class JsError(Exception):
    """A command failed in the JavaScript client, with this message."""


class Refused(NamedTuple):
    """What the client was told with `connect_error`."""

    message: str
    data: Any


class ConnectRefused(Exception):
    """The client could not connect; `refused` says why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


async def soon(waiting: Awaitable[T], what: str = "it", seconds: float = PATIENCE) -> T:
    """Wait for something that must happen soon."""
    try:
        return await asyncio.wait_for(waiting, seconds)
    except asyncio.TimeoutError as error:  # noqa: UP041  (a madang.AckTimeout is a TimeoutError too)
        if isinstance(error, madang.AckTimeout):
            raise
        raise AssertionError(f"{what} did not happen within {seconds} s") from None


class Heard:
    """A function that notes its arguments, for handlers: `next()` waits for the next call, `all` has those till now."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *args: Any) -> None:
        what = args[0] if len(args) == 1 else args
        self.all.append(what)
        self._queue.put_nowait(what)

    async def next(self) -> Any:
        """The next call's argument, or the tuple of them."""
        return await soon(self._queue.get(), f"a call (there were {self.all})")


def pack(value: Any) -> Any:
    """A value for the pipe; see the driver for what JSON cannot carry."""
    if isinstance(value, bytes | bytearray):
        return js_bytes(value)
    if isinstance(value, datetime):
        return {"$": "date", "is": value.isoformat()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "number", "is": {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")}
    if isinstance(value, dict):
        return {key: pack(item) for key, item in value.items()}
    return [pack(item) for item in value] if isinstance(value, list | tuple) else value


def unpack(value: Any) -> Any:
    """A value from the pipe."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("$")
    if kind == "bytes":
        return base64.b64decode(value["is"])
    if kind == "number":
        return float(value["is"])
    return value if kind == "undefined" else {key: unpack(item) for key, item in value.items()}


def js_bytes(data: bytes | bytearray, kind: str = "Buffer") -> dict[str, str]:
    """Bytes that are to be a Buffer, ArrayBuffer, Uint8Array or DataView over there."""
    return {"$": "bytes", "is": base64.b64encode(data).decode(), "as": kind}


class Driver:
    """The Node process; its lines go to whoever is attached at the moment."""

    def __init__(self, node: str) -> None:
        self._process = subprocess.Popen(
            [node, DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._lock = threading.Lock()
        self._attached: tuple[asyncio.AbstractEventLoop, Callable[[Any], None]] | None = None
        self._reader = threading.Thread(target=self._read, name="JavaScript driver", daemon=True)
        self._reader.start()

    def attach(self, listener: Callable[[Any], None] | None) -> None:
        """Give what is told from now on to `listener`, in the running loop."""
        with self._lock:
            self._attached = None if listener is None else (asyncio.get_running_loop(), listener)

    def write(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._lock:
                if self._attached is not None:
                    loop, listener = self._attached
                    loop.call_soon_threadsafe(listener, told)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()


class Arguments(list[Any]):
    """The arguments of an event that a client has received."""

    def __init__(self, client: Client, args: Sequence[Any], ack_id: int | None) -> None:
        super().__init__(args)
        self._client = client
        self._ack_id = ack_id

    def ack(self, *values: Any) -> None:
        """Answer it."""
        assert self._ack_id is not None, "no answer was asked for"
        self._client.command("ack", ack=self._ack_id, values=pack(values))


class Client:
    """A `Socket` of socket.io-client.

    Attributes:
        id: its id since it was last connected.
        transport: the name of the transport at that moment.
        received: the events that came and that `next` has not taken, as `[name, *args]`.
    """

    def __init__(self, js: Js, name: str) -> None:
        self.js = js
        self.name = name
        self.id = ""
        self.transport = ""
        self.received: list[Any] = []
        self._events: dict[Any, deque[Arguments]] = defaultdict(deque)
        self._life: dict[str, deque[Any]] = defaultdict(deque)
        self._arrived = asyncio.Event()

    def command(self, do: str, **what: Any) -> None:
        """Tell the driver something that it does not answer."""
        self.js.write({"do": do, "client": self.name, **what})

    def told(self, line: dict[str, Any]) -> None:
        """The driver says that something has come."""
        if "life" in line:
            kind = line["life"]
            if kind == "connect":
                self.id, self.transport = line["id"], line["transport"]
            self._life[kind].append(line)
        else:
            args = Arguments(self, unpack(line["args"]), line["ack"])
            self._events[line["event"]].append(args)
            self.received.append([line["event"], *args])
        self._arrived.set()

    async def _take(self, queues: dict[Any, deque[Any]], key: Any, seconds: float) -> Any:
        async def taken() -> Any:
            while not queues[key]:
                self._arrived.clear()
                await self._arrived.wait()
            return queues[key].popleft()

        try:
            return await asyncio.wait_for(taken(), seconds)
        except TimeoutError:
            lives = {kind: list(lines) for kind, lines in self._life.items() if lines}
            raise AssertionError(f"no {key!r} within {seconds} s; there are {self.received} and {lives}") from None

    # what it does

    def emit(self, event: Any, *args: Any, volatile: bool = False) -> None:
        self.command("emit", args=pack([event, *args]), flags=["volatile"] if volatile else [])

    async def emit_with_ack(self, event: Any, *args: Any, timeout: float = PATIENCE) -> Any:
        """The answer: None for an empty one, the value for one, a tuple for several."""
        values = await self.js.call("ask", client=self.name, args=pack([event, *args]), timeout=timeout * 1000)
        return values[0] if len(values) == 1 else tuple(values) or None

    async def reply(self, event: Any, *values: Any, after: float = 0) -> None:
        """Answer each of these events from now on, after some seconds."""
        await self.js.call("reply", client=self.name, event=event, values=pack(values), after=after * 1000)

    def connect(self) -> None:
        self.command("connect")

    def disconnect(self) -> None:
        self.command("disconnect")

    def drop(self) -> None:
        """Close the connection below, without a word to the namespace."""
        self.command("drop")

    def raw(self, message: str | bytes) -> None:
        """Send an Engine.IO message that the stock client would never send."""
        self.command("raw", message=pack(message))

    async def state(self) -> dict[str, Any]:
        """Its id, connected, active, recovered, and the name of the transport."""
        return await self.js.call("state", client=self.name)

    async def beside(self, namespace: str, *, wait: bool = True, **options: Any) -> Client:
        """Another namespace on the same connection."""
        return await self.js.opened(wait, beside=self.name, namespace=namespace, options=options)

    # what it hears

    async def next(self, event: Any, seconds: float = PATIENCE) -> Arguments:
        """The arguments of the next such event."""
        args: Arguments = await self._take(self._events, event, seconds)
        self.received.remove([event, *args])
        return args

    async def life(self, kind: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next `connect`, `disconnect`, `connect_error`, `upgrade`, `reconnect` and the like."""
        return await self._take(self._life, kind, seconds)

    def lives(self, kind: str) -> int:
        """How many of them there are that nobody has waited for."""
        return len(self._life[kind])

    async def connected(self) -> None:
        await self.life("connect")

    async def disconnected(self) -> str:
        """The reason, once it is disconnected."""
        return (await self.life("disconnect"))["reason"]

    async def refused(self) -> Refused:
        """What its next `connect_error` says."""
        line = await self.life("connect_error")
        data = unpack(line["data"])
        return Refused(line["message"], None if data == UNDEFINED else data)

    async def upgraded(self) -> None:
        """Wait until it is on WebSocket."""
        await self.life("upgrade")


class Js:
    """Stock clients for one test, and servers for them to connect to."""

    def __init__(self, driver: Driver) -> None:
        self.transports: list[Transport] = ["websocket"]
        self.clients: dict[str, Client] = {}
        self._driver = driver
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._failures: list[str] = []
        self._served: dict[int, str] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Js:
        self._driver.attach(self._told)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._exits.aclose()
            await self.call("reset")
        finally:
            self._driver.attach(None)
        assert not self._failures, "\n".join(self._failures)

    # servers

    async def serve(self, io: Any, host: Host = "native", *, port: int = 0) -> str:
        """Where `io` (or any ASGI app) listens until the end of the test; it starts to at the first call."""
        if id(io) not in self._served:
            self._served[id(io)] = await self._exits.enter_async_context(listening(io, host, port=port))
        return self._served[id(io)]

    # clients

    async def connect(self, to: Any, namespace: str = "/", *, wait: bool = True, **options: Any) -> Client:
        """A client with a connection of its own.

        Args:
            to: a URL, or a server, which is served for the length of the test.
            namespace: the namespace, put behind the URL.
            wait: whether to wait until it is connected.
            **options: those of the client, as it spells them; reconnection is off unless asked for.

        Raises:
            ConnectRefused: it was refused.
        """
        url = to if isinstance(to, str) else await self.serve(to)
        options = {"transports": self.transports, **options}
        return await self.opened(wait, url=url + namespace, options=options)

    async def opened(self, wait: bool, **what: Any) -> Client:
        """See `connect` and `Client.beside`."""
        client = Client(self, f"c{next(self._ids)}")
        self.clients[client.name] = client
        what["options"] = pack(what["options"])
        client.command("open", **what)
        if wait:
            connected = asyncio.ensure_future(client.connected())
            refused = asyncio.ensure_future(client.refused())
            await asyncio.wait((connected, refused), return_when=asyncio.FIRST_COMPLETED)
            over, other = (connected, refused) if connected.done() else (refused, connected)
            other.cancel()
            if answer := over.result():
                raise ConnectRefused(answer)
        return client

    async def settled(self, io: madang.Server) -> None:
        """Wait until all that was sent to the clients of `io` has reached this process."""
        sockets = [socket for namespace in io.namespaces.values() for socket in namespace.sockets.values()]
        for socket in sockets:
            await soon(socket.emit_with_ack("$sync"), "an answer")
        await self.call("echo", value=None)

    # the driver

    def write(self, command: dict[str, Any]) -> None:
        self._driver.write(command)

    async def call(self, do: str, **what: Any) -> Any:
        """Tell the driver something, and get its answer."""
        number = next(self._ids)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        self.write({"do": do, "id": number, **what})
        return unpack(await soon(future, f"an answer to {do}", PATIENCE * 3))

    def _told(self, line: dict[str, Any]) -> None:
        if "client" in line:
            self.clients[line["client"]].told(line)
        elif line["id"] is None:
            self._failures.append(line["error"])
        elif not (future := self._answers.pop(line["id"])).done():
            if "error" in line:
                future.set_exception(JsError(line["error"]))
            else:
                future.set_result(line["value"])
