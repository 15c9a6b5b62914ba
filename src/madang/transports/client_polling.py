"""HTTP long-polling from the client's side: one GET that waits, and one POST at a time with all that has gathered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..engine.client_options import ClientEngineOptions
from ..engine.transport import PARSE_ERROR, TRANSPORT_ERROR
from ..errors import ConnectionFailed, PacketError
from ..protocol.encoded import Encoded
from ..protocol.engineio import SEPARATOR, decode_base64, encode_binary, join_payload
from ..types import TransportName
from .refusals import refusal

if TYPE_CHECKING:
    from .dialing import Dialer

_CLOSE: Final = b"1"

_GOODBYE: Final = 1.5
"""Seconds for what waits to be sent, and for the packet that closes the session."""

_EMPTY_POLLS: Final = 8
"""Polls in a row that may bring nothing to speak of, before the next one waits a little."""

_TURN: Final = 64
"""Packets of one answer that are given in one turn of the loop."""

_BREATH: Final = 0.1
"""Seconds that it waits then: a server that answers every poll at once with nothing shall not keep us busy."""


class PollingClient:
    """One session's polling; see `madang.engine.client_session.ClientTransport`.

    Args:
        dialer: where the server is.
        options: the options for polling.
        session_id: None; a session that polls begins with it.
        session: who gets the packets.
    """

    name: TransportName = "polling"

    def __init__(self, dialer: Dialer, options: ClientEngineOptions, session_id: str | None, session: Any) -> None:
        self._dialer = dialer
        self._options = options
        self._id = session_id
        self._limit: int | None = None
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._alive = True
        self._polling = False
        self._posting = False
        self._pausing: Callable[[], object] | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.session: Any = session

    @property
    def writable(self) -> bool:
        """Whether no request is under way that a packet sent now would have to wait for."""
        return self._alive and not self._posting and self._id is not None

    @property
    def buffered(self) -> int:
        """Bytes that wait for the next request."""
        return self._queued

    # what the session calls

    def open(self) -> None:
        """Send the first request, whose answer is the handshake."""
        self._dialer.warn_of_trust()
        self._start(self._poll())

    def identify(self, session_id: str, max_payload: int | None) -> None:
        """The handshake is done."""
        self._id = session_id
        self._limit = max_payload

    def send(self, encoded: Encoded) -> None:
        """Send a message with the next request."""
        if encoded.text:
            self._push(encoded.text)
        for data in encoded.attachments:
            self._push(encode_binary(data))

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message."""
        self._push(packet)

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits, tell the server, and end.

        Args:
            code: of no meaning here.
            linger: whether the server is to be told; it has closed the session itself if not.
        """
        self.session = None
        if not self._alive:
            return
        if not linger or self._id is None:
            self.abort()
            return
        self._alive = False
        self._pausing = None
        self._push(_CLOSE)
        self._start(self._say_goodbye())

    def abort(self) -> None:
        """End at once."""
        self.session = None
        self._alive = False
        self._queue.clear()
        self._queued = 0
        current = asyncio.current_task()
        for task in tuple(self._tasks):
            if task is not current:
                task.cancel("the client has closed")
        self._forget()

    def pause_reading(self) -> None:
        """Ask for nothing more until `resume_reading`; what is on its way still comes."""
        self._reading.clear()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._reading.set()

    def pause(self, done: Callable[[], object]) -> None:
        """For an upgrade: no further poll; `done` is called when nothing is on its way."""
        self._pausing = done
        self._check_paused()

    def unpause(self) -> None:
        """Poll again."""
        self._pausing = None
        if self._alive and not self._polling:
            self._start(self._poll())

    def leave(self) -> None:
        """The session has gone on to another transport."""
        self.abort()

    # polling

    async def _poll(self) -> None:
        empty = 0
        self._polling = True
        try:
            while self._alive and self._pausing is None:
                body = await self._ask("GET", None)
                empty = 0 if await self._deliver(body) else empty + 1
                if empty > _EMPTY_POLLS:
                    await asyncio.sleep(_BREATH)
        except ConnectionFailed as error:
            self._failed(error)
        finally:
            self._polling = False
            self._check_paused()

    async def _deliver(self, payload: bytes) -> bool:
        """Give the packets to the session, as fast as it takes them; False if there was nothing but noise."""
        told = False
        start = number = 0
        while start >= 0 and self.session is not None:
            end = payload.find(SEPARATOR, start)
            packet = payload[start:] if end < 0 else payload[start:end]
            start = end + 1 if end >= 0 else -1
            told = self._give(packet) or told
            number += 1
            if number % _TURN == 0:
                await asyncio.sleep(0)
            if not self._reading.is_set():
                await self._reading.wait()
        return told

    def _give(self, packet: bytes) -> bool:
        """Give one packet to the session; False if it is noise."""
        session = self.session
        first = packet[:1]
        if first == b"4":
            session.on_text(packet)
        elif first == b"b":
            try:
                session.on_binary(decode_base64(packet[1:]))
            except PacketError as error:
                session.fail(PARSE_ERROR, error)
        else:
            session.on_control(packet)
            return False
        return True

    def _check_paused(self) -> None:
        done = self._pausing
        if done is None or self._polling or self._posting or not self._alive:
            return
        self._pausing = _nothing  # it stays paused, and says so once
        done()

    # posting

    def _push(self, packet: bytes) -> None:
        self._queue.append(packet)
        self._queued += len(packet)
        if not self._posting:
            self._posting = True
            self._start(self._post())

    async def _post(self) -> None:
        """Send all that waits, as much in one request as the server takes."""
        try:
            while self._queue:
                await self._ask("POST", self._batch())
            self._posting = False
            if self.session is not None and self.session.drain_watched:
                self.session.drained()
            self._check_paused()
        except ConnectionFailed as error:
            self._failed(error)
        finally:
            self._posting = False

    def _batch(self) -> bytes:
        """The packets of one request: as many as `maxPayload` allows, but one at least.

        The end of the session goes by itself: Node's server would forget what stands before it.
        """
        queue, limit = self._queue, self._limit
        packets = [queue.popleft()]
        size = len(packets[0])
        while queue and queue[0] != _CLOSE and (limit is None or size + len(SEPARATOR) + len(queue[0]) <= limit):
            packet = queue.popleft()
            size += len(SEPARATOR) + len(packet)
            packets.append(packet)
        self._queued = sum(map(len, queue)) if queue else 0
        return join_payload(packets)

    async def _say_goodbye(self) -> None:
        """Let `_post` end, for a bounded time, then drop the open poll."""
        current = asyncio.current_task()
        posting = [task for task in self._tasks if task is not current and task.get_name() != "poll"]
        await asyncio.wait(posting, timeout=_GOODBYE)
        self.abort()

    # both

    async def _ask(self, method: str, body: bytes | None) -> bytes:
        options = self._options
        headers = {"Accept": "*/*", **options.extra_headers}
        if body is not None:
            headers["Content-Type"] = "text/plain;charset=UTF-8"
        answer = await self._dialer.http_client().request(
            method,
            self._dialer.origin + self._dialer.target("polling", self._id),
            body=body,
            headers=headers,
            timeout=options.request_timeout or None,
            limit=options.max_http_buffer_size,
        )
        if answer.status != 200:
            raise refusal("polling", answer.status, answer.body, answer.location)
        return answer.body

    def _failed(self, error: ConnectionFailed) -> None:
        session, self.session = self.session, None
        if self._alive:
            self.abort()
            if session is not None:
                session.transport_closed(self, TRANSPORT_ERROR, error)

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        if coroutine.__name__ == "_poll":
            task.set_name("poll")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._dialer.tasks.own(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self._alive:
            self._forget()

    def _forget(self) -> None:
        if not self._alive and not self._tasks:
            self._dialer.forget(self)


def _nothing() -> None:
    """What is called when polling has paused and that has been said already."""
