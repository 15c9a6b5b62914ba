"""The clients of this server that answer a broadcast of another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..protocol.encoded import Encoded


class Relay:
    """Passes on the first value of each answer; what has not come in time is forgotten.

    Args:
        ack_id: the id under which the clients answer.
        send: passes an answer on.
        timeout: seconds for which answers are awaited.
    """

    __slots__ = ("_ack_id", "_handle", "_send", "_waiting")

    def __init__(self, ack_id: int, send: Callable[[Any], None], timeout: float) -> None:
        self._ack_id = ack_id
        self._send = send
        self._waiting: dict[Any, None] = {}
        self._handle = asyncio.get_running_loop().call_later(timeout, self._give_up)

    def ask(self, sink: Any, encoded: Encoded) -> None:
        """Send the event to one client."""
        sink.expect_ack(self._ack_id, self)
        self._waiting[sink] = None
        sink.write(encoded)

    def resolve(self, values: list[Any], recipient: object) -> None:
        """A client has answered."""
        self._gone(recipient)
        self._send(values[0] if values else None)

    def fail(self, reason: str, recipient: object) -> None:
        """A client has gone; who asked has no way to be told, and its time runs out."""
        self._gone(recipient)

    def _gone(self, recipient: object) -> None:
        self._waiting.pop(recipient, None)
        if not self._waiting:
            self._handle.cancel()

    def _give_up(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for sink in waiting:
            sink.forget_ack(self._ack_id)
