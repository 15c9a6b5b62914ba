"""What a server answers to a CONNECT: the ids of a namespace's session, or a refusal."""

from __future__ import annotations

from typing import Any, Final, cast

from ..errors import ConnectError, PacketError

_LONGEST_ID: Final = 1024

_OLD_SERVER: Final = (
    "the server answered as one of Socket.IO 2 does, which clients of version 3 and later cannot speak to; update it"
)


def read_ids(data: Any) -> tuple[str, str | None]:
    """The id, and the private id of a session that can be recovered or None.

    Raises:
        ConnectError: it is the answer of a server that is too old.
        PacketError: it is no valid answer.
    """
    said = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    session_id, pid = said.get("sid"), said.get("pid")
    if session_id is None:
        raise ConnectError(_OLD_SERVER)
    if not isinstance(session_id, str) or len(session_id) > _LONGEST_ID:
        raise PacketError("the id of a namespace must be text, and not too long")
    if pid is not None and (not isinstance(pid, str) or len(pid) > _LONGEST_ID):
        raise PacketError("the private id of a namespace must be text, and not too long")
    return session_id, pid


def read_refusal(data: Any) -> ConnectError:
    """What the server's application says to one that it does not let in."""
    if not isinstance(data, dict):
        return ConnectError(str(data))
    said = cast("dict[str, Any]", data)
    message = said.get("message")
    return ConnectError(str(message) if message is not None else "refused", said.get("data"))
