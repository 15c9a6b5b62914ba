"""The server the Engine.IO protocol suite is run against: it sends every message back.

``python -m tests.conformance.apps.engine_echo --port 3000`` serves it for the official suite, unchanged.
"""

from __future__ import annotations

from madang.engine import Engine, Session
from tests import hosts


def create(ping_interval: float = 0.3, ping_timeout: float = 0.2) -> Engine:
    """An engine that echoes, text as text and bytes as bytes."""
    engine = Engine(
        path="/engine.io/",
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_http_buffer_size=1_000_000,
    )

    @engine.on("connection")
    def connected(session: Session) -> None:
        @session.on("message")
        def echo(data: str | bytes) -> None:
            session.send(data)

    return engine


if __name__ == "__main__":
    parser = hosts.arguments(__doc__)
    parser.add_argument("--ping-interval", type=float, default=0.3)
    parser.add_argument("--ping-timeout", type=float, default=0.2)
    chosen = parser.parse_args()
    hosts.main(create(chosen.ping_interval, chosen.ping_timeout), chosen)
