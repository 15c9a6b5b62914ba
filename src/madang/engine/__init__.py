"""Engine.IO v4, the layer that gives every client one session over changing transports.

`Engine` stands on its own as well::

    engine = madang.engine.Engine(path="/engine.io/")


    @engine.on("connection")
    def connected(session):
        session.on("message", session.send)  # an echo


    engine.run(port=3000)
"""

from .client_session import ClientTransport
from .cors import CorsOptions
from .deflate_options import PerMessageDeflate
from .engine import Engine
from .http import Request, Response
from .options import CookieOptions, EngineOptions
from .session import Session
from .transport import Transport

__all__ = [
    "ClientTransport",
    "CookieOptions",
    "CorsOptions",
    "Engine",
    "EngineOptions",
    "PerMessageDeflate",
    "Request",
    "Response",
    "Session",
    "Transport",
]
