"""Connections to NATS, which nats-py makes: what a URL says, TLS, credentials; and the bytes of commands."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ...errors import OptionError
from ..link import retrieve
from .options import NatsOptions

try:
    from nats.aio.client import Client
    from nats.errors import Error
except ImportError:
    raise OptionError("a cluster over NATS needs nats-py: pip install 'madang[nats]'") from None

logger = logging.getLogger("madang.adapters")

BROKEN: Final = (Error, OSError, TimeoutError, EOFError, ValueError)
"""What means that a connection is of no more use; the last for a server that does not speak NATS's protocol."""

TURN: Final = 64
"""Messages that are handled before the loop may do something else."""

LINE_LIMIT: Final = 65_536
"""Bytes that a line may have which is no message; a server tells all servers of its cluster in one."""

_PING, _PONG = b"PING\r\n", b"PONG\r\n"
_SUBJECT: Final = re.compile(r'"([^"]*)"')


class Message(NamedTuple):
    """What is sent."""

    subject: str
    payload: bytes


class NatsBroker:
    """Makes connections to NATS.

    Args:
        servers: where it is; one of them is chosen.
        options: the options.
    """

    name = "NATS"
    broken = BROKEN

    def __init__(self, servers: list[str], options: NatsOptions) -> None:
        self.timeout = options.timeout
        self._servers = servers
        self._options = options

    async def connect(self, on_message: Callable[[str, bytes], None] | None = None) -> NatsConnection:
        """A connection.

        Args:
            on_message: called with the subject that was asked for, and the bytes.

        Raises:
            Error: no connection; one of `BROKEN`.
        """
        client: Any = Client()
        more: dict[str, Any] = {}
        if self._options.credentials is not None:
            more["user_credentials"] = self._options.credentials
        try:
            async with asyncio.timeout(self.timeout):
                await client.connect(
                    list(self._servers),
                    name="madang",
                    error_cb=_ignore,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=self.timeout,
                    tls=self._options.tls,
                    **more,
                )
            return NatsConnection(client, on_message)
        except BaseException:
            await _end(client)
            raise


async def _ignore(_: Exception) -> None:
    """What nats-py tells of failures is raised as well."""


async def _end(client: Any) -> None:
    """End what nats-py has begun; it does not do that itself if it could not connect."""
    for task in (client._reading_task, client._ping_interval_task, client._flusher_task):
        if task is not None:
            task.cancel()
    transport = client._transport
    if transport is not None and transport._io_writer is not None:
        transport._io_writer.transport.abort()


class NatsConnection(asyncio.Protocol):
    """A connection that nats-py has made, and from then on without it: all in order, and no task for each subject.

    Args:
        made: nats-py's client; it is connected, and has said who it is.
        on_message: see `NatsBroker.connect`.

    Attributes:
        ended: has a result, or an exception, once the connection has ended.
        max_payload: bytes that the server takes.
    """

    def __init__(self, made: Any, on_message: Callable[[str, bytes], None] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._made = made
        self._on_message = on_message
        self.max_payload: int = made.max_payload
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.ended.add_done_callback(retrieve)
        self._buffer = bytearray()
        self._place = 0
        self._draining = False
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._subjects: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0
        self._violations: dict[str, str] = {}
        # what nats-py does not promise to keep; pyproject.toml bounds its version
        for task in (made._reading_task, made._ping_interval_task, made._flusher_task):
            task.cancel()
        reader = made._transport._io_reader
        self._transport: asyncio.Transport = made._transport._io_writer.transport
        self._transport.set_protocol(self)
        if reader._paused:
            self._transport.resume_reading()
        if reader.at_eof() or self._transport.is_closing():
            self.connection_lost(None)
        elif reader._buffer:
            self.data_received(bytes(reader._buffer))

    # out

    async def send(self, items: Sequence[Message]) -> Mapping[int, str]:
        """See `outgoing.OutLine`."""
        refused: dict[int, str] = {}
        parts: list[bytes] = []
        self._violations.clear()
        for number, (subject, payload) in enumerate(items):
            if len(payload) > self.max_payload:
                refused[number] = f"{len(payload)} bytes are more than its max_payload, {self.max_payload}"
            else:
                parts.append(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))
        await self._confirmed(parts)
        if self._violations:
            for number, item in enumerate(items):
                if item.subject in self._violations:
                    refused[number] = self._violations[item.subject]
        return refused

    async def listen(self, more: Sequence[str], less: Sequence[str]) -> None:
        """See `incoming.InLine`."""
        parts: list[bytes] = []
        for subject in less:
            number = self._numbers.pop(subject)
            del self._subjects[number]
            parts.append(b"UNSUB %d\r\n" % number)
        for subject in more:
            self._count += 1
            self._numbers[subject], self._subjects[self._count] = self._count, subject
            parts.append(b"SUB %b %d\r\n" % (subject.encode(), self._count))
        await self._confirmed(parts)

    async def _confirmed(self, parts: list[bytes]) -> None:
        """Send commands, and wait until the server has read them."""
        if self.ended.done():
            self.ended.result()
            raise ConnectionResetError("the connection was closed")
        pong: asyncio.Future[None] = self._loop.create_future()
        pong.add_done_callback(retrieve)
        self._pongs.append(pong)
        self._transport.write(b"".join((*parts, _PING)))
        await pong

    # in

    def data_received(self, data: bytes) -> None:
        """What the server says, or parts of it."""
        self._buffer += data
        if not self._draining:
            self._drain()

    def _drain(self) -> None:
        """Handle some of it; the rest when the loop has done something else."""
        if self.ended.done():
            return
        try:
            for _ in range(TURN):
                if not self._step():
                    del self._buffer[: self._place]
                    self._place = 0
                    if self._draining:
                        self._draining = False
                        if not self._transport.is_closing():
                            self._transport.resume_reading()
                    return
        except (ValueError, IndexError) as error:
            self._fail(ValueError(f"it does not speak NATS's protocol: {error}"))
            return
        if not self._draining:
            self._draining = True
            self._transport.pause_reading()
        self._loop.call_soon(self._drain)

    def _step(self) -> bool:
        """Handle one line, with the message that belongs to it; False if it is not there yet."""
        buffer, start = self._buffer, self._place
        end = buffer.find(b"\r\n", start)
        if end < 0:
            if len(buffer) - start > LINE_LIMIT:
                raise ValueError("a line without an end")
            return False
        line = bytes(buffer[start:end])
        if line.startswith((b"MSG ", b"HMSG ")):
            words = line.split()
            begin = end + 2
            stop = begin + int(words[-1])
            if len(buffer) < stop + 2:
                return False
            self._place = stop + 2
            if line.startswith(b"H"):
                begin += int(words[-2])
            subject = self._subjects.get(int(words[2]))
            if subject is not None and self._on_message is not None:
                self._on_message(subject, bytes(buffer[begin:stop]))
            return True
        self._place = end + 2
        self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        word = line[:4].upper()
        if word == b"PING":
            self._transport.write(_PONG)
        elif word == b"PONG":
            pong = self._pongs.popleft()
            if not pong.done():
                pong.set_result(None)
        elif word == b"-ERR":
            self._refused(line[4:].decode(errors="replace").strip(" '"))
        elif word not in (b"INFO", b"+OK"):
            raise ValueError(f"{line[:40]!r}")

    def _refused(self, reason: str) -> None:
        """The server does not want something; unless that was a subject that is not allowed, it will hang up."""
        if not reason.lower().startswith("permissions violation"):
            self._fail(ConnectionAbortedError(reason))
            return
        logger.warning("NATS refuses: %s", reason)
        for subject in _SUBJECT.findall(reason):
            self._violations[subject] = reason

    # its end

    def _fail(self, error: Exception) -> None:
        self._finish(error)
        self._transport.abort()

    def _finish(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(error)
        self._pongs.clear()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has ended; what has come before that counts."""
        while self._draining and not self.ended.done():
            self._drain()
        self._finish(exc if isinstance(exc, OSError) else ConnectionResetError("NATS has closed the connection"))

    async def close(self) -> None:
        """End it."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.abort()
