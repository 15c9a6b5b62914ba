"""The blocking client, for scripts, notebooks and worker processes: the asyncio client on a loop in a thread.

Handlers run in a thread of their own, one at a time and in order, so they may block, and may emit and wait for answers
as any other code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from inspect import isawaitable
from types import TracebackType
from typing import Any, TypeVar, Unpack

from ..errors import SocketClosed
from ..events.asking import asks_server_blocking
from ..events.handlers import is_coroutine_function
from ..events.registering import HearsServer
from ..protocol.event import EventName, TypedEvent
from ..protocol.typed import emits_to_server
from .client import Client
from .options import Auth, ClientKeywords, check_auth
from .reconnect import GOODBYE, Manager
from .socket import ClientSocket
from .stream import EventStream, Received
from .threads import LoopThread

F = TypeVar("F", bound=Callable[..., Any])


class AuthInThread:
    """A plain function that gives what to present, called in a thread, so that it may block.

    Args:
        function: the function.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    async def __call__(self) -> Any:
        """What the function gives."""
        given = await asyncio.to_thread(self.function)
        return await given if isawaitable(given) else given


def _in_thread(auth: Auth | None) -> Auth | None:
    return AuthInThread(auth) if callable(auth) and not is_coroutine_function(auth) else auth


class SyncOperator:
    """A blocking socket with flags; immutable, and made by `client.volatile` and its like."""

    __slots__ = ("_compress", "_socket", "_timeout", "_volatile")

    def __init__(
        self, socket: SyncSocket, *, volatile: bool = False, compress: bool = True, timeout: float | None = None
    ) -> None:
        self._socket = socket
        self._volatile = volatile
        self._compress = compress
        self._timeout = timeout

    @property
    def volatile(self) -> SyncOperator:
        """What is sent is lost if it could not leave at once."""
        return SyncOperator(self._socket, volatile=True, compress=self._compress, timeout=self._timeout)

    def compress(self, compress: bool) -> SyncOperator:
        """Whether a message may be compressed."""
        return SyncOperator(self._socket, volatile=self._volatile, compress=compress, timeout=self._timeout)

    def timeout(self, seconds: float) -> SyncOperator:
        """How long `emit_with_ack` waits, in seconds."""
        return SyncOperator(self._socket, volatile=self._volatile, compress=self._compress, timeout=seconds)

    @emits_to_server
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event. See `SyncSocket.emit`."""
        self._socket.emit_with((event, *args), compress=self._compress, volatile=self._volatile)

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)

    @asks_server_blocking
    def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and wait for the server's answer. See `SyncSocket.emit_with_ack`."""
        return self._socket.request(
            (event, *args),
            timeout if timeout is not None else self._timeout,
            compress=self._compress,
            volatile=self._volatile,
        )


class SyncSocket(HearsServer):
    """A namespace of a blocking client; made by `client.of`, and the base of `SyncClient`.

    Args:
        socket: the asyncio socket below.
        thread: its loop.
    """

    def __init__(self, socket: ClientSocket, thread: LoopThread) -> None:
        self._socket = socket
        self._loop_thread = thread

    def __repr__(self) -> str:
        return repr(self._socket).replace(type(self._socket).__name__, type(self).__name__, 1)

    # what it is

    @property
    def nsp(self) -> str:
        """The namespace's name."""
        return self._socket.nsp

    @property
    def id(self) -> str | None:
        """The id that the server knows this client by; None while not connected."""
        return self._socket.id

    @property
    def connected(self) -> bool:
        """Whether the namespace is joined."""
        return self._socket.is_connected

    @property
    def disconnected(self) -> bool:
        """The opposite of `connected`."""
        return not self._socket.is_connected

    @property
    def active(self) -> bool:
        """Whether it is connected, or will be."""
        return self._socket.active

    @property
    def recovered(self) -> bool:
        """Whether the server has taken up the session that was lost."""
        return self._socket.recovered

    @property
    def auth(self) -> Auth | None:
        """What is presented to the server; may be changed between attempts. A plain function may block."""
        auth = self._socket.auth
        return auth.function if isinstance(auth, AuthInThread) else auth

    @auth.setter
    def auth(self, auth: Auth | None) -> None:
        self._socket.auth = _in_thread(auth)

    # registering

    def _register(self, event: Any, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        how.setdefault("thread", not is_coroutine_function(handler))
        how["thread"] = how["thread"] or not is_coroutine_function(handler)
        if how.pop("once", False):
            self._loop_thread.call(lambda: self._socket.register(event, handler, once=True, **how))
        else:
            self._loop_thread.call(lambda: self._socket.register(event, handler, concurrent=concurrent, **how))

    def off(self, event: EventName | TypedEvent[..., Any], handler: Callable[..., Any] | None = None) -> None:
        """Remove a handler of an event, or all of them."""
        self._loop_thread.call(self._socket.off, event, handler)

    def on_any(self, listener: F) -> F:
        """Call `listener(event, *args)`, in the loop's thread, for every event before its handlers. A decorator."""
        self._loop_thread.call(self._socket.on_any, listener)
        return listener

    def off_any(self, listener: Any = None) -> None:
        """Undo `on_any`, for one listener or for all."""
        self._loop_thread.call(self._socket.off_any, listener)

    # emitting

    @emits_to_server
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event. Never waits; kept until there is a connection. See `ClientSocket.emit` for what it raises."""
        self.emit_with((event, *args))

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)

    def emit_with(self, args: tuple[Any, ...], **flags: Any) -> None:
        """Send an event, given as name and arguments."""
        self._loop_thread.require_process()
        self._socket.emit_checked(args, **flags)

    @asks_server_blocking
    def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and wait for the server's answer. See `ClientSocket.emit_with_ack` for what it raises.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: the option `ack_timeout`, 60 seconds.
        """
        return self.request((event, *args), timeout)

    def request(self, args: tuple[Any, ...], timeout: float | None = None, **flags: Any) -> Any:
        """Send an event, given as name and arguments, that wants an answer."""

        async def asked() -> Any:
            return await self._socket.request_checked(args, timeout, **flags)

        return self._loop_thread.wait_for(asked())

    @property
    def volatile(self) -> SyncOperator:
        """The same socket; what is sent is lost if it could not leave at once."""
        return SyncOperator(self, volatile=True)

    def compress(self, compress: bool) -> SyncOperator:
        """The same socket; whether a message may be compressed."""
        return SyncOperator(self, compress=compress)

    def timeout(self, seconds: float) -> SyncOperator:
        """The same socket; how long `emit_with_ack` waits, in seconds."""
        return SyncOperator(self, timeout=seconds)

    def drained(self) -> None:
        """Wait until what was emitted has been handed to the network."""
        self._loop_thread.wait_for(self._socket.drained())

    # receiving

    def wait_for(self, event: EventName | TypedEvent[..., Any], *, timeout: float | None = 30.0) -> Any:
        """Wait for the next event of a name. See `ClientSocket.wait_for`."""
        return self._loop_thread.wait_for(self._socket.wait_for(event, timeout=timeout))

    def events(self, *names: EventName | TypedEvent[..., Any]) -> SyncEventStream:
        """The events that come from now on, for ``for``, whether they have handlers or not.

        Args:
            *names: only these. Default: all.
        """
        return SyncEventStream(self._loop_thread.call(self._socket.events, *names), self._loop_thread)

    # connecting

    def connect(self) -> None:
        """Join the namespace, and wait until that is done, at most for the option `timeout`.

        Raises:
            ConnectError: the server's application has refused.
            ConnectionFailed: there was no connection in time, or none is to be expected.
        """
        self._loop_thread.start()

        async def joined() -> None:
            await self._socket.connect()

        self._loop_thread.wait_for(joined())

    def disconnect(self) -> None:
        """Leave the namespace, and do not come back; the connection is closed with its last namespace."""
        if self._loop_thread.running:
            self._loop_thread.call(self._socket.disconnect)


class SyncEventStream:
    """The events that come from now on; made by `client.events()`. See `EventStream`."""

    def __init__(self, stream: EventStream, thread: LoopThread) -> None:
        self._stream = stream
        self._loop_thread = thread

    def receive(self, timeout: float | None = 30.0) -> Received:
        """The next event. See `EventStream.receive`."""
        if not self._loop_thread.running and (received := self._stream.take()) is not None:
            return received  # which had come before the client was closed
        return self._loop_thread.wait_for(self._stream.receive(timeout))

    def close(self) -> None:
        """Take no more events."""
        self._loop_thread.call(self._stream.close)

    def __iter__(self) -> Iterator[Received]:
        while True:
            try:
                yield self.receive(None)
            except SocketClosed:
                return


class SyncClient(SyncSocket):
    """A blocking Socket.IO client.

    ::

        with madang.SyncClient("http://localhost:3000", auth={"token": "…"}) as client:
            print(client.emit_with_ack("sum", 1, 2))
            for event in client.events():
                print(event.name, *event.args)

    It connects in ``with`` or `connect`. The handlers that `on` registers run in a thread of their own.

    Args:
        url: the server, and the namespace as its path.
        auth: what to present to the server: a dict, or a function that gives one for each attempt.
        **options: see `ClientOptions` and `ClientEngineOptions`.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """

    def __init__(self, url: str, *, auth: Auth | None = None, **options: Unpack[ClientKeywords]) -> None:
        given = options | {"force_new": True, "auto_connect": False}
        self._client = Client(url, auth=_in_thread(check_auth(auth)), **given)
        super().__init__(self._client, LoopThread(self._client.close))
        self._spaces: dict[str, SyncSocket] = {}

    def of(self, namespace: str, *, auth: Auth | None = None) -> SyncSocket:
        """Another namespace on the same connection; the first call begins to join it, and its `connect` waits for that.

        Args:
            namespace: its name, such as ``"/chat"``.
            auth: what to present there.
        """
        name = namespace if namespace.startswith("/") else f"/{namespace}"
        if name == self.nsp:
            return self
        if name not in self._spaces:
            socket = self._loop_thread.call(lambda: self._client.of(name, auth=_in_thread(check_auth(auth))))
            self._spaces[name] = SyncSocket(socket, self._loop_thread)
            if self._loop_thread.running:
                self._loop_thread.call(socket.connect)
            else:
                socket.active = True  # it joins with the connection
        return self._spaces[name]

    def on_error(self, handler: F) -> F:
        """Tell `handler(error, socket, event)`, in the loop's thread, of each exception of a handler. A decorator."""
        self._loop_thread.call(self._client.on_error, handler)
        return handler

    def on_manager(self, event: str, listener: Callable[..., Any]) -> None:
        """Call `listener`, in the loop's thread, at an event of the connection, such as ``reconnect``."""
        self._loop_thread.call(self._client.manager.on, event, listener)

    @property
    def manager(self) -> Manager:
        """The connection; its methods are for the loop's thread, where `on_manager` calls its listeners."""
        return self._client.manager

    def wait(self) -> str:
        """Wait until the client is not connected and will not come back by itself; why. See `Client.wait`."""
        return self._loop_thread.wait_for(self._client.wait())

    def close(self, timeout: float = GOODBYE) -> None:
        """Leave all namespaces, and wait until no connection and no thread is left; always ends in time.

        Args:
            timeout: seconds that coroutine handlers which still run are given. A thread that a handler blocks in is
                left to itself. In a handler of this client it is 0.

        Raises:
            UsageError: called in the client's own loop; a coroutine handler may call `disconnect`.
        """
        self._loop_thread.close(timeout)

    def __enter__(self) -> SyncClient:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
