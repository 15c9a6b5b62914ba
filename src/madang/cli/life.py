"""What becomes of a client's connection, told in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..client import Client, ClientSocket
from ..errors import ConnectionFailed, SocketClosed
from ..protocol.parser import Packet
from .outcome import IO_CLIENT, told
from .showing import name, visible
from .target import sockets_of

Tell = Callable[[str, str, str], object]
"""Takes a kind (``"good"``, ``"bad"`` or ``"dim"``), a namespace, and a text that is safe to display."""

_KINDS = ("CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK")

_LONGEST_PACKET = 500


class Life:
    """Tells of a client's connection and its namespaces.

    Args:
        client: the client; not connected yet.
        tell: whom to tell.

    Attributes:
        ends: why each namespace that is not joined is not, as far as is known.
    """

    def __init__(self, client: Client, tell: Tell) -> None:
        self.ends: dict[str, Exception] = {}
        self._client = client
        self._tell = tell
        self._failure: ConnectionFailed | None = None
        client.manager.on("reconnect_failed", lambda: tell("bad", client.nsp, "connecting again was given up"))
        for socket in sockets_of(client):
            self.watch(socket)

    def watch(self, socket: ClientSocket) -> None:
        """Tell of one more namespace."""
        socket.on("connect", partial(self._connected, socket))
        socket.on("disconnect", partial(self._disconnected, socket))
        socket.on("connect_error", partial(self._failed, socket))

    def why(self) -> Exception:
        """Why there is no connection any more."""
        ends = list(self.ends.values())
        return self.ends.get(self._client.nsp) or (ends[-1] if ends else SocketClosed("the connection was closed"))

    def _connected(self, socket: ClientSocket) -> None:
        self.ends.pop(socket.nsp, None)
        self._failure = None
        engine = self._client.manager.engine
        transport = engine.transport.name if engine is not None else "?"
        recovered = ", the session was recovered" if socket.recovered else ""
        self._tell("good", socket.nsp, f"connected: id {name(socket.id)}, over {transport}{recovered}")

    def _disconnected(self, socket: ClientSocket, reason: str, description: object) -> None:
        self.ends[socket.nsp] = SocketClosed(reason)
        said = "" if description is None else f": {name(description)}"
        again = "; connecting again" if socket.active and self._client.manager.reconnection else ""
        kind = "dim" if reason == IO_CLIENT else "bad"
        self._tell(kind, socket.nsp, f"disconnected ({name(reason)}{said}){again}")

    def _failed(self, socket: ClientSocket, error: Exception) -> None:
        self.ends[socket.nsp] = error
        if isinstance(error, ConnectionFailed):
            if error is self._failure:  # each namespace is told of the same attempt
                return
            before, self._failure = self._failure, error
            if before is not None and str(before) == str(error) and socket.active:
                self._tell("dim", socket.nsp, "still no connection; trying again")
                return
        again = "; trying again" if socket.active and self._client.manager.reconnection else ""
        first, newline, advice = told(error, self._client.manager.uri).partition("\n")
        self._tell("bad", socket.nsp, f"{first}{again}{newline}{advice}")


def trace(client: Client, write: Callable[[str], object]) -> None:
    """Tell of each packet that comes and each event that goes."""

    def came(packet: Packet) -> None:
        number = "" if packet.id is None else f" #{packet.id}"
        payload = visible(packet.payload[:_LONGEST_PACKET].decode("utf-8", "replace"))
        write(f"<- {_KINDS[packet.type]} {name(packet.namespace)}{number} {payload}".rstrip())

    client.manager.on("packet", came)
    for socket in sockets_of(client):
        trace_outgoing(socket, write)


def trace_outgoing(socket: ClientSocket, write: Callable[[str], object]) -> None:
    """Tell of each event that goes to one namespace."""

    def went(event: object, *args: object) -> None:
        write(f"-> EVENT {name(socket.nsp)} {visible(repr([event, *args])[:_LONGEST_PACKET])}")

    socket.on_any_outgoing(went)
