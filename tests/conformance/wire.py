"""Raw clients: HTTP long-polling, WebSocket and bare TCP, with a deadline on every wait and no protocol of their own.

They never answer a ping, never reconnect and never hide a status: a test says each byte that is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Response as UpgradeAnswer

T = TypeVar("T")

#: whatever has to happen, happens within this many seconds
DEADLINE: Final = 5.0
#: a close that is meant comes within this many seconds; every timer of a calm server is more than ten times as long
AT_ONCE: Final = 1.5

#: the byte between two packets of one payload
RS: Final = "\x1e"

ENGINE: Final = "/engine.io/"
SOCKET: Final = "/socket.io/"


async def before(seconds: float, awaitable: Awaitable[T], what: str) -> T:
    """What is awaited, or a failed test that says what did not come."""
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {seconds} s") from None


def address(path: str, transport: str | None, sid: str | None = None, eio: str | None = "4", **more: str) -> str:
    """Path and query of a request; what is ``None`` is left out."""
    asked = {"EIO": eio, "transport": transport, "sid": sid, **more}
    return f"{path}?{urlencode({key: value for key, value in asked.items() if value is not None})}"


# ------------------------------------------------------------------------------------------------------------- HTTP


def browser(url: str, **options: Any) -> httpx.AsyncClient:
    """An HTTP client for one server."""
    return httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False, **options)


def refusal(response: httpx.Response) -> tuple[int, int]:
    """Status and error code of a refused request."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"code", "message"}
    return response.status_code, body["code"]


def opened(packet: str | bytes) -> dict[str, Any]:
    """What an open packet says."""
    assert isinstance(packet, str)
    assert packet[0] == "0", packet
    handshake: dict[str, Any] = json.loads(packet[1:])
    return handshake


class Polling:
    """A session over HTTP long-polling."""

    def __init__(self, http: httpx.AsyncClient, sid: str, path: str = ENGINE) -> None:
        self.http = http
        self.sid = sid
        self.path = path

    @classmethod
    async def open(cls, http: httpx.AsyncClient, path: str = ENGINE, **query: str) -> Self:
        response = await http.get(address(path, "polling", **query))
        assert response.status_code == 200, response.text
        return cls(http, opened(response.text)["sid"], path)

    def url(self, **query: str) -> str:
        return address(self.path, "polling", **{"sid": self.sid, **query})

    async def poll(self, seconds: float = DEADLINE, **query: str) -> httpx.Response:
        return await before(seconds, self.http.get(self.url(**query)), "the answer to a poll")

    async def packets(self, seconds: float = DEADLINE) -> list[str]:
        """The packets the next poll brings."""
        response = await self.poll(seconds)
        assert response.status_code == 200, response.text
        return response.text.split(RS)

    async def post(self, body: str | bytes, headers: Mapping[str, str] | None = None, **query: str) -> httpx.Response:
        told = {"content-type": "text/plain;charset=UTF-8", **(headers or {})}
        posting = self.http.post(self.url(**query), content=body, headers=told)
        return await before(DEADLINE, posting, "the answer to a POST")

    async def send(self, *packets: str) -> None:
        """Post some packets, and see them accepted."""
        response = await self.post(RS.join(packets))
        assert (response.status_code, response.text) == (200, "ok")

    async def hold(self, **query: str) -> asyncio.Task[httpx.Response]:
        """Begin a poll, and return when the server has it and holds it."""
        sent = asyncio.Event()

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            if event == "http11.send_request_body.complete":
                sent.set()

        poll = asyncio.create_task(self.http.get(self.url(**query), extensions={"trace": trace}))
        await before(DEADLINE, sent.wait(), "the end of sending a poll")
        await self.settle()
        return poll

    async def settle(self) -> None:
        """Let the server turn a few times, so that it has seen whatever was sent to it before."""
        for _ in range(3):
            response = await self.http.get(address(self.path, "polling", sid="nobody"))
            assert refusal(response) == (400, 1)

    async def gone(self) -> None:
        """See that the session no longer exists, at once."""
        assert refusal(await self.poll(AT_ONCE)) == (400, 1)


# -------------------------------------------------------------------------------------------------------- WebSocket


class WebSocket:
    """One WebSocket connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.connection.send(message)

    async def receive(self, seconds: float = DEADLINE) -> str | bytes:
        return await before(seconds, self.connection.recv(), "a message")

    async def text(self, seconds: float = DEADLINE) -> str:
        message = await self.receive(seconds)
        assert isinstance(message, str), message
        return message

    async def silent(self, seconds: float) -> None:
        """See that nothing comes, neither a message nor the end."""
        try:
            message = await asyncio.wait_for(self.connection.recv(), seconds)
        except TimeoutError:
            return
        except ConnectionClosed as end:
            raise AssertionError(f"the connection ended: {end}") from None
        raise AssertionError(f"a message came: {message!r}")

    async def closed(self, seconds: float = AT_ONCE) -> int:
        """See the connection closed by the server, with a close frame, and give its code (1005: without a code)."""
        await before(seconds, self.connection.wait_closed(), "the close of the WebSocket")
        code = self.connection.close_code
        assert code is not None
        assert code != 1006, "the connection was cut without a close frame"
        return code

    async def left(self) -> list[str | bytes]:
        """The messages that came before the end and were not read yet."""
        messages: list[str | bytes] = []
        while True:
            try:
                messages.append(await self.connection.recv())
            except ConnectionClosed:
                return messages


def _dial(url: str, target: str, **options: Any) -> connect:
    return connect(
        f"ws://{urlsplit(url).netloc}{target}",
        **{
            "compression": None,
            "ping_interval": None,
            "proxy": None,
            "open_timeout": DEADLINE,
            "close_timeout": 1.0,
            "max_size": None,
            **options,
        },
    )


@asynccontextmanager
async def websocket(
    url: str, path: str = ENGINE, sid: str | None = None, *, query: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[WebSocket]:
    """A WebSocket to the server, open; with a sid it is the beginning of an upgrade."""
    async with _dial(url, address(path, "websocket", sid, **(query or {})), **options) as connection:
        yield WebSocket(connection)


@asynccontextmanager
async def session(url: str, path: str = ENGINE, **options: Any) -> AsyncIterator[WebSocket]:
    """A WebSocket whose open packet has been read."""
    async with websocket(url, path, **options) as ws:
        opened(await ws.receive())
        yield ws


async def refused_upgrade(url: str, target: str, **options: Any) -> UpgradeAnswer:
    """The HTTP answer to a WebSocket handshake that must be refused before it is accepted."""
    try:
        connection = await _dial(url, target, **options)
    except InvalidStatus as refused:
        return refused.response
    except InvalidHandshake as broken:
        raise AssertionError(f"neither accepted nor refused: {broken!r}") from None
    connection.transport.abort()
    raise AssertionError("the WebSocket was accepted")


# -------------------------------------------------------------------------------------------------------------- TCP


class Tcp:
    """A bare connection, for requests that no HTTP client would make."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, *lines: str, body: bytes = b"") -> None:
        """A request's head from its lines, then the bytes of its body."""
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def more(self, body: bytes) -> None:
        self.writer.write(body)
        await self.writer.drain()

    async def answer(self, seconds: float = DEADLINE) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response that has a length."""
        head = await before(seconds, self.reader.readuntil(b"\r\n\r\n"), "a response")
        status, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await before(seconds, self.reader.readexactly(int(headers.get("content-length", "0"))), "a body")
        return int(status.split(" ")[1]), headers, body

    async def cut(self) -> None:
        """End the connection without a word."""
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def tcp(url: str) -> AsyncIterator[Tcp]:
    """A bare connection to the server."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield Tcp(reader, writer)
    finally:
        writer.close()
