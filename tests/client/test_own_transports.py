"""Transports of one's own, in the place of madang's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

import madang
from madang.engine import ClientTransport
from madang.protocol.encoded import Encoded
from madang.transports.client_websocket import WebSocketClient
from tests.client.tools import BOTH, QUICK, SOON, WEBSOCKET, echo_server, joined, transport_of, until
from tests.hosts import listening

pytestmark = pytest.mark.feature("V11")


class Websockets:
    """A WebSocket by the package `websockets`, written with nothing but what the documentation says."""

    name = "websocket"
    made = 0

    def __init__(self, dialer: Any, options: Any, session_id: str | None, session: Any) -> None:
        type(self).made += 1
        self.session = session
        self._dialer = dialer
        self._url = f"ws://{dialer.address.netloc}{dialer.target('websocket', session_id)}"
        self._waiting: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._reading = asyncio.Event()
        self._reading.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def writable(self) -> bool:
        return self._waiting.empty()

    @property
    def buffered(self) -> int:
        return self._waiting.qsize()

    def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with connect(self._url, proxy=None) as connection:
                if self.session is not None:
                    self.session.transport_opened(self)
                writing = asyncio.create_task(self._write(connection))
                try:
                    await self._read(connection)
                finally:
                    writing.cancel()
        except (OSError, WebSocketException) as error:
            self._end("transport error", str(error))
        else:
            self._end("transport close", "the connection was closed")
        finally:
            self._dialer.forget(self)

    async def _read(self, connection: ClientConnection) -> None:
        async for message in connection:
            await self._reading.wait()
            if self.session is None:
                return
            if isinstance(message, bytes):
                self.session.on_binary(message)
            elif message.startswith("4"):
                self.session.on_text(message.encode())
            else:
                self.session.on_control(message.encode())

    async def _write(self, connection: ClientConnection) -> None:
        while (message := await self._waiting.get()) is not None:
            try:
                await connection.send(message)
            except ConnectionClosed:
                return
            if self._waiting.empty() and self.session is not None and self.session.drain_watched:
                self.session.drained()
        await connection.close()

    def _end(self, reason: str, description: str) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, reason, description)

    def send(self, encoded: Encoded) -> None:
        if encoded.text:
            self._waiting.put_nowait(encoded.text.decode())
        for data in encoded.attachments:
            self._waiting.put_nowait(data)

    def send_control(self, packet: bytes) -> None:
        self._waiting.put_nowait(packet.decode())

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        self.session = None
        self._waiting.put_nowait(None)

    def abort(self) -> None:
        self.session = None
        if self._task is not None:
            self._task.cancel()

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def identify(self, session_id: str, max_payload: int | None) -> None: ...

    def pause(self, done: Callable[[], object]) -> None: ...

    def unpause(self) -> None: ...

    def leave(self) -> None: ...


_: type[ClientTransport] = Websockets  # type: ignore[assignment]


@pytest.mark.parametrize("transports", [WEBSOCKET, BOTH])
async def test_a_transport_of_another_package(transports: list[str]):
    """A class that does what the documentation says serves a connection from the beginning, or from the upgrade on."""
    Websockets.made = 0
    async with listening(echo_server()) as url:
        async with joined(url, transports=transports, transport_classes={"websocket": Websockets}) as client:
            assert transport_of(client) == "websocket"
            for number in range(50):
                assert await client.emit_with_ack("ask", number, b"\x00\xff", timeout=SOON) == (number, b"\x00\xff")
        assert Websockets.made == 1


async def test_it_is_made_anew_for_each_connection():
    """After a lost connection there is another one, and what was emitted meanwhile goes over it."""
    Websockets.made = 0
    async with (
        listening(echo_server()) as url,
        joined(url, transports=WEBSOCKET, transport_classes={"websocket": Websockets}) as client,
    ):
        first = client.id
        client.manager.engine.fail("transport error", None)  # type: ignore[union-attr]
        client.emit("say", 1)
        assert await client.wait_for("said", timeout=SOON) == 1
        await until(lambda: client.id not in (None, first))
    assert Websockets.made == 2


async def test_one_that_looks_on():
    """A class that derives from madang's own sees all that passes."""
    seen: list[bytes] = []

    class Watching(WebSocketClient):
        def send(self, encoded: Encoded) -> None:
            seen.append(encoded.text)
            super().send(encoded)

    async with (
        listening(echo_server()) as url,
        joined(url, transports=WEBSOCKET, transport_classes={"websocket": Watching}) as client,
    ):
        await client.emit_with_ack("ask", 1, timeout=SOON)
    assert b'420["ask",1]' in seen


@pytest.mark.parametrize(
    ("classes", "told"),
    [({"carrier pigeon": Websockets}, "carrier pigeon"), ({"websocket": 7}, "a class or a function")],
)
def test_wrong_classes(classes: dict[str, Any], told: str):
    """An unknown name, or something that cannot be called, is refused at once."""
    with pytest.raises(madang.OptionError, match=told):
        madang.Client("http://localhost:1", transport_classes=classes, **QUICK)
