"""HTTP as it is on the wire: a library would hide what has to be seen, such as a header that came twice."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from ...transports.dialing import Address
from ..showing import visible

MOST: Final = 8 * 1024 * 1024
"""Bytes of a body that are read."""

_SHOWN: Final = 240

_TITLE: Final = re.compile(r"(?is).*?<title[^>]*>([^<]*).*")
_MARKUP: Final = re.compile(r"<[^>]*>")


class NoAnswer(Exception):
    """What came is no answer of HTTP, or nothing came; the message says what happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP.

    Attributes:
        status: the number.
        headers: names in lower case, and values, as they came.
        body: the body.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of each header of this name."""
        return [value for header, value in self.headers if header == name]

    def get(self, name: str) -> str:
        """The value of a header, or nothing."""
        return next(iter(self.all(name)), "")

    @property
    def is_html(self) -> bool:
        """Whether the body is a page for people."""
        return "html" in self.get("content-type") and self.body.lstrip()[:1] == b"<"

    @property
    def says(self) -> str:
        """The beginning of the body, as it may be displayed."""
        text = self.body[: 8 * _SHOWN].decode("utf-8", "replace")
        if self.is_html:
            text = _TITLE.sub(r"\1", _MARKUP.sub(" ", text) if "<title" not in text else text)
        text = visible(" ".join(text.split()))
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Site:
    """Where a server is, and how it is spoken to.

    Attributes:
        address: host and port.
        path: where Socket.IO is expected.
        query: parameters of each handshake.
        headers: what is sent with each request.
        timeout: seconds that an answer may take.
        tls: the context, or None for plain HTTP.
    """

    address: Address
    path: str
    timeout: float
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        """The origin of pages that this server serves."""
        return f"{'https' if self.address.secure else 'http'}://{self.address.netloc}"

    def target(self, transport: str, session_id: str | None = None) -> str:
        """The target of a request for the engine; never the same twice, so that no cache answers."""
        session = f"&sid={quote(session_id, safe='')}" if session_id is not None else ""
        query = f"&{self.query}" if self.query else ""
        return f"{self.path}?EIO=4&transport={transport}&t={secrets.token_hex(4)}{session}{query}"

    async def open(self) -> Streams:
        """A new connection.

        Raises:
            NoAnswer: there is none.
        """
        host = self.address.host
        try:
            async with asyncio.timeout(self.timeout):
                return await asyncio.open_connection(
                    host, self.address.port, ssl=self.tls, server_hostname=host if self.tls is not None else None
                )
        except TimeoutError:
            raise NoAnswer(f"no connection within {self.timeout:g} s") from None
        except OSError as error:
            raise NoAnswer(f"no connection ({visible(str(error))})") from error

    async def request(
        self,
        target: str,
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        cookies: Mapping[str, str] | None = None,
        patience: float | None = None,
    ) -> Answer:
        """The answer to a request on a connection of its own: a GET, or a POST if there is a body.

        Raises:
            NoAnswer: there is none within `patience` seconds (default: the site's timeout).
        """
        own = [("Connection", "close"), *headers]
        if body is not None:
            own += [("Content-Type", "text/plain;charset=UTF-8"), ("Content-Length", str(len(body)))]
        reader, writer = await self.open()
        try:
            async with asyncio.timeout(patience or self.timeout):
                writer.write(self.head("GET" if body is None else "POST", target, own, cookies) + (body or b""))
                return await read_answer(reader)
        except TimeoutError:
            raise NoAnswer(f"no answer within {patience or self.timeout:g} s") from None
        finally:
            await let_go(writer)

    def head(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        cookies: Mapping[str, str] | None = None,
    ) -> bytes:
        """The head of a request."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.address.netloc}", "User-Agent: madang-doctor"]
        lines += [f"{name}: {value}" for name, value in (*headers, *self.headers)]
        if cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()))
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def let_go(writer: asyncio.StreamWriter) -> None:
    """Close a connection, without waiting for a peer that does not answer."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read an answer.

    Raises:
        NoAnswer: it is none.
    """
    try:
        status, headers = await read_head(reader)
        while 100 <= status < 200 and status != 101:
            status, headers = await read_head(reader)
        return Answer(status, headers, await _read_body(reader, status, dict(headers)))
    except asyncio.IncompleteReadError as error:
        seen = "in the middle of an answer" if error.partial else "without an answer"
        raise NoAnswer(f"the connection was closed {seen}") from None
    except OSError as error:
        raise NoAnswer(f"the connection broke ({visible(str(error))})") from None
    except ValueError as error:
        raise NoAnswer(f"what came is no HTTP ({visible(str(error))[:_SHOWN]})") from None
    except asyncio.LimitOverrunError:
        raise NoAnswer("what came is no HTTP (a line without end)") from None


async def read_head(reader: asyncio.StreamReader) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers.

    Raises:
        ValueError: it is no HTTP.
        asyncio.IncompleteReadError: the connection ended.
    """
    first = (await reader.readuntil(b"\n")).decode("latin-1").split(None, 2)
    if len(first) < 2 or not first[0].startswith("HTTP/") or not first[1].isdigit():
        raise ValueError(" ".join(first))
    headers: list[tuple[str, str]] = []
    while line := (await reader.readuntil(b"\n")).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers.append((name.strip().lower(), value.strip()))
    return int(first[1]), headers


async def _read_body(reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> bytes:
    if status in (101, 204, 304):
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    if (length := headers.get("content-length")) is not None:
        return await reader.readexactly(_bounded(int(length)))
    parts = b""
    while (part := await reader.read(65536)) and len(parts) < MOST:
        parts += part
    return parts


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := _bounded(int((await reader.readuntil(b"\n")).split(b";")[0], 16)):
        body += await reader.readexactly(size)
        _bounded(len(body))
        await reader.readuntil(b"\n")
    await reader.readuntil(b"\n")
    return body


def _bounded(size: int) -> int:
    if not 0 <= size <= MOST:
        raise ValueError(f"a body of {size} bytes")
    return size
