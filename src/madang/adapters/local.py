"""The cluster of several workers on one machine: each has a line to each other, and nobody stands between.

A worker listens on a local socket in the folder that all share, and connects to those of the others; it speaks on the
lines that it has opened, and hears on those that were opened to it. What a broadcast carries is the message as clients
get it, encoded once by whoever has sent it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ..protocol.encoded import Encoded
from ..protocol.plain import whole
from ..protocol.values import JsonEncoder, loads
from ..tasks import Tasks
from ..types import Room
from .adapter import AdapterContext, BroadcastOptions
from .cluster import ClusterAdapter
from .local_stores import LocalStores
from .local_wire import decoder, encode, encode_plainly
from .memory import MemoryAdapter
from .messages import AdapterGap, AdapterHealth, ClusterMessage, Kind
from .recovery import RecoveryBackend, RecoveryLimits, RecoveryOwner

logger = logging.getLogger("madang.adapters")

SUFFIX: Final = ".line"

REQUESTS_TIMEOUT: Final = 5.0

LIMIT: Final = 64 * 1024 * 1024
"""Bytes that may wait for one worker; what is more is lost, and told as a gap."""

_HEAD: Final = 4
_MESSAGE_LIMIT: Final = 256 * 1024 * 1024
_PATIENCE: Final = 5.0
_AGAIN: Final = 0.05


class _Event(msgspec.Struct, array_like=True):
    """A broadcast that wants no answer."""

    options: BroadcastOptions
    compress: bool
    text: bytes
    attachments: list[bytes]


class _Line(asyncio.Protocol):
    """A line to another worker, on which this one speaks."""

    def __init__(self, name: str, ended: Callable[[_Line], object]) -> None:
        self._ended = ended
        self.transport: asyncio.Transport | None = None
        self.name = name

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        self.transport = transport
        transport.set_write_buffer_limits(high=LIMIT)

    @property
    def buffered(self) -> int:
        """Bytes that wait for the other worker."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def write(self, frame: bytes) -> bool:
        """Say something; False if too much waits already."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return True  # there is nobody any more
        if transport.get_write_buffer_size() + len(frame) > LIMIT:
            return False
        transport.write(frame)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(self)


class _Ear(asyncio.Protocol):
    """A line that another worker has opened, on which it speaks."""

    def __init__(self, heard: Callable[[_Ear, bytes], object], ended: Callable[[_Ear], object]) -> None:
        self._heard = heard
        self._ended = ended
        self._data = bytearray()
        self.uid = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._data
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD:
            size = int.from_bytes(buffer[start : start + _HEAD], "big")
            if size > _MESSAGE_LIMIT and self.transport is not None:
                self.transport.abort()
                return
            end = start + _HEAD + size
            if len(buffer) < end:
                break
            self._heard(self, bytes(buffer[start + _HEAD : end]))
            start = end
        if start:
            del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(self)


class LocalCluster:
    """What all namespaces of one worker share: its lines.

    Args:
        folder: where the workers' sockets are; nobody else may enter it.
        number: which worker this is.

    Attributes:
        received: messages that came for a namespace and room that are here.
        unwanted: messages that were dropped by the name of their namespace or room.
        published: messages that were sent, to however many.
        lost: messages that a worker did not get, since too much waited for it.
        poison: messages that could not be understood.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._number = number
        self.uid = f"{number}.{os.getpid()}"
        self._lines: dict[str, _Line] = {}
        self._ears: set[_Ear] = set()
        self._connecting: set[str] = set()
        self._closed = False
        self._backends: dict[str, _Backend] = {}
        self._tasks = Tasks()
        self._server: asyncio.AbstractServer | None = None
        self._changed = asyncio.Event()
        self._losing: dict[str, float] = {}
        self.received = 0
        self.unwanted = 0
        self.published = 0
        self.lost = 0
        self.poison = 0
        self.stores = LocalStores(self)

    # what the server asks

    def make(self, context: AdapterContext) -> ClusterAdapter:
        """The adapter of a namespace."""
        backend = self._backends[context.name] = _Backend(self, context)
        return ClusterAdapter(context, backend, REQUESTS_TIMEOUT)

    def recover(
        self, adapter: MemoryAdapter, context: AdapterContext, limits: RecoveryLimits, owner: RecoveryOwner
    ) -> RecoveryBackend:
        """See `RecoverySource`."""
        return self.stores.recover(adapter, context, limits, owner)

    def start(self) -> None:
        """See `opened`, which does it."""

    async def opened(self) -> None:
        """Have a line to each worker that is there, and be heard by each; waits a bounded time for that."""
        loop = asyncio.get_running_loop()
        path = self._path(self._number)
        with suppress(FileNotFoundError):
            path.unlink()
        self._server = await loop.create_unix_server(lambda: _Ear(self._take, self._ear_ended), str(path))
        others = [found.stem for found in self._folder.glob(f"*{SUFFIX}") if found.stem != str(self._number)]
        for other in others:
            self._connect(other)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self._connecting or not set(self._lines) <= {number_of(ear.uid) for ear in self._ears}:
                    self._changed.clear()
                    await self._changed.wait()
        await self.stores.learn()

    async def close(self) -> None:
        """Say what is still to be said, and hang up."""
        self._closed = True
        if self._server is not None:
            self._server.close()
            with suppress(FileNotFoundError):
                self._path(self._number).unlink()
        for line in tuple(self._lines.values()):
            if line.transport is not None:
                line.transport.close()
        for ear in tuple(self._ears):
            if ear.transport is not None:
                ear.transport.close()
        await self._tasks.finish(0.0)

    @property
    def health(self) -> AdapterHealth:
        """How the lines are."""
        return AdapterHealth(
            queued_bytes=sum(line.buffered for line in self._lines.values()),
            published=self.published,
            received=self.received,
            parsed=self.received,
            unwanted=self.unwanted,
            poison=self.poison,
            lost=self.lost,
        )

    # lines

    def _path(self, number: int | str) -> Path:
        return self._folder / f"{number}{SUFFIX}"

    def _connect(self, number: str) -> None:
        if not self._closed and number not in self._lines and number not in self._connecting:
            self._connecting.add(number)
            self._tasks.own(asyncio.get_running_loop().create_task(self._open(number)))

    async def _open(self, number: str) -> None:
        loop, path = asyncio.get_running_loop(), str(self._path(number))
        try:
            while True:
                try:
                    transport, line = await loop.create_unix_connection(lambda: _Line(number, self._line_ended), path)
                except OSError:
                    if not self._hears(number):
                        return  # it has ended, and left its socket
                    await asyncio.sleep(_AGAIN)  # one that is there now, under the number of one that has ended
                else:
                    break
            if not transport.is_closing():
                self._lines[number] = line
                line.write(framed(self.uid.encode()))
        finally:
            self._connecting.discard(number)
            self._changed.set()

    def _hears(self, number: str) -> bool:
        """Whether a worker with this number has a line to here."""
        return any(number_of(ear.uid) == number for ear in self._ears)

    def _line_ended(self, line: _Line) -> None:
        if self._lines.get(line.name) is line:
            del self._lines[line.name]
            self._losing.pop(line.name, None)
            if self._hears(line.name):  # perhaps its successor's, which was faster than the news of its end
                self._connect(line.name)
        self._changed.set()

    def _ear_ended(self, ear: _Ear) -> None:
        self._ears.discard(ear)
        if not self._closed and all(other.uid != ear.uid for other in self._ears):
            self.stores.ended(ear.uid)

    @property
    def others(self) -> frozenset[str]:
        """The names of the workers that hear this one, and are heard."""
        return frozenset(ear.uid for ear in self._ears if number_of(ear.uid) in self._lines)

    # out

    def say(self, context: AdapterContext, room: Room | None, body: bytes) -> None:
        """Tell all other workers something in a namespace; for one room, if it is named."""
        if not self._lines:
            return
        frame = framed(encode((context.name, room, body)))
        self.published += 1
        for line in tuple(self._lines.values()):
            self._say_to(line, context, frame)

    def say_to(self, number: str, context: AdapterContext, body: bytes) -> None:
        """Tell one worker something in a namespace."""
        line = self._lines.get(number)
        if line is not None:
            self.published += 1
            self._say_to(line, context, framed(encode((context.name, None, body))))

    def reply(self, uid: str, name: str, body: bytes) -> None:
        """Tell one worker something in a namespace, which need not be here; lost if too much waits for it."""
        line = self._lines.get(number_of(uid))
        if line is not None:
            self.published += 1
            self.lost += not line.write(framed(encode((name, None, body))))

    def _say_to(self, line: _Line, context: AdapterContext, frame: bytes) -> None:
        fits = line.write(frame)
        since = self._losing.get(line.name)
        if not fits:
            self.lost += 1
            if since is None:
                self._losing[line.name] = time.time()
                reason = f"worker {line.name} does not keep up: {LIMIT} bytes wait for it"
                context.adapter_gap(AdapterGap(context.name, "out", time.time(), 1, 0, False, reason))
        elif since is not None:
            del self._losing[line.name]
            reason = f"worker {line.name} keeps up again"
            context.adapter_gap(AdapterGap(context.name, "out", since, None, 0, True, reason))

    # in

    def _take(self, ear: _Ear, frame: bytes) -> None:
        if not ear.uid:  # the first one says who it is
            ear.uid = frame.decode("latin-1")
            self._ears.add(ear)
            self._connect(number_of(ear.uid))
            self._changed.set()
            return
        try:
            name, room, body = _decode_frame(frame)
            if self.stores.take(ear.uid, name, body):
                self.received += 1
                return
            backend = self._backends.get(name)
            if backend is None or (room is not None and room not in backend.wanted):
                self.unwanted += 1
                if backend is None and body[:1] == b"m":
                    self._answer_for_nobody(ear, name, _decode_message(body[1:]))
                return
            self.received += 1
            backend.take(body)
        except Exception:
            self.poison += 1
            logger.exception("a message of another worker was skipped")

    def _answer_for_nobody(self, ear: _Ear, name: str, question: ClusterMessage) -> None:
        """There is no such namespace here, such as a dynamic one that nobody has joined: who asks need not wait."""
        kind = _EMPTY.get(question.kind)
        line = self._lines.get(number_of(ear.uid))
        if kind is not None and question.request is not None and line is not None:
            answer = ClusterMessage(kind=kind, uid=self.uid, request=question.request)
            line.write(framed(encode((name, None, b"m" + encode(answer)))))

    def forget(self, name: str, backend: _Backend) -> None:
        """A namespace has ended."""
        if self._backends.get(name) is backend:
            del self._backends[name]


_EMPTY: Final = {
    Kind.BROADCAST: Kind.BROADCAST_CLIENT_COUNT,
    Kind.FETCH_SOCKETS: Kind.FETCH_SOCKETS_RESPONSE,
    Kind.ALL_ROOMS: Kind.ALL_ROOMS_RESPONSE,
    Kind.SERVER_SIDE_EMIT: Kind.ALL_ROOMS_RESPONSE,  # an answer that holds none
}
"""What a worker answers that has not the namespace."""


_decode_frame: Final = decoder(tuple[str, str | int | None, bytes])
_decode_event: Final = decoder(_Event)
_decode_message: Final = decoder(ClusterMessage)


def number_of(uid: str) -> str:
    """The number of the worker with this name."""
    return uid.partition(".")[0]


def framed(data: bytes) -> bytes:
    """A message as it goes over a line."""
    return len(data).to_bytes(_HEAD, "big") + data


class _Backend:
    """See `cluster.Backend`."""

    def __init__(self, cluster: LocalCluster, context: AdapterContext) -> None:
        self.uid = cluster.uid
        self.wanted: dict[Room, int] = {}
        self._cluster = cluster
        self._context = context
        self._json = JsonEncoder(context.json_default)

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """See `cluster.Backend`."""
        self._receive = receive
        self._deliver = deliver

    # out

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `cluster.Backend`."""
        room = next(iter(options.rooms)) if len(options.rooms) == 1 else None
        event = _Event(options, encoded.compress, encoded.text, list(encoded.attachments))
        self._cluster.say(self._context, room, b"e" + encode(event))

    def publish(self, message: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._cluster.say(self._context, None, self._message(message))

    def answer(self, question: ClusterMessage, answer: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._cluster.say_to(number_of(question.uid or ""), self._context, self._message(answer))

    def _message(self, message: ClusterMessage) -> bytes:
        """A message; what the application has put into it goes as clients would get it, whatever carries it.

        Raises:
            EncodeError: a value of unknown type, or one that holds itself.
        """
        match message.kind:
            case Kind.SERVER_SIDE_EMIT:
                message = replace(message, args=self._plain(message.args))
            case Kind.SERVER_SIDE_EMIT_RESPONSE:
                message = replace(message, value=self._plain([message.value])[0])
            case Kind.FETCH_SOCKETS_RESPONSE:
                data = self._plain([facts.data for facts in message.sockets])
                sockets = [replace(facts, data=one) for facts, one in zip(message.sockets, data, strict=True)]
                message = replace(message, sockets=sockets)
            case _:
                pass
        return b"m" + encode_plainly(message)

    def _plain(self, values: list[Any]) -> list[Any]:
        plain: list[Any] = whole(loads(self._json.encode(values)), self._json.take_attachments())
        return plain

    # who is there

    @property
    def ready(self) -> bool:
        """See `cluster.Backend`."""
        return True

    def others(self) -> asyncio.Future[int]:
        """See `cluster.Backend`."""
        return _done(len(self._cluster.others))

    def names(self) -> asyncio.Future[frozenset[str]]:
        """See `cluster.Backend`."""
        return _done(self._cluster.others)

    async def settled(self) -> None:
        """See `cluster.Backend`; what is wanted is known here alone, and said at once."""

    @property
    def health(self) -> AdapterHealth:
        """See `cluster.Backend`."""
        return self._cluster.health

    # what is wanted

    def want(self, room: Room) -> None:
        """See `cluster.Backend`."""
        self.wanted[room] = self.wanted.get(room, 0) + 1

    def unwant(self, room: Room) -> None:
        """See `cluster.Backend`."""
        left = self.wanted.get(room, 0) - 1
        if left > 0:
            self.wanted[room] = left
        else:
            self.wanted.pop(room, None)

    def close(self) -> None:
        """See `cluster.Backend`."""
        self._cluster.forget(self._context.name, self)

    # in

    def take(self, body: bytes) -> None:
        """Another worker has said something."""
        if body[:1] == b"e":
            event = _decode_event(body[1:])
            encoded = Encoded(event.text, tuple(event.attachments), event.compress)
            self._deliver(encoded, event.options)
        else:
            self._receive(_decode_message(body[1:]))


def _done(value: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
