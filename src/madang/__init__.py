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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .adapters import Adapter, AdapterContext, AdapterGap, AdapterHealth, Found, MemoryAdapter
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
    AdapterUnavailable,
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
from .server import BroadcastOperator, Handshake, Namespace, RemoteSocket, Server, Socket

if TYPE_CHECKING:
    from .adapters.emitter import Emitter as Emitter
    from .adapters.emitter import SyncEmitter as SyncEmitter
    from .adapters.redis_pubsub import RedisAdapter as RedisAdapter

install()

_WITH_REDIS = {"Emitter": "emitter", "SyncEmitter": "emitter", "RedisAdapter": "redis_pubsub"}


def __getattr__(name: str) -> Any:
    """What needs redis-py is imported when it is used."""
    if name in _WITH_REDIS:
        return getattr(import_module(f".adapters.{_WITH_REDIS[name]}", __name__), name)
    raise AttributeError(f"module 'madang' has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "ASGIApp",
    "Ack",
    "AckTimeout",
    "Adapter",
    "AdapterContext",
    "AdapterGap",
    "AdapterHealth",
    "AdapterUnavailable",
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
    "Found",
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
    "RemoteSocket",
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
