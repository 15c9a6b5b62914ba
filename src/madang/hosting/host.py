"""What `Hosted.run`, `serve`, `start` and `__call__` do; put into `Hosted` when `madang` is imported."""

from __future__ import annotations

from typing import Any

from ..engine.host import Hosted, Running
from .asgi import answer


class _Hosts:
    """The hosts of this package. The native one is imported when it is first used."""

    def run(self, app: Hosted, **options: Any) -> None:
        from .native import run

        run(app, **options)

    async def serve(self, app: Hosted, **options: Any) -> None:
        from .native import serve

        await serve(app, **options)

    async def start(self, app: Hosted, **options: Any) -> Running:
        from .native import start

        return await start(app, **options)

    async def asgi(self, app: Hosted, scope: Any, receive: Any, send: Any) -> None:
        await answer(app, scope, receive, send)


def install() -> None:
    """Give every engine and server its ways to be reached."""
    Hosted.host = _Hosts()
