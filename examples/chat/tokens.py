"""Log-in tokens: who somebody is and until when, signed with HMAC-SHA256 so that nobody can make one up."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import TYPE_CHECKING

import msgspec

from .events import User

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEEK = 7 * 24 * 3600.0


class TokenError(Exception):
    """A token that is not accepted; `code` is for the page, the message for people."""

    def __init__(self, message: str, code: str) -> None:
        """Keep the machine-readable code beside the message."""
        super().__init__(message)
        self.code = code


class Claims(msgspec.Struct, frozen=True):
    """What a token says."""

    user: User
    expires: float


class Tokens:
    """Issues and reads the tokens of one secret."""

    def __init__(self, secret: bytes, lifetime: float = WEEK, clock: Callable[[], float] = time.time) -> None:
        """Sign with `secret`; tokens end `lifetime` seconds after they were issued."""
        self._secret = secret
        self._lifetime = lifetime
        self._clock = clock

    def issue(self, user: User) -> str:
        """Return a token for this person."""
        body = urlsafe_b64encode(msgspec.json.encode(Claims(user, self._clock() + self._lifetime)))
        return f"{body.decode()}.{self._sign(body)}"

    def read(self, token: object) -> User:
        """Return whose token it is, or raise a TokenError that says what is wrong with it."""
        if not token:
            raise TokenError("No token was sent: log in first.", code="token_missing")
        if not isinstance(token, str) or not token.isascii():
            raise TokenError("The token is not valid.", code="token_invalid")
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(self._sign(body.encode()), signature):
            raise TokenError("The token is not valid.", code="token_invalid")
        try:
            claims = msgspec.json.decode(urlsafe_b64decode(body), type=Claims)
        except (NotBase64, msgspec.DecodeError) as error:
            raise TokenError("The token is of another version: log in again.", code="token_invalid") from error
        if claims.expires <= self._clock():
            raise TokenError("The token has expired: log in again.", code="token_expired")
        return claims.user

    def _sign(self, body: bytes) -> str:
        return hmac.digest(self._secret, body, "sha256").hex()


def load_secret(path: Path) -> bytes:
    """Return the secret kept in a file only its owner can read, making it the first time."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    secret = secrets.token_hex(32).encode()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    return secret
