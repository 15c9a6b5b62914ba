"""Who is in which room, and the other nodes of a cluster."""

from .adapter import Adapter, AdapterContext, BroadcastOptions, Sink
from .memory import MemoryAdapter
from .messages import AdapterGap, AdapterHealth
from .requests import Found, FoundRooms

__all__ = [
    "Adapter",
    "AdapterContext",
    "AdapterGap",
    "AdapterHealth",
    "BroadcastOptions",
    "Found",
    "FoundRooms",
    "MemoryAdapter",
    "Sink",
]
