"""Every exception that madang raises, in one tree.

::

    MadangError
    ├── UsageError
    │   ├── OptionError
    │   ├── HandlerError
    │   ├── EncodeError
    │   │   └── PayloadTooLarge
    │   └── ReservedEventName
    ├── ProtocolError
    │   ├── PacketError
    │   └── HandshakeError
    ├── ConnectError
    ├── EventError
    │   └── EventInvalid
    ├── AckTimeout
    ├── WaitTimeout
    ├── BufferFull
    ├── AdapterUnavailable
    ├── ConnectionFailed
    ├── SocketClosed
    ├── ServerClosed
    └── HandlerFailed

`UsageError` is the caller's fault and is raised at once, where the mistake is made. `ProtocolError` is the peer's
fault: it never reaches a handler, and says what to answer. The others travel between handlers and clients.
"""

from __future__ import annotations

from typing import Any, Final


class MadangError(Exception):
    """The root of the tree; never raised itself."""


class UsageError(MadangError):
    """The program asked for something that cannot be; the message says what to do instead."""


class OptionError(UsageError, ValueError):
    """An option is unknown or has a value out of range."""


class HandlerError(UsageError, TypeError):
    """A function cannot serve as the handler it was registered as."""


class EncodeError(UsageError, TypeError):
    """A value cannot be sent: JSON has no form for it, or it holds itself."""


class PayloadTooLarge(EncodeError):
    """A message is larger than the server has said it will take; it was not sent.

    Attributes:
        size: its bytes on the wire.
        limit: the server's `maxPayload`, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"a message of {size} bytes is more than the {limit} that the server takes; "
            "send it in parts, or raise max_http_buffer_size on the server"
        )
        self.size = size
        self.limit = limit


class ReservedEventName(UsageError, ValueError):
    """An event was to be emitted under a name that the protocol keeps for itself.

    Attributes:
        event: the name that was refused.
    """

    def __init__(self, event: str) -> None:
        super().__init__(f'"{event}" is a reserved event name')
        self.event = event


class ProtocolError(MadangError):
    """The peer broke the rules of the protocol; the connection it used is closed."""


class PacketError(ProtocolError):
    """An Engine.IO or Socket.IO packet cannot be decoded. No decoder raises anything else."""


HANDSHAKE_MESSAGES: Final = (
    "Transport unknown",
    "Session ID unknown",
    "Bad handshake method",
    "Bad request",
    "Forbidden",
    "Unsupported protocol version",
)


class HandshakeError(ProtocolError):
    """A request was refused by the engine.

    Attributes:
        code: the Engine.IO error code, 0 to 5.
        message: the text that the client is told.
        context: facts for the server's own eyes, such as ``{"name": "TRANSPORT_MISMATCH"}``.
        status: the HTTP status of the answer: 403 for code 4, 503 when the server is shutting down, else 400.
    """

    def __init__(
        self, code: int, message: str | None = None, context: dict[str, Any] | None = None, *, status: int | None = None
    ) -> None:
        self.code = code
        self.message = message if message is not None else HANDSHAKE_MESSAGES[code]
        self.context = context if context is not None else {}
        self.status = status or (403 if code == 4 else 400)
        super().__init__(self.message)


class ConnectError(MadangError):
    """Raised in a middleware to refuse a client; its `message` and `data` reach the client's ``connect_error``.

    Args:
        message: what the client reads in ``error.message``.
        data: JSON-able facts for ``error.data``; left out of the packet when None.
    """

    def __init__(self, message: str = "refused", data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class EventError(MadangError):
    """Raised in a handler to tell the client what went wrong.

    The client gets it as the answer if it asked for an ack, ``{"error": {"code", "message", "data"}}``, else as the
    event ``error``.

    Args:
        message: a sentence for people.
        code: a word for programs.
        data: JSON-able facts; left out when None.
    """

    def __init__(self, message: str, *, code: str = "error", data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data

    def payload(self) -> dict[str, Any]:
        """The object the client receives, without the event's name."""
        payload: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            payload["data"] = self.data
        return payload


class EventInvalid(EventError):
    """A client's arguments do not fit the handler's annotations; the handler was not called.

    Attributes:
        data: ``{"argument": name, "path": where in it, "reason": what was expected}``, as far as known.
    """

    def __init__(self, message: str, data: dict[str, Any]) -> None:
        super().__init__(message, code="invalid_arguments", data=data)


class AckTimeout(MadangError, TimeoutError):
    """An acknowledgement did not come in time.

    Attributes:
        responses: for a broadcast, the answers that did come; else empty.
        missing: for a broadcast, how many did not answer; else 0.
        missing_ids: the ids of the sockets among them that are on this server.
    """

    def __init__(
        self,
        message: str = "operation has timed out",
        responses: list[Any] | None = None,
        missing: int = 0,
        missing_ids: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message)
        self.responses: list[Any] = responses if responses is not None else []
        self.missing = missing
        self.missing_ids = missing_ids


class WaitTimeout(MadangError, TimeoutError):
    """What was waited for did not come in time."""


class BufferFull(MadangError):
    """More bytes wait for the server than `outbound_limit` allows; the event was not taken.

    Attributes:
        waiting: bytes that wait.
        limit: the option.
    """

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(
            f"{waiting} bytes wait for the server, and outbound_limit is {limit}; "
            "await client.drained() between emits, emit less, or make it volatile"
        )
        self.waiting = waiting
        self.limit = limit


class AdapterUnavailable(MadangError, ConnectionError):
    """The other servers of a cluster cannot be asked: what connects them is away."""


class ConnectionFailed(MadangError, ConnectionError):
    """A client could not reach its server, or lost it in a disorderly way.

    Attributes:
        message: what failed: ``"polling error"``, ``"websocket error"``, ``"parse error"`` or ``"timeout"``.
        description: why, as far as is known.
        transport: the transport that was tried, or None.
        status: the HTTP status that the server answered with, or None.
        retryable: whether it makes sense to try again; not after the server has refused this client (401, 403, or the
            engine's error codes 4 and 5).
    """

    def __init__(
        self,
        message: str,
        description: str | None = None,
        *,
        transport: str | None = None,
        status: int | None = None,
        retryable: bool = True,
    ) -> None:
        super().__init__(f"{message}: {description}" if description else message)
        self.message = message
        self.description = description
        self.transport = transport
        self.status = status
        self.retryable = retryable


class SocketClosed(MadangError):
    """The socket went away while an acknowledgement was awaited, or before it was asked for.

    Attributes:
        reason: the close reason, such as ``"transport close"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"socket has been disconnected ({reason})")
        self.reason = reason


class ServerClosed(MadangError):
    """A thread waited for the server's event loop, and the server was closed, or the loop has ended."""


class HandlerFailed(MadangError, AssertionError):
    """Raised by `madang.testing`: handlers have failed in a test. It is raised from the first of their exceptions.

    Attributes:
        errors: what they have raised, in order.
    """

    def __init__(self, message: str, errors: list[BaseException]) -> None:
        super().__init__(message)
        self.errors = errors
