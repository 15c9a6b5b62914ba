"""Questions that other servers are asked: who has answered, who is still to, and when it is time to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from ..types import Room
from .adapter import PendingAcks

T = TypeVar("T")


class Found(list[T]):
    """What was found on all servers, and who did not answer.

    Attributes:
        missing: how many servers did not answer in time.
        missing_nodes: the names of those among whom they are; as many as `missing` if it is known exactly.
    """

    missing: int = 0
    missing_nodes: frozenset[str] = frozenset()


class FoundRooms(set[Room]):
    """The rooms of all servers; see `Found` for the attributes."""

    missing: int = 0
    missing_nodes: frozenset[str] = frozenset()


class Question:
    """One question to all other servers.

    Servers are counted, since not all answer under their name; once their names are known, a server that is gone or
    silent is not waited for.
    """

    __slots__ = ("_alive", "_expected", "_named", "_silent", "_unnamed", "done", "parts")

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.done = asyncio.get_running_loop().create_future()
        self._expected: int | None = None
        self._alive: frozenset[str] | None = None
        self._silent: frozenset[str] = frozenset()
        self._named: set[str] = set()
        self._unnamed = 0

    def expect(self, others: int) -> None:
        """So many servers were asked."""
        self._expected = others
        self._check()

    def alive(self, names: frozenset[str], silent: Iterable[str]) -> None:
        """Only these are still there, and from some of them nothing is to be expected."""
        self._alive = names
        self._silent = names.intersection(silent)
        self._check()

    def answered(self, uid: str | None, parts: Iterable[Any]) -> None:
        """A server has answered."""
        if uid is None:
            self._unnamed += 1
        elif uid in self._named:
            return
        else:
            self._named.add(uid)
        self.parts += parts
        self._check()

    @property
    def missing(self) -> int:
        """How many have not answered."""
        if self._alive is not None:
            return max(0, len(self._alive - self._named) - self._unnamed)
        answers = len(self._named) + self._unnamed
        return max(0, self._expected - answers) if self._expected is not None else 0

    @property
    def exact(self) -> bool:
        """Whether `missing_nodes` are all missing, and not only some of them."""
        return len(self.missing_nodes) == self.missing

    @property
    def missing_nodes(self) -> frozenset[str]:
        """The names of those among whom the missing ones are; empty if none are missing or names are not known."""
        return self._alive - self._named if self._alive is not None and self.missing else frozenset()

    def _check(self) -> None:
        if self.done.done() or self._expected is None:
            return
        if self._alive is None:
            over = self.missing == 0
        else:
            over = len(self._alive - self._named - self._silent) <= self._unnamed
        if over:
            self.done.set_result(None)


class _RemoteClient:
    """A client of another server, whose answer is awaited."""

    __slots__ = ()

    def forget_ack(self, ack_id: int) -> None:
        """Nothing is kept for it here."""


class AckQuestion(Question):
    """A broadcast that asks the clients of other servers for answers.

    Done when every server has said how many clients it has asked; over when all of them have answered as well.
    """

    __slots__ = ("_early", "_pending", "_waiting", "over")

    def __init__(self, pending: PendingAcks) -> None:
        super().__init__()
        self._pending = pending
        self._waiting: dict[str | None, list[_RemoteClient]] = {}
        self._early: dict[str | None, list[Any]] = {}
        self.over = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(self._all_asked)

    def counted(self, uid: str | None, clients: int) -> None:
        """A server has asked so many clients."""
        waiting = self._waiting.setdefault(uid, [])
        for _ in range(clients):
            client = _RemoteClient()
            self._pending.expect(client)
            waiting.append(client)
        early = self._early.pop(uid, [])
        self.answered(uid, ())
        for value in early:
            self.acknowledged(uid, value)

    def acknowledged(self, uid: str | None, value: Any) -> None:
        """A client of that server has answered."""
        waiting = self._waiting.get(uid)
        if waiting:
            self._pending.resolve([value], waiting.pop())
            self._check_over()
        elif uid not in self._named:
            self._early.setdefault(uid, []).append(value)

    def alive(self, names: frozenset[str], silent: Iterable[str]) -> None:
        """Clients of a server that is gone will not answer."""
        super().alive(names, silent)
        for uid in [known for known in self._waiting if known is not None and known not in names]:
            for client in self._waiting.pop(uid):
                self._pending.fail("its server is gone", client)
        self._check_over()

    def _all_asked(self, _: object) -> None:
        if not self.done.cancelled():
            self._pending.all_sent()
            self._check_over()

    def _check_over(self) -> None:
        if self.done.done() and not self.over.done() and not any(self._waiting.values()):
            self.over.set_result(None)
