"""Who is in which room, and the other nodes of a cluster."""

from .adapter import Adapter, BroadcastOptions, Sink
from .memory import MemoryAdapter

__all__ = ["Adapter", "BroadcastOptions", "MemoryAdapter", "Sink"]
