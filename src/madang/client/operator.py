"""A client's socket with flags for what is sent."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Any

from ..events.asking import asks_server
from ..protocol.event import check_event
from ..protocol.typed import emits_to_server

if TYPE_CHECKING:
    from .sending import Sender


class ClientOperator:
    """A socket with flags; immutable, and made by `client.volatile` and its like."""

    __slots__ = ("_compress", "_socket", "_timeout", "_volatile")

    def __init__(
        self, socket: Sender, *, volatile: bool = False, compress: bool = True, timeout: float | None = None
    ) -> None:
        self._socket = socket
        self._volatile = volatile
        self._compress = compress
        self._timeout = timeout

    @property
    def volatile(self) -> ClientOperator:
        """What is sent is lost if it could not leave at once."""
        return ClientOperator(self._socket, volatile=True, compress=self._compress, timeout=self._timeout)

    def compress(self, compress: bool) -> ClientOperator:
        """Whether a message may be compressed; see the option `per_message_deflate`."""
        return ClientOperator(self._socket, volatile=self._volatile, compress=compress, timeout=self._timeout)

    def timeout(self, seconds: float) -> ClientOperator:
        """How long `emit_with_ack` waits, in seconds."""
        return ClientOperator(self._socket, volatile=self._volatile, compress=self._compress, timeout=seconds)

    @emits_to_server
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event. See `Sender.emit`."""
        self._socket.emit_with((check_event(event), *args), compress=self._compress, volatile=self._volatile)

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)

    @asks_server
    def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Send an event and get the server's answer. See `Sender.emit_with_ack`."""
        return self._socket.request(
            (check_event(event), *args),
            timeout if timeout is not None else self._timeout,
            compress=self._compress,
            volatile=self._volatile,
        )
