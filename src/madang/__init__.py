"""madang: a complete Socket.IO v4 for Python.

::

    import madang

    io = madang.Server(cors={"origin": "http://localhost:3000"})


    @io.on("chat message")
    async def chat_message(socket, text: str):
        io.emit("chat message", text)
        return {"ok": True}  # the acknowledgement


    io.run(port=3000)
"""

from .adapters import Adapter, MemoryAdapter
from .client import (
    Client,
    ClientSocket,
    EventStream,
    Manager,
    Received,
    SyncClient,
    SyncEventStream,
    SyncSocket,
    connect,
)
from .engine import CookieOptions, CorsOptions, Engine, Request, Session
from .errors import (
    AckTimeout,
    BufferFull,
    ConnectError,
    ConnectionFailed,
    EncodeError,
    EventError,
    EventInvalid,
    HandlerError,
    HandshakeError,
    MadangError,
    OptionError,
    PacketError,
    PayloadTooLarge,
    ProtocolError,
    ReservedEventName,
    SocketClosed,
    UsageError,
    WaitTimeout,
)
from .events import Ack, Event
from .hosting import ASGIApp, install
from .protocol.parser import Parser
from .server import BroadcastOperator, Handshake, Namespace, Server, Socket

install()

__version__ = "0.1.0"

__all__ = [
    "ASGIApp",
    "Ack",
    "AckTimeout",
    "Adapter",
    "BroadcastOperator",
    "BufferFull",
    "Client",
    "ClientSocket",
    "ConnectError",
    "ConnectionFailed",
    "CookieOptions",
    "CorsOptions",
    "EncodeError",
    "Engine",
    "Event",
    "EventError",
    "EventInvalid",
    "EventStream",
    "HandlerError",
    "Handshake",
    "HandshakeError",
    "MadangError",
    "Manager",
    "MemoryAdapter",
    "Namespace",
    "OptionError",
    "PacketError",
    "Parser",
    "PayloadTooLarge",
    "ProtocolError",
    "Received",
    "Request",
    "ReservedEventName",
    "Server",
    "Session",
    "Socket",
    "SocketClosed",
    "SyncClient",
    "SyncEventStream",
    "SyncSocket",
    "UsageError",
    "WaitTimeout",
    "connect",
]
