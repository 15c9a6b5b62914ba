"""Ways to be reached: the native host (uvicorn with our own door for WebSocket), and any ASGI server."""

from .asgi import ASGIApp
from .host import install

__all__ = ["ASGIApp", "install"]
