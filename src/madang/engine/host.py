"""The seam between what can be reached and the ways to reach it.

An engine and a Socket.IO server stand below the hosts and may not know them. So they inherit `Hosted`, and the hosting
layer, which knows both, puts its implementation into it once, when `madang` is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from .engine import Engine


class Running(Protocol):
    """A server that accepts connections."""

    @property
    def port(self) -> int:
        """The port it listens on."""
        ...

    @property
    def url(self) -> str:
        """Its address, such as ``http://127.0.0.1:3000``."""
        ...

    async def stop(self) -> None:
        """Close all clients and the listening socket, and wait for what runs, for a bounded time."""
        ...


class Host(Protocol):
    """What the hosting layer offers."""

    def run(self, hosted: Hosted, /, **options: Any) -> None:
        """Serve until a signal ends it."""
        ...

    async def serve(self, hosted: Hosted, /, **options: Any) -> None:
        """Serve in the running loop until cancelled or a signal ends it."""
        ...

    async def start(self, hosted: Hosted, /, **options: Any) -> Running:
        """Serve in the running loop, in the background."""
        ...

    async def asgi(self, hosted: Hosted, /, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI connection."""
        ...


class Hosted:
    """Something with an engine that can be run by a host; a mixin."""

    __slots__ = ()

    host: ClassVar[Host]

    @property
    def engine(self) -> Engine:
        """The engine that answers."""
        raise NotImplementedError

    def spread_with(self, cluster: Any) -> bool:
        """For hosts: be one of several, which `cluster` connects; whether it is of use. See `Server.spread_with`."""
        return False

    async def close(self) -> None:
        """Close all clients, and wait a bounded time for what still runs."""
        raise NotImplementedError

    def run(self, **options: Any) -> None:
        """Serve on the native host until Ctrl-C or SIGTERM; see `madang.hosting.native.HostOptions` for options.

        Args:
            **options: among them `host` (default ``"127.0.0.1"``), `port` (default 3000) and `app`, another ASGI app
                that gets every request that is not for this path.
        """
        self.host.run(self, **options)

    async def serve(self, **options: Any) -> None:
        """Like `run`, in the running loop."""
        await self.host.serve(self, **options)

    async def start(self, **options: Any) -> Running:
        """Serve in the running loop, in the background, until `stop` of what is returned."""
        return await self.host.start(self, **options)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI connection (http, websocket or lifespan)."""
        await self.host.asgi(self, scope, receive, send)
