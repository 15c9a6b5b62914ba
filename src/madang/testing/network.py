"""What lies between one client and its server, in memory: it can be cut, and be away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from ..engine.client_options import ClientEngineOptions
from ..tasks import Tasks
from ..transports.dialing import Dialer
from .websocket import MemoryWebSocket

Application = Callable[[Any, Any, Any], Any]
"""An ASGI application."""

HOST: Final = "madang.test"
"""The host that the client connects to."""


class Watcher(Protocol):
    """Who is told of what happens in a network."""

    def moved(self) -> None:
        """Something was sent or has arrived."""
        ...

    def crashed(self, error: Exception) -> None:
        """The application has raised."""
        ...


_GOODBYE: Final = 2.0
"""Seconds for the server's side of a connection to end; handlers are not part of it."""


class Network:
    """One client's way to its server.

    Args:
        app: the ASGI application that takes the connections.
        address: where the application sees the client come from.

    Attributes:
        up: whether connections can be made.
        watcher: who is told of what happens; set before the first connection.
    """

    def __init__(self, app: Application, address: tuple[str, int]) -> None:
        self._app = app
        self._address = address
        self._tasks = Tasks()
        self._live: set[MemoryWebSocket] = set()
        self.watcher: Watcher
        self.up = True

    def dial(
        self, dialer: Dialer, options: ClientEngineOptions, session_id: str | None, session: Any
    ) -> MemoryWebSocket:
        """Make a transport; see the option `transport_classes`."""
        return MemoryWebSocket(self, dialer, options, session)

    def open(self, websocket: MemoryWebSocket, target: str) -> None:
        """Let the application answer a handshake."""
        self._live.add(websocket)
        self._tasks.own(asyncio.get_running_loop().create_task(self._serve(websocket, target)))

    async def _serve(self, websocket: MemoryWebSocket, target: str) -> None:
        scope = self._scope(websocket.options, target)
        try:
            await self._app(scope, websocket.receive, websocket.send_to_client)
        except Exception as error:  # an ASGI server would answer 500
            self.watcher.crashed(error)
        finally:
            self._live.discard(websocket)
            websocket.server_ended()

    def _scope(self, options: ClientEngineOptions, target: str) -> dict[str, Any]:
        path, _, query = target.partition("?")
        given = {"host": HOST, **options.extra_headers}
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": (HOST, 80),
            "client": self._address,
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": list(options.protocols),
            "extensions": {"websocket.http.response": {}},
            "state": {},
        }

    def cut(self, *, silently: bool = False) -> None:
        """End all connections: for both ends at once, or without telling either."""
        for websocket in tuple(self._live):
            websocket.cut(silently=silently)

    async def close(self) -> None:
        """Let the server hear of the end of what has not ended, and wait until its side has."""
        for websocket in tuple(self._live):
            websocket.hang_up()
        await self._tasks.finish(_GOODBYE)
