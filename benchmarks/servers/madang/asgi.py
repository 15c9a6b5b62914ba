"""madang as an ASGI application on uvicorn; arguments are the port and uvicorn's `ws`."""

import socket
import sys

import uvicorn
from events import io


class Server(uvicorn.Server):
    """uvicorn, saying so when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say it."""
        await super().startup(sockets)
        sys.stdout.write("ready\n")
        sys.stdout.flush()


if __name__ == "__main__":
    config = uvicorn.Config(
        io,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws=sys.argv[2] if len(sys.argv) > 2 else "websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has its own
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    Server(config).run()
