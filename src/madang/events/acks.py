"""Acknowledgements: answering a client's, and waiting for clients' answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from ..errors import AckTimeout, SocketClosed

NEVER: Final = float("inf")


class Acknowledger(Protocol):
    """What an `Ack` answers through."""

    def acknowledge(self, ack_id: int, values: tuple[Any, ...]) -> None:
        """Send an acknowledgement."""
        ...


class Ack:
    """Answers a client by hand; a handler gets one for a parameter annotated with this type.

    Calling it a second time does nothing, and so does calling it when the client asked for no answer.

    Attributes:
        wanted: whether the client asked for an answer.
        sent: whether it has been given.
    """

    __slots__ = ("_id", "_socket", "sent")

    def __init__(self, socket: Acknowledger, ack_id: int | None) -> None:
        self._socket = socket
        self._id = ack_id
        self.sent = False

    @property
    def wanted(self) -> bool:
        """Whether the client asked for an answer."""
        return self._id is not None

    def __call__(self, *values: Any) -> None:
        """Answer with `values`."""
        if self._id is not None and not self.sent:
            self.sent = True
            self._socket.acknowledge(self._id, values)


def result_of(values: list[Any]) -> Any:
    """What an answer of several values is in Python: nothing is None, one is itself, more are a tuple."""
    return None if not values else values[0] if len(values) == 1 else tuple(values)


def error_without_data(values: Sequence[Any]) -> dict[str, Any]:
    """What an acknowledgement that cannot be sent becomes: its error without the data, or an internal error."""
    answer: Any = values[0] if len(values) == 1 else None
    try:
        return {name: part for name, part in answer["error"].items() if name != "data"}
    except (TypeError, KeyError, AttributeError):
        return {"code": "internal_error", "message": "internal error"}


class Asker(Protocol):
    """Whose questions are answered: a socket, at either end."""

    def forget_ack(self, ack_id: int) -> None:
        """Nobody waits for this answer any more."""
        ...


class PendingAck(asyncio.Future[Any]):
    """One answer that is awaited from one peer: the very future that the asker waits for.

    It is made by `ask`, or by who sets its attributes at once: there is a question for each, so each call counts.

    Attributes:
        asker: who is told when nobody waits any more; None once that is so.
        ack_id: the question's number.
        due: when it is given up, for an asker that looks after that itself; infinite if it does not.
        timer: gives it up, or None.
    """

    __slots__ = ("ack_id", "asker", "due", "timer")

    asker: Asker | None
    ack_id: int
    due: float
    timer: asyncio.TimerHandle | None

    @classmethod
    def ask(cls, asker: Asker, ack_id: int, timeout: float | None) -> PendingAck:
        """Await the answer to a question, for `timeout` seconds or without end."""
        loop = asyncio.get_running_loop()
        pending = cls(loop=loop)
        pending.asker = asker
        pending.ack_id = ack_id
        pending.due = NEVER
        pending.timer = None if timeout is None else loop.call_later(timeout, pending.give_up)
        return pending

    def resolve(self, values: list[Any], recipient: object) -> None:
        """The answer has come, and its number has been forgotten."""
        self.asker = None
        if self.timer is not None:
            self._stop_timer()
        if not self.done():
            self.set_result(None if not values else values[0] if len(values) == 1 else tuple(values))

    def fail(self, reason: str, recipient: object) -> None:
        """The peer is gone, and the question's number has been forgotten."""
        self.asker = None
        self.end(SocketClosed(reason))

    def give_up(self) -> None:
        """No answer came in time."""
        self.end(AckTimeout())

    def end(self, error: Exception) -> None:
        """There will be no answer; it is no fault if nobody asks why."""
        self._let_go()
        if not self.done():
            self.set_exception(error)
            self.exception()

    def cancel(self, msg: Any | None = None) -> bool:
        """See `asyncio.Future`: who waited does not wait any more."""
        self._let_go()
        return super().cancel(msg)

    def _let_go(self) -> None:
        self._stop_timer()
        asker, self.asker = self.asker, None
        if asker is not None:
            asker.forget_ack(self.ack_id)

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
