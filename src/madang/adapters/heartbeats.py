"""Which servers are there, known by what they say: as Node's cluster adapters do where no broker can tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .messages import ClusterMessage, Kind
from .wire import EMITTER

PERIOD: Final = 0.2
"""The part of the shorter one of interval and timeout after which leases are looked at again."""

MOST_SERVERS: Final = 10_000
"""Servers that are kept in mind; whoever makes names up cannot fill the memory."""


class Heartbeats:
    """The servers of one namespace. Each has a lease, which all that it says renews.

    Time in which this server itself did nothing, or could hear nobody, ends no lease.

    Args:
        interval: seconds after which a server that has said nothing else says that it lives.
        timeout: seconds after which one that has said nothing is gone.
        say: tells the others of one's own heartbeats.
        now: the time, in seconds; must never go back.
    """

    __slots__ = ("_heard", "_interval", "_looked", "_now", "_said", "_say", "_timeout", "period")

    def __init__(
        self, interval: float, timeout: float, say: Callable[[Kind], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval
        self._timeout = timeout
        self._say = say
        self._now = now
        self._heard: dict[str, float] = {}
        self._looked = self._said = now()
        self.period = min(1.0, PERIOD * min(interval, timeout))

    @property
    def names(self) -> frozenset[str]:
        """The names of the other servers."""
        return frozenset(self._heard)

    def join(self) -> None:
        """Say that one is there, and ask who else is."""
        self._say(Kind.INITIAL_HEARTBEAT)

    def leave(self) -> None:
        """Say that one goes, and forget the others."""
        self._say(Kind.ADAPTER_CLOSE)
        self._heard.clear()

    def said(self) -> None:
        """Something was said to all others, which is as good as a heartbeat."""
        self._said = self._now()

    def heard(self, message: ClusterMessage) -> bool:
        """Another one has said something.

        Returns:
            Whether it was more than that it is there, or is not.
        """
        uid = message.uid
        if uid is not None and uid != EMITTER:
            if message.kind is Kind.ADAPTER_CLOSE:
                self._heard.pop(uid, None)
            elif uid in self._heard or len(self._heard) < MOST_SERVERS:
                self._heard[uid] = self._now()
        if message.kind is Kind.INITIAL_HEARTBEAT:
            self._say(Kind.HEARTBEAT)
        return message.kind not in (Kind.INITIAL_HEARTBEAT, Kind.HEARTBEAT, Kind.ADAPTER_CLOSE)

    def look(self, hearing: bool) -> None:
        """To be called each `period`: forget those who are gone, and say that one lives.

        Args:
            hearing: whether what others say would arrive at present.
        """
        now = self._now()
        passed, self._looked = now - self._looked, now
        lost = passed - self.period if passed > 2 * self.period else 0.0
        if not hearing:
            lost = passed
        heard = self._heard
        if lost > 0:
            for uid, when in heard.items():
                heard[uid] = min(now, when + lost)
        for uid in [uid for uid, when in heard.items() if now - when > self._timeout]:
            del heard[uid]
        if hearing and now - self._said >= self._interval:
            self._say(Kind.HEARTBEAT)
