"""How type checkers see `emit`: an event's constant brings the types of its arguments, a plain name takes any.

A method that is written once, for names of all kinds, gets one of these types from a decorator, which does nothing at
run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, cast, overload

from .event import ClientEvent, ClusterEvent, EventName, ServerEvent

P = ParamSpec("P")


class EmitsToClients(Protocol):
    """`emit` of a server, or of what sends for one."""

    @overload
    def __call__(self, event: ServerEvent[P, Any], *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def __call__(self, event: EventName, *args: Any) -> None: ...


class EmitsToServer(Protocol):
    """`emit` of a client."""

    @overload
    def __call__(self, event: ClientEvent[P, Any], *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def __call__(self, event: EventName, *args: Any) -> None: ...


class EmitsToCluster(Protocol):
    """`server_side_emit`."""

    @overload
    def __call__(self, event: ClusterEvent[P, Any], *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def __call__(self, event: EventName, *args: Any) -> None: ...


def emits_to_clients(method: Callable[..., None]) -> EmitsToClients:
    """Type an `emit`."""
    return cast("EmitsToClients", method)


def emits_to_server(method: Callable[..., None]) -> EmitsToServer:
    """Type an `emit`."""
    return cast("EmitsToServer", method)


def emits_to_cluster(method: Callable[..., None]) -> EmitsToCluster:
    """Type a `server_side_emit`."""
    return cast("EmitsToCluster", method)
