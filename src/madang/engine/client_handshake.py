"""What a server says of itself in its first packet; believed within limits only."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from ..errors import PacketError
from ..protocol.values import loads

_LONGEST_WAIT: Final = 86400.0
"""Seconds; a heartbeat that is to wait longer is no heartbeat."""

_LONGEST_ID: Final = 1024

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Opening(NamedTuple):
    """A server's handshake; times in seconds, and `max_payload` is None if it is not said."""

    session_id: str
    upgrades: list[str]
    ping_interval: float
    ping_timeout: float
    max_payload: int | None
    said: dict[str, Any]


def read_opening(data: bytes) -> Opening:
    """Read a server's handshake (protocol v4, "Handshake").

    Raises:
        PacketError: it is none, or says what cannot be.
    """
    said: Any = loads(data)
    if not isinstance(said, dict):
        raise PacketError("the handshake must be an object")
    session_id, upgrades = said.get("sid"), said.get("upgrades", [])  # pyright: ignore
    if not isinstance(session_id, str) or not 0 < len(session_id) <= _LONGEST_ID or _SURROGATE.search(session_id):
        raise PacketError("the handshake has no session id, or one that no URL can hold")
    if not isinstance(upgrades, list):
        raise PacketError("the handshake's upgrades must be a list")
    return Opening(
        session_id,
        [name for name in upgrades if isinstance(name, str)],  # pyright: ignore[reportUnknownVariableType]
        _seconds(said, "pingInterval"),  # pyright: ignore[reportUnknownArgumentType]
        _seconds(said, "pingTimeout"),  # pyright: ignore[reportUnknownArgumentType]
        _limit(said.get("maxPayload")),  # pyright: ignore
        said,  # pyright: ignore[reportUnknownArgumentType]
    )


def _seconds(said: dict[str, Any], name: str) -> float:
    """A time of the handshake, which is in milliseconds."""
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise PacketError(f"the handshake's {name} must be a number of milliseconds")
    return min(value, _LONGEST_WAIT * 1000) / 1000


def _limit(value: Any) -> int | None:
    """The handshake's `maxPayload`, which older servers leave out."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        raise PacketError("the handshake's maxPayload must be a number of bytes")
    return int(min(value, 1 << 62))
