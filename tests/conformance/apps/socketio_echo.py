"""The server the Socket.IO protocol suite is run against: two namespaces that tell the auth payload and echo events.

``python -m tests.conformance.apps.socketio_echo --port 3000`` serves it for the official suite, unchanged.
"""

from __future__ import annotations

from typing import Any

from madang import Namespace, Server, Socket
from tests import hosts


def create(ping_interval: float = 0.3, ping_timeout: float = 0.2, connect_timeout: float = 1.0) -> Server:
    """A server whose ``/`` and ``/custom`` behave alike."""
    io = Server(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_http_buffer_size=1_000_000,
        connect_timeout=connect_timeout,
    )
    for name in ("/", "/custom"):
        _echo(io.of(name))
    return io


def _echo(namespace: Namespace) -> None:
    @namespace.on("connection")
    def connected(socket: Socket) -> None:
        socket.emit("auth", socket.handshake.auth)

        @socket.on("message")
        def message(*args: Any) -> None:
            socket.emit("message-back", *args)

        @socket.on("message-with-ack")
        def message_with_ack(*args: Any) -> tuple[Any, ...]:
            return args


if __name__ == "__main__":
    parser = hosts.arguments(__doc__)
    parser.add_argument("--ping-interval", type=float, default=0.3)
    parser.add_argument("--ping-timeout", type=float, default=0.2)
    parser.add_argument("--connect-timeout", type=float, default=1.0)
    chosen = parser.parse_args()
    hosts.main(create(chosen.ping_interval, chosen.ping_timeout, chosen.connect_timeout), chosen)
