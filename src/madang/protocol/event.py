"""Event names, and constants for them that say what the event carries."""

from __future__ import annotations

import inspect
from enum import Enum
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Self, TypeAlias, TypeVar, cast, get_origin, overload

from ..errors import ReservedEventName, UsageError
from .parser import RESERVED_EVENTS

if TYPE_CHECKING:

    class _Name:
        """Not text to type checkers, or any wrong use would pass for that of a plain name."""

else:
    _Name = str

P = ParamSpec("P")
R = TypeVar("R")

EventName: TypeAlias = str | int | Enum
"""A plain name: text, a whole number, or a member of an Enum whose value is one. Its arguments may be anything."""


class TypedEvent(_Name, Generic[P, R]):
    """The name of an event together with the types of its arguments and of its answer; at run time a `str`.

    What all of `Event`, `ClientEvent`, `ServerEvent` and `ClusterEvent` are. See `Event`.

    Args:
        name: the name on the wire.
        *types: the types of the arguments, for those who do not write them in brackets; type checkers do not see them.
    """

    if TYPE_CHECKING:

        @overload
        def __new__(cls, name: str) -> Self: ...
        @overload
        def __new__(cls, name: str, *types: Any) -> Any: ...
        def __new__(cls, name: str, *types: Any) -> Any:
            """Make the constant."""

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...

    else:

        def __new__(cls, name: Any, *types: Any) -> Any:
            """Make the constant."""
            if not isinstance(name, str):
                raise UsageError(f"an event's constant is named by text, not by {name!r}")
            event = super().__new__(cls, name)
            event._types = types
            return event

    @property
    def types(self) -> tuple[Any, ...]:
        """The types of the arguments, in order; empty if they are not known. A handler's own annotation goes first."""
        kinds = _parts(self)[0]
        return kinds if isinstance(kinds, tuple) else ()

    @property
    def answer(self) -> Any:
        """The type of the answer."""
        return _parts(self)[1]

    def __repr__(self) -> str:
        kinds = "".join(f", {kind!r}" for kind in self.types)
        return f"{type(self).__name__}({str.__repr__(cast('str', self))}{kinds})"


def _parts(event: Any) -> tuple[tuple[Any, ...] | EllipsisType, Any]:
    """The types of arguments and answer, from the brackets behind the class, or as the constant was given them."""
    declared = getattr(event, "__orig_class__", None)
    if declared is not None:
        kinds, answer = declared.__args__
        return kinds, answer
    return event._types, Any


class ClientEvent(TypedEvent[P, R]):
    """An event that clients send: clients emit it, and servers handle it. See `Event`."""


class ServerEvent(TypedEvent[P, R]):
    """An event that servers send to clients: servers emit it, and clients handle it. See `Event`."""


class ClusterEvent(TypedEvent[P, R]):
    """An event between the servers of a cluster, for `server_side_emit` and `on_server_side`. See `Event`."""


class Event(ClientEvent[P, R], ServerEvent[P, R], ClusterEvent[P, R]):
    """An event's name together with what it carries; usable wherever a name is, in any direction.

    In the brackets stand the types of the arguments, as a list, and the type of the answer, as in ``Callable``. mypy
    and pyright check what is emitted and who handles it; what a client sends is checked against them at run time.

    ::

        CHAT = madang.Event[[str], int]("chat message")


        @io.on(CHAT)
        async def chat(socket: madang.Socket, text: str) -> int: ...


        io.emit(CHAT, "hello")  # io.emit(CHAT, 3) is an error to mypy and pyright
        number = await socket.emit_with_ack(CHAT, "hello")  # an int, to them

    Args:
        name: the name on the wire.
        *types: the types of the arguments, for those who do not write them in brackets; type checkers do not see them.
    """


_KINDS: Final = (Event, ClientEvent, ServerEvent, ClusterEvent)


class EventMap:
    """Events that are declared together, each as an annotation; the attribute's name is the event's.

    ::

        class ToServer(madang.EventMap):
            join: madang.ClientEvent[[str], None]
            chat: madang.ClientEvent[[str], int] = madang.ClientEvent("chat message")  # another name on the wire


        @io.on(ToServer.join)
        def join(socket: madang.Socket, room: str) -> None: ...
    """

    def __init_subclass__(cls) -> None:
        """Make the constants.

        Raises:
            UsageError: an attribute is annotated with something that is no event.
        """
        super().__init_subclass__()
        for name, kind in inspect.get_annotations(cls, locals=_enclosing(), eval_str=True).items():
            setattr(cls, name, _declared(f"{cls.__name__}.{name}", cls.__dict__.get(name, name), kind))


def _enclosing() -> dict[str, Any]:
    """The names where a class is written, for annotations that are text."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return dict(frame.f_locals) if frame is not None else {}


def _declared(where: str, name: str, kind: Any) -> TypedEvent[..., Any]:
    """The constant that an annotation asks for."""
    if (get_origin(kind) or kind) not in _KINDS:
        raise UsageError(f"{where} is annotated with {kind!r}; an event is written {where}: madang.Event[[str], int]")
    event: TypedEvent[..., Any] = kind(str(name))
    return event


def event_name(event: Any) -> str | int:
    """The name itself: the value of an Enum member, else what was given.

    Raises:
        UsageError: it is neither text nor a whole number.
    """
    if isinstance(event, Enum):
        event = event.value
    if isinstance(event, str) or (isinstance(event, int) and not isinstance(event, bool)):
        return event
    raise UsageError(f"an event is named by text (or a whole number), not by {event!r}")


def check_event(event: Any) -> str | int:
    """The name of an event, if it may be emitted.

    Raises:
        ReservedEventName: it belongs to the protocol.
        UsageError: it is no name.
    """
    name: str | int = event if type(event) is str else event_name(event)
    if name in RESERVED_EVENTS:
        raise ReservedEventName(str(name))
    return name
