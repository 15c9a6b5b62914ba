"""One socket with flags for what is sent to it."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Any

from ..adapters.adapter import BroadcastOptions
from ..errors import SocketClosed
from ..events.acks import PendingAck
from ..events.asking import asks_client
from ..protocol.event import check_event
from ..protocol.typed import emits_to_clients
from .broadcast import BroadcastOperator, Operators
from .data import Data

if TYPE_CHECKING:
    from .socket import Socket


class SocketOperator(Operators[Data]):
    """A socket with flags for what is sent to it; immutable, and made by `socket.volatile` and its like."""

    __slots__ = ("_compress", "_socket", "_timeout", "_volatile")

    def __init__(
        self, socket: Socket[Data], *, volatile: bool = False, compress: bool = True, timeout: float | None = None
    ) -> None:
        self._socket = socket
        self._volatile = volatile
        self._compress = compress
        self._timeout = timeout

    @property
    def volatile(self) -> SocketOperator[Data]:
        """What is sent is lost if it could not leave at once."""
        return SocketOperator(self._socket, volatile=True, compress=self._compress, timeout=self._timeout)

    def compress(self, compress: bool) -> SocketOperator[Data]:
        """Whether polling responses that carry the message may be compressed."""
        return SocketOperator(self._socket, volatile=self._volatile, compress=compress, timeout=self._timeout)

    def timeout(self, seconds: float) -> SocketOperator[Data]:
        """How long `emit_with_ack` waits, in seconds."""
        return SocketOperator(self._socket, volatile=self._volatile, compress=self._compress, timeout=seconds)

    @property
    def broadcast(self) -> BroadcastOperator[Data]:
        """Everyone in the namespace but this socket, with the same flags."""
        return self._operator()

    def _operator(self) -> BroadcastOperator[Data]:
        options = BroadcastOptions(except_=frozenset((self._socket.id,)), volatile=self._volatile)
        return BroadcastOperator(self._socket.namespace, options, self._compress, self._timeout)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event. See `Socket.emit`."""
        self._socket.emit_with((check_event(event), *args), self._compress, self._volatile)

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)

    @asks_client
    def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Send an event and get the client's answer. See `Socket.emit_with_ack`."""
        name = check_event(event)
        socket = self._socket
        namespace = socket.namespace
        namespace.server.require_own_thread("emit_with_ack")
        seconds = timeout if timeout is not None else self._timeout
        if seconds is None:
            seconds = namespace.server.options.ack_timeout
        ack_id = namespace.next_ack_id()
        encoded = namespace.encode((name, *args), ack_id, self._compress)
        pending = PendingAck.ask(socket, ack_id, seconds)
        if socket.gone:
            pending.end(SocketClosed("the socket has gone"))
            return pending
        socket.expect_ack(ack_id, pending)
        if self._volatile:
            socket.write_volatile(encoded)
        else:
            socket.write(encoded)
        return pending
