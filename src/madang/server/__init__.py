"""The Socket.IO server: namespaces, sockets, middlewares and broadcasts."""

from .broadcast import BroadcastOperator
from .handshake import Handshake
from .namespace import Namespace
from .options import ServerOptions
from .presence import Presence, PresenceDiff, PresenceOptions, PresentUser
from .remote import RemoteSocket
from .server import Server
from .socket import Socket

__all__ = [
    "BroadcastOperator",
    "Handshake",
    "Namespace",
    "Presence",
    "PresenceDiff",
    "PresenceOptions",
    "PresentUser",
    "RemoteSocket",
    "Server",
    "ServerOptions",
    "Socket",
]
