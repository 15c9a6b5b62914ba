"""마당 chat: run it with `make chat`, or with `python -m examples.chat.server` from the root of the project."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

# The two namespaces are imported for their handlers.
from . import notifications, rooms, web
from .house import io

if TYPE_CHECKING:
    from madang.engine.host import Running

__all__ = ["io", "notifications", "rooms", "web"]


def announce(running: Running) -> None:
    """Say where the chat is, once it can be reached."""
    print(f"마당 chat on {running.url.replace('127.0.0.1', 'localhost')}", flush=True)


if __name__ == "__main__":
    try:
        io.run(
            host=os.environ.get("HOST") or "127.0.0.1",
            port=int(os.environ.get("PORT") or 3000),
            app=web.app,
            on_start=announce,
        )
    except OSError as error:
        sys.exit(f"마당 chat did not start: {error.strerror} (PORT=4000 chooses another port)")
