"""How type checkers see what waits for answers: an event's constant brings the types of arguments and answer.

As in `madang.protocol.typed`, of which this is the other half. The first overloads of each are for calls with keywords,
which a `ParamSpec` leaves no room for; they reach to four arguments. Beyond that, use `timeout()`.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from ..protocol.event import ClientEvent, EventName, ServerEvent
from .replies import Replies, ReplyStream

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
Seconds = float | None


class AsksClient(Protocol):
    """`emit_with_ack` of one socket."""

    @overload
    def __call__(self, event: ServerEvent[[], R], /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A], R], a: A, /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds
    ) -> Future[R]: ...
    @overload
    def __call__(self, event: ServerEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: Seconds = ...) -> Future[Any]: ...


class AsksRemoteClient(Protocol):
    """`emit_with_ack` of a socket of another server."""

    @overload
    def __call__(self, event: ServerEvent[[], R], /, *, timeout: Seconds) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A], R], a: A, /, *, timeout: Seconds) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: ServerEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: Seconds = ...) -> Coroutine[Any, Any, Any]: ...


class AsksClients(Protocol):
    """`emit_with_ack` of many."""

    @overload
    def __call__(
        self, event: ServerEvent[[], R], /, *, timeout: Seconds, partial: bool = ...
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A], R], a: A, /, *, timeout: Seconds, partial: bool = ...
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds, partial: bool = ...
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds, partial: bool = ...
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds, partial: bool = ...
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(self, event: ServerEvent[[], R], /, *, partial: bool) -> Future[Replies[R]]: ...
    @overload
    def __call__(self, event: ServerEvent[[A], R], a: A, /, *, partial: bool) -> Future[Replies[R]]: ...
    @overload
    def __call__(self, event: ServerEvent[[A, B], R], a: A, b: B, /, *, partial: bool) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C], R], a: A, b: B, c: C, /, *, partial: bool
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, partial: bool
    ) -> Future[Replies[R]]: ...
    @overload
    def __call__(self, event: ServerEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[Replies[R]]: ...
    @overload
    def __call__(
        self, event: EventName, *args: Any, timeout: Seconds = ..., partial: bool = ...
    ) -> Future[Replies[Any]]: ...


class StreamsReplies(Protocol):
    """`ask`."""

    @overload
    def __call__(self, event: ServerEvent[[], R], /, *, timeout: Seconds) -> ReplyStream[R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A], R], a: A, /, *, timeout: Seconds) -> ReplyStream[R]: ...
    @overload
    def __call__(self, event: ServerEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds) -> ReplyStream[R]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds
    ) -> ReplyStream[R]: ...
    @overload
    def __call__(
        self, event: ServerEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds
    ) -> ReplyStream[R]: ...
    @overload
    def __call__(self, event: ServerEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> ReplyStream[R]: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: Seconds = ...) -> ReplyStream[Any]: ...


class AsksServer(Protocol):
    """`emit_with_ack` of a client."""

    @overload
    def __call__(self, event: ClientEvent[[], R], /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(self, event: ClientEvent[[A], R], a: A, /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(self, event: ClientEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(self, event: ClientEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds) -> Future[R]: ...
    @overload
    def __call__(
        self, event: ClientEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds
    ) -> Future[R]: ...
    @overload
    def __call__(self, event: ClientEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: Seconds = ...) -> Future[Any]: ...


class CallsServer(Protocol):
    """`call` of a client under test."""

    @overload
    def __call__(self, event: ClientEvent[[], R], /, *, timeout: Seconds) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: ClientEvent[[A], R], a: A, /, *, timeout: Seconds) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: ClientEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self, event: ClientEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(
        self, event: ClientEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: ClientEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: Seconds = ...) -> Coroutine[Any, Any, Any]: ...


class AsksServerBlocking(Protocol):
    """`emit_with_ack` of a blocking client."""

    @overload
    def __call__(self, event: ClientEvent[[], R], /, *, timeout: Seconds) -> R: ...
    @overload
    def __call__(self, event: ClientEvent[[A], R], a: A, /, *, timeout: Seconds) -> R: ...
    @overload
    def __call__(self, event: ClientEvent[[A, B], R], a: A, b: B, /, *, timeout: Seconds) -> R: ...
    @overload
    def __call__(self, event: ClientEvent[[A, B, C], R], a: A, b: B, c: C, /, *, timeout: Seconds) -> R: ...
    @overload
    def __call__(self, event: ClientEvent[[A, B, C, D], R], a: A, b: B, c: C, d: D, /, *, timeout: Seconds) -> R: ...
    @overload
    def __call__(self, event: ClientEvent[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, event: EventName, *args: Any, timeout: Seconds = ...) -> Any: ...


def asks_client(method: Callable[..., Any]) -> AsksClient:
    """Type such a method."""
    return cast("AsksClient", method)


def asks_remote_client(method: Callable[..., Any]) -> AsksRemoteClient:
    """Type such a method."""
    return cast("AsksRemoteClient", method)


def asks_clients(method: Callable[..., Any]) -> AsksClients:
    """Type such a method."""
    return cast("AsksClients", method)


def streams_replies(method: Callable[..., Any]) -> StreamsReplies:
    """Type such a method."""
    return cast("StreamsReplies", method)


def asks_server(method: Callable[..., Any]) -> AsksServer:
    """Type such a method."""
    return cast("AsksServer", method)


def calls_server(method: Callable[..., Any]) -> CallsServer:
    """Type such a method."""
    return cast("CallsServer", method)


def asks_server_blocking(method: Callable[..., Any]) -> AsksServerBlocking:
    """Type such a method."""
    return cast("AsksServerBlocking", method)
