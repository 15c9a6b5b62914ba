"""Ways to be reached: the native host (uvicorn with our own door for WebSocket), and any ASGI server."""

from .asgi import ASGIApp
from .host import install
from .static import StaticFiles

__all__ = ["ASGIApp", "StaticFiles", "install"]
