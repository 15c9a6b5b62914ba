"""The Socket.IO client, asyncio and blocking."""

from .client import Client, connect
from .reconnect import Manager
from .socket import ClientSocket
from .stream import EventStream, Received
from .sync import SyncClient, SyncEventStream, SyncSocket

__all__ = [
    "Client",
    "ClientSocket",
    "EventStream",
    "Manager",
    "Received",
    "SyncClient",
    "SyncEventStream",
    "SyncSocket",
    "connect",
]
