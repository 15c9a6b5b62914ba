"""Testing a server in memory: a client without sockets, and a clock that jumps; docs/testing.md tells how."""

from ..errors import HandlerFailed
from .adapters import AdapterBehaviour
from .client import ClientFactory, MemoryClient, ReceivedEvent, connect
from .clock import Clock, clock
from .stage import Failure

__all__ = [
    "AdapterBehaviour",
    "ClientFactory",
    "Clock",
    "Failure",
    "HandlerFailed",
    "MemoryClient",
    "ReceivedEvent",
    "clock",
    "connect",
]
