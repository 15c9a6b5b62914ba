"""What comes from other servers: counted, the own skipped, and nothing of it able to do harm; and telling of gaps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from ..errors import PacketError
from .adapter import AdapterContext
from .cluster_wire import decode_message
from .messages import AdapterGap, ClusterMessage

logger = logging.getLogger("madang.adapters")

T = TypeVar("T")


class Intake:
    """What the namespaces of one server share of it.

    Attributes:
        received: messages that came for something that is wanted here.
        parsed: those of them that were decoded.
        unwanted: messages that were dropped before that.
        poison: messages that could not be understood.
        gaps: how often what others sent may have been missed.
        max_message: bytes that a message may have.
    """

    __slots__ = ("_broker", "_contexts", "gaps", "max_message", "parsed", "poison", "received", "unwanted")

    def __init__(self, broker: str, max_message: int) -> None:
        self.received = 0
        self.parsed = 0
        self.unwanted = 0
        self.poison = 0
        self.gaps = 0
        self.max_message = max_message
        self._broker = broker
        self._contexts: dict[str, AdapterContext] = {}

    def open(
        self, context: AdapterContext, uid: str, starts: tuple[bytes, ...] = (), ends: tuple[bytes, ...] = ()
    ) -> NamespaceIntake:
        """Begin with a namespace.

        Args:
            context: the namespace.
            uid: the name of this server in it.
            starts: what the bytes of this server's own messages begin with.
            ends: what they end with.
        """
        self._contexts[context.name] = context
        return NamespaceIntake(self, context.name, uid, (starts, ends), self._broker)

    def forget(self, context: AdapterContext) -> None:
        """A namespace has ended."""
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    def missed(self, since: float, reason: str) -> None:
        """What others sent may have been missed from then on, in seconds since 1970, till now."""
        self.gaps += 1
        for name in list(self._contexts):
            self.tell(name, "in", since, None, 0, True, reason)

    def tell(
        self,
        name: str,
        direction: Literal["in", "out"],
        since: float,
        lost: int | None,
        uncertain: int,
        over: bool,
        reason: str,
    ) -> None:
        """Tell one namespace of a gap; see `AdapterGap`."""
        context = self._contexts.get(name)
        if context is not None:
            context.adapter_gap(AdapterGap(name, direction, since, lost, uncertain, over, reason))


class NamespaceIntake:
    """The same for one namespace.

    Attributes:
        receive: gets each message of another server; to be set before anything comes.
        take: takes messages that come as the bytes of `cluster_wire`.
    """

    __slots__ = ("_broker", "_complained", "_ends", "_name", "_shared", "_starts", "_uid", "receive", "take")

    receive: Callable[[ClusterMessage], None]

    def __init__(
        self, shared: Intake, name: str, uid: str, own: tuple[tuple[bytes, ...], tuple[bytes, ...]], broker: str
    ) -> None:
        self._shared = shared
        self._name = name
        self._uid = uid
        self._starts, self._ends = own
        self._broker = broker
        self._complained = False
        self.take = self.taking(decode_message)

    def taking(self, decode: Callable[[bytes, str], ClusterMessage | None]) -> Callable[[bytes], None]:
        """What takes messages that come as bytes, which `decode` makes a message of, given the namespace's name."""
        shared, starts, ends, read = self._shared, self._starts, self._ends, self.decode

        def take(payload: bytes) -> None:
            shared.received += 1
            if not payload.startswith(starts) and not payload.endswith(ends):
                read(payload, len(payload), decode)

        return take

    def drop(self) -> None:
        """A message has come that nobody wants to know: an answer while nothing is asked, or what is known as own."""
        self._shared.received += 1

    def decode(self, raw: T, size: int, decode: Callable[[T, str], ClusterMessage | None]) -> None:
        """Decode what is not known as own, whatever its form, and let no message do harm.

        Args:
            raw: what came.
            size: its bytes.
            decode: makes a message of it, given the namespace's name; None if nothing is to be done.
        """
        shared = self._shared
        shared.parsed += 1
        try:
            if size > shared.max_message:
                raise PacketError(f"a message of {size} bytes is more than max_message")
            message = decode(raw, self._name)
            if message is not None and message.uid != self._uid:
                self.receive(message)
        except Exception as error:
            shared.poison += 1
            if not self._complained:
                self._complained = True
                self._complain(raw, error)

    def _complain(self, raw: Any, error: Exception) -> None:
        known = isinstance(error, PacketError)
        shown = raw[:100] if isinstance(raw, bytes) else raw
        logger.warning(
            "a message from %s for %s was skipped (others will be without a word): %s, %.300r",
            self._broker,
            self._name,
            error,
            shown,
            exc_info=None if known else error,
        )
