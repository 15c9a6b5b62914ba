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
from .engine import CookieOptions, CorsOptions, Engine, PerMessageDeflate, Request, Session
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
    HandlerFailed,
    HandshakeError,
    MadangError,
    OptionError,
    PacketError,
    PayloadTooLarge,
    ProtocolError,
    ReservedEventName,
    ServerClosed,
    SocketClosed,
    UsageError,
    WaitTimeout,
)
from .events import Ack, Replies, Reply, ReplyStream
from .hosting import ASGIApp, StaticFiles, install
from .protocol.encoded import Encoded
from .protocol.event import ClientEvent, ClusterEvent, Event, EventMap, ServerEvent, TypedEvent
from .protocol.json_parser import JsonParser
from .protocol.msgpack import MsgpackParser
from .protocol.parser import Packet, Parser
from .server import (
    BroadcastOperator,
    Handshake,
    Namespace,
    Presence,
    PresenceDiff,
    PresentUser,
    RemoteSocket,
    Server,
    Socket,
)

if TYPE_CHECKING:
    from .adapters.emitter import Emitter as Emitter
    from .adapters.emitter import SyncEmitter as SyncEmitter
    from .adapters.nats.subjects import NatsAdapter as NatsAdapter
    from .adapters.postgres.listen_notify import PostgresAdapter as PostgresAdapter
    from .adapters.redis.pubsub import RedisAdapter as RedisAdapter
    from .adapters.redis.sharded import ShardedRedisAdapter as ShardedRedisAdapter
    from .adapters.redis.streams import RedisStreamsAdapter as RedisStreamsAdapter

install()

WITH_BROKERS = {
    "Emitter": "emitter",
    "SyncEmitter": "emitter",
    "RedisAdapter": "redis.pubsub",
    "PostgresAdapter": "postgres.listen_notify",
    "NatsAdapter": "nats.subjects",
    "RedisStreamsAdapter": "redis.streams",
    "ShardedRedisAdapter": "redis.sharded",
}


def __getattr__(name: str) -> Any:
    """What needs a driver is imported when it is used."""
    if name in WITH_BROKERS:
        return getattr(import_module(f".adapters.{WITH_BROKERS[name]}", __name__), name)
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
    "ClientEvent",
    "ClientSocket",
    "ClusterEvent",
    "ConnectError",
    "ConnectionFailed",
    "CookieOptions",
    "CorsOptions",
    "EncodeError",
    "Encoded",
    "Engine",
    "Event",
    "EventError",
    "EventInvalid",
    "EventMap",
    "EventStream",
    "Found",
    "HandlerError",
    "HandlerFailed",
    "Handshake",
    "HandshakeError",
    "JsonParser",
    "MadangError",
    "Manager",
    "MemoryAdapter",
    "MsgpackParser",
    "Namespace",
    "OptionError",
    "Packet",
    "PacketError",
    "Parser",
    "PayloadTooLarge",
    "PerMessageDeflate",
    "Presence",
    "PresenceDiff",
    "PresentUser",
    "ProtocolError",
    "Received",
    "RemoteSocket",
    "Replies",
    "Reply",
    "ReplyStream",
    "Request",
    "ReservedEventName",
    "Server",
    "ServerClosed",
    "ServerEvent",
    "Session",
    "Socket",
    "SocketClosed",
    "StaticFiles",
    "SyncClient",
    "SyncEventStream",
    "SyncSocket",
    "TypedEvent",
    "UsageError",
    "WaitTimeout",
    "connect",
]
