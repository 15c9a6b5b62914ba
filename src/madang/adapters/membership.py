"""Which servers are there, and which of them are not worth waiting for."""

from __future__ import annotations


class Membership:
    """What is known of the other servers of a namespace.

    A server that let a question run out of time is silent until something is heard from it again: later questions give
    it a moment, and then name it among the missing.

    Attributes:
        silent: the names of the silent ones.
        last_count: how many others there were when they were last counted.
    """

    __slots__ = ("last_count", "silent")

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.last_count = 0

    def heard(self, uid: str | None) -> None:
        """A server has said something."""
        if uid is not None and self.silent:
            self.silent.discard(uid)

    def present(self, names: frozenset[str]) -> None:
        """These are there at present; who is not is forgotten."""
        self.silent &= names
        self.last_count = len(names)

    def let_down(self, names: frozenset[str]) -> None:
        """These did not answer in time."""
        self.silent |= names
