"""Handlers whose annotations are strings, for the signature tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from madang import Ack


@dataclass
class Message:
    text: str
    times: int = 1


def typed(socket: Any, message: Message, ack: Ack) -> Message:
    return message


def nested(socket: Any, messages: list[Message], names: dict[str, int] | None = None) -> None: ...
