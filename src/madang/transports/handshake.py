"""The opening handshake of WebSocket, the server's side (RFC 6455, section 4.2)."""

from __future__ import annotations

import binascii
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1
from typing import Final

from ..engine.http import Request

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_LENGTH: Final = 24  # 16 bytes in base64


def problem_with(request: Request) -> str | None:
    """Why a request is no handshake, in words for its sender; None if it is one."""
    headers = request.headers
    if request.method != "GET":
        return "a WebSocket handshake is a GET request"
    if headers.get("upgrade", "").lower() != "websocket":
        return "the header Upgrade must be websocket"
    connection = headers.get("connection", "").lower()
    if connection != "upgrade" and "upgrade" not in (token.strip() for token in connection.split(",")):
        return "the header Connection must name upgrade"
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return "a WebSocket handshake has no body"
    key = headers.get("sec-websocket-key", "")
    try:
        valid = len(key) == _KEY_LENGTH and len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except ValueError:
        valid = False
    return None if valid else "the header Sec-WebSocket-Key must be 16 bytes in base64"


def problem_with_close(payload: bytes) -> int:
    """The code that answers a close frame with this payload; 0 if nothing is wrong with it (RFC 6455, section 7.4)."""
    if not payload:
        return 0
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not ((1000 <= code <= 1014 and not 1004 <= code <= 1006) or 3000 <= code <= 4999):
        return 1002
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return 1007
    return 0


def acceptance(request: Request, headers: Sequence[tuple[str, str]]) -> bytes:
    """The response 101 to a valid handshake.

    Args:
        request: the handshake.
        headers: further headers of the response.
    """
    key = request.headers["sec-websocket-key"].encode()
    lines = [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
        + b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    ]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"
