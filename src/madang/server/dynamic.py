"""Namespaces that come into being when a client asks for one: by pattern, or as a function decides."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..adapters.adapter import EVERYONE
from ..errors import OptionError
from ..events.handlers import Handler, HandlerTable
from ..protocol.typed import emits_to_clients
from .broadcast import BroadcastOperator, Operators
from .data import Data
from .namespace import M, Middleware, Namespace, check_middleware
from .presence import F, presence_handler
from .registry import LIFE, HandlerRegistry

if TYPE_CHECKING:
    from .server import Server

Decide: TypeAlias = "Callable[[str, Any], bool | Awaitable[bool | None] | None]"


def template(name: str) -> re.Pattern[str] | None:
    """The pattern of a name with parts in braces, such as ``/room/{id}``; None if it has none.

    A part in braces stands for one or more characters other than a slash.
    """
    parts = re.split(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", name)
    if len(parts) == 1:
        return None
    literal = [re.escape(part) if index % 2 == 0 else f"(?P<{part}>[^/]+)" for index, part in enumerate(parts)]
    return re.compile(f"^{''.join(literal)}$")


class ParentNamespace(Operators[Data], HandlerRegistry[Data]):
    """A dynamic namespace: what is registered here is copied to each child when the child is made.

    Attributes:
        children: its namespaces, by name.
        presence_hearers: who hears of presence in all of them.
    """

    __slots__ = ("_decide", "_pattern", "children", "handlers", "life", "middlewares", "presence_hearers", "server")

    def __init__(self, server: Server[Data], rule: re.Pattern[str] | Decide) -> None:
        self.server: Server[Data] = server
        self.children: dict[str, Namespace[Data]] = {}
        self.handlers = HandlerTable()
        self.life: dict[str, list[Handler]] = {event: [] for event in LIFE}
        self.middlewares: list[Middleware] = []
        self.presence_hearers: list[Handler] = []
        self._pattern = rule if isinstance(rule, re.Pattern) else None
        self._decide: Decide | None = None if isinstance(rule, re.Pattern) else rule

    @property
    def targets(self) -> Iterable[Namespace[Any]]:
        """Its children on this server."""
        return tuple(self.children.values())

    def _operator(self) -> BroadcastOperator[Data]:
        return BroadcastOperator(self, EVERYONE)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event to everyone in all children."""
        self._operator().emit(event, *args)

    def use(self, middleware: M) -> M:
        """See `Namespace.use`."""
        self.middlewares.append(check_middleware(middleware))
        return middleware

    def on_presence(self, handler: F) -> F:
        """See `Namespace.on_presence`; for all children, those that are there already as well."""
        self.presence_hearers.append(presence_handler(handler))
        self.server.use_presence()
        return handler

    async def fetch_sockets(self) -> Any:
        """Not for a dynamic namespace.

        Raises:
            OptionError: always.
        """
        raise OptionError("fetch_sockets() is for one namespace; ask the children of a dynamic one")

    def params(self, name: str) -> dict[str, str]:
        """What the named groups of the pattern take from a name; for ``/room/{id}`` the ``id``."""
        match = self._pattern.search(name) if self._pattern is not None else None
        return match.groupdict() if match is not None else {}

    def matches(self, name: str) -> bool:
        """Whether the pattern takes a name; False if a function decides."""
        return self._pattern is not None and self._pattern.search(name) is not None

    async def accepts(self, name: str, auth: Any) -> bool:
        """Whether a client's namespace is one of ours."""
        if self._decide is None:
            return self.matches(name)
        try:
            decision = self._decide(name, auth)
            return bool(await decision if isawaitable(decision) else decision)
        except Exception as error:
            self.server.handler_failed(error, None, "new_namespace")
            return False

    def make_child(self, name: str) -> Namespace[Data]:
        """A new child."""
        child = Namespace(self.server, name, self)
        self.children[name] = child
        return child

    def remove_child(self, child: Namespace[Data]) -> None:
        """Free the name of an empty child."""
        if self.children.pop(child.name, None) is not None:
            child.end()
            self.server.namespaces.pop(child.name, None)
