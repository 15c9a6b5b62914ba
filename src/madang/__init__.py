"""madang: a complete Socket.IO v4 for Python."""

from .engine import Engine
from .hosting import ASGIApp, install

install()
