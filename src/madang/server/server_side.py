"""What servers of a cluster tell each other, in a namespace's own words."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from ..adapters.adapter import Adapter
from ..adapters.requests import Found, FoundRooms
from ..errors import AckTimeout, ReservedEventName
from ..events.handlers import Handler
from ..events.registering import HandlerOf
from ..protocol.event import ClusterEvent, EventName, event_name
from ..protocol.typed import emits_to_cluster
from ..tasks import FAILURES, raise_if_cancelled

if TYPE_CHECKING:
    from .server import Server

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
Answers: TypeAlias = Coroutine[Any, Any, Found[R]]
Answer = Callable[[Any], None]

PRESENCE_EVENT: Final = "madang:presence"
"""What servers tell each other of presence; no handler hears of it."""


def _own_name(event: Any) -> str:
    """The name of an event that programs may send and hear.

    Raises:
        ReservedEventName: it is ours.
    """
    name = str(event_name(event))
    if name == PRESENCE_EVENT:
        raise ReservedEventName(name)
    return name


class AsksServers(Protocol):
    """How type checkers see `server_side_emit_with_ack`; see `madang.events.asking`."""

    @overload
    def __call__(self, event: ClusterEvent[[], R], /, *, timeout: float | None) -> Answers[R]: ...
    @overload
    def __call__(self, event: ClusterEvent[[A], R], a: A, /, *, timeout: float | None) -> Answers[R]: ...
    @overload
    def __call__(self, event: ClusterEvent[[A, B], R], a: A, b: B, /, *, timeout: float | None) -> Answers[R]: ...
    @overload
    def __call__(self, event: ClusterEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> Answers[R]: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: float | None = ...) -> Answers[Any]: ...


def asks_servers(method: Callable[..., Any]) -> AsksServers:
    """Type such a method."""
    return cast("AsksServers", method)


class ServerSide:
    """How a namespace talks with the same namespace on other servers; a mixin."""

    __slots__ = ()

    server: Server[Any]
    adapter: Adapter
    server_side: dict[str, list[Handler]]

    @overload
    def on_server_side(self, event: ClusterEvent[P, R]) -> HandlerOf[P, R]: ...
    @overload
    def on_server_side(self, event: EventName) -> Callable[[F], F]: ...
    def on_server_side(self, event: Any) -> Any:
        """Hear what other servers of the cluster send with `server_side_emit`. A decorator.

        What the handler returns is its server's answer, if one was asked for.
        """
        name = _own_name(event)

        def register(handler: Any) -> Any:
            self.server_side.setdefault(name, []).append(Handler(name, handler, takes_socket=False, from_client=False))
            return handler

        return register

    @emits_to_cluster
    def server_side_emit(self, event: Any, *args: Any) -> None:
        """Tell the other servers of the cluster, where `on_server_side` hears of it. Never waits."""
        self.server.in_loop(self.adapter.server_side_emit, (_own_name(event), *args))

    @asks_servers
    async def server_side_emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Found[Any]:
        """Tell the other servers of the cluster, and collect one answer of each.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: the adapter's `requests_timeout`.

        Raises:
            AckTimeout: a server did not answer in time; its `responses` are the answers that did come.
        """
        found: Found[Any] = await self.adapter.server_side_emit_with_ack((_own_name(event), *args), timeout)
        if found.missing:
            message = f"{found.missing} of {found.missing + len(found)} servers did not answer"
            raise AckTimeout(message, found, found.missing)
        return found

    async def server_count(self) -> int:
        """The number of servers in the cluster, this one included.

        Raises:
            AdapterUnavailable: what connects them is away.
        """
        return await self.adapter.server_count()

    async def all_rooms(self, *, local: bool = False) -> FoundRooms:
        """The rooms of this namespace, those of the sockets' own ids among them, on all servers of the cluster.

        Args:
            local: only those of this server.
        """
        rooms: FoundRooms = await self.adapter.all_rooms(local)
        return rooms

    def server_side_received(self, args: list[Any], answer: Answer | None) -> None:
        """For adapters: another server has sent name and arguments, and perhaps wants one answer.

        Where nobody hears of the event the answer is None, so that who asks need not wait for nothing.
        """
        once = _Once(answer)
        if args[0] == PRESENCE_EVENT:
            self._presence_received(args)
        handlers = tuple(self.server_side.get(args[0], ()))
        for handler in handlers:
            self.server.tasks.start(self._run_server_side(handler, args, once))
        if not handlers:
            once(None)

    def _presence_received(self, args: list[Any]) -> None:
        """Another server has said something of presence."""
        raise NotImplementedError

    async def _run_server_side(self, handler: Handler, args: list[Any], answer: Answer) -> None:
        values = args[1:] if handler.arity is None else args[1 : 1 + handler.arity]
        try:
            result = handler.function(*values)
            if isawaitable(result):
                result = await result
        except FAILURES as error:
            raise_if_cancelled(error)
            self.server.handler_failed(error, None, args[0])
            result = {"error": {"code": "internal_error", "message": "internal error"}}
        answer(result)


class _Once:
    """Answers with the first result; there may be several handlers."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

    def __call__(self, value: Any) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(value)
