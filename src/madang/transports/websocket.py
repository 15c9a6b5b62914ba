"""WebSocket on the native host, by whichever of the two transports there is.

`wire` is compiled; `frames` stands on picows, and is what remains where nothing could be compiled. They offer the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from .frames import FrameOutbox, WebSocketTransport, open_websocket
else:
    from .wire import FrameOutbox, WebSocketTransport, open_websocket

__all__ = ["FrameOutbox", "WebSocketTransport", "open_websocket"]
