"""What `Hosted.run`, `serve`, `start` and `__call__` do; put into `Hosted` when `madang` is imported."""

from __future__ import annotations

from typing import Any

from ..engine.host import Hosted, Running
from .asgi import answer


class _Hosts:
    """The hosts of this package. The native one is imported when it is first used."""

    def run(self, hosted: Hosted, /, **options: Any) -> None:
        from .native import run

        run(hosted, **options)

    async def serve(self, hosted: Hosted, /, **options: Any) -> None:
        from .native import serve

        await serve(hosted, **options)

    async def start(self, hosted: Hosted, /, **options: Any) -> Running:
        from .native import start

        return await start(hosted, **options)

    async def asgi(self, hosted: Hosted, /, scope: Any, receive: Any, send: Any) -> None:
        await answer(hosted, scope, receive, send)


def install() -> None:
    """Give every engine and server its ways to be reached."""
    Hosted.host = _Hosts()
