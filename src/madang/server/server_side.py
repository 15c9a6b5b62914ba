"""What servers of a cluster tell each other, in a namespace's own words."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from ..adapters.adapter import Adapter
from ..adapters.requests import Found, FoundRooms
from ..errors import AckTimeout
from ..events.event import event_name
from ..events.handlers import Handler
from ..tasks import FAILURES, raise_if_cancelled

if TYPE_CHECKING:
    from .server import Server

F = TypeVar("F", bound=Callable[..., Any])
Answer = Callable[[Any], None]


class ServerSide:
    """How a namespace talks with the same namespace on other servers; a mixin."""

    __slots__ = ()

    server: Server
    adapter: Adapter
    server_side: dict[str, list[Handler]]

    def on_server_side(self, event: str) -> Callable[[F], F]:
        """Hear what other servers of the cluster send with `server_side_emit`. A decorator.

        What the handler returns is its server's answer, if one was asked for.
        """
        name = str(event_name(event))

        def register(handler: F) -> F:
            self.server_side.setdefault(name, []).append(Handler(name, handler, takes_socket=False, from_client=False))
            return handler

        return register

    def server_side_emit(self, event: str, *args: Any) -> None:
        """Tell the other servers of the cluster, where `on_server_side` hears of it. Never waits."""
        self.server.in_loop(self.adapter.server_side_emit, (str(event_name(event)), *args))

    async def server_side_emit_with_ack(self, event: str, *args: Any, timeout: float | None = None) -> Found[Any]:
        """Tell the other servers of the cluster, and collect one answer of each.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: the adapter's `requests_timeout`.

        Raises:
            AckTimeout: a server did not answer in time; its `responses` are the answers that did come.
        """
        found: Found[Any] = await self.adapter.server_side_emit_with_ack((str(event_name(event)), *args), timeout)
        if found.missing:
            raise AckTimeout(f"{found.missing} of {found.missing + len(found)} servers did not answer", found)
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
        handlers = tuple(self.server_side.get(args[0], ()))
        once = _Once(answer)
        for handler in handlers:
            self.server.tasks.start(self._run_server_side(handler, args, once))
        if not handlers:
            once(None)

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
