"""The sessions of a namespace in Redis, as Node's streams adapter reads and writes them, and taking them over.

A session has a key of its own, which expires. Node writes it when its client has gone; here it is written while the
client is there as well, so that it outlives its server. It then has the name of that server in it: who takes it tells
the server, which lets its socket go.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ...errors import UsageError
from ...protocol.plain import whole
from ...protocol.values import JsonEncoder, loads
from ..adapter import AdapterContext
from ..recovery import RecoverySession
from ..wire import as_rooms, pack
from .stream_writer import StreamWriter
from .subscriber import Subscriber

logger = logging.getLogger("madang.adapters")

PATIENCE: Final = 1.0
"""Seconds for which the server that a client was at may take to tell how its session is now."""

LIVES: Final = 1.5
"""How long a session is kept that nobody refreshes any more, as a part of the time that its client has to come back."""

_ROUND: Final = 0.5
"""The same for the time in which each is refreshed once."""

_SLICES: Final = 20


class Stored(msgspec.Struct):
    """The value of a key.

    Attributes:
        since: the offset of the moment when the session began; None if Node's server has written it.
        uid: the server that its client is at; None if it has gone.
        presences: see `RecoverySession`.
    """

    sid: str
    pid: str
    rooms: list[str | int | float | None]
    data: Any = None
    since: str | None = None
    uid: str | None = None
    presences: Any = None

    def session(self) -> RecoverySession:
        """The session."""
        kept: Any = self.data
        data: dict[str, Any] = kept if type(kept) is dict else {}  # pyright: ignore[reportUnknownVariableType]
        return RecoverySession(self.pid, self.sid, self.since or "", as_rooms(self.rooms), data, self.presences)


class _Ask(msgspec.Struct, tag="ask", tag_field="do"):
    """Let this session go."""

    uid: str
    pid: str


class _Tell(msgspec.Struct, tag="tell", tag_field="do"):
    """It was let go, and was so; None if it was not here."""

    pid: str
    value: bytes | None = None


_decode_value: Final = msgspec.msgpack.Decoder(Stored).decode
_decode_said: Final = msgspec.msgpack.Decoder(_Ask | _Tell).decode


class Sessions:
    """See above.

    Args:
        writer: sends the commands.
        subscriber: hears what other servers want.
        context: the namespace.
        uid: the name of this server in it.
        names: what the keys of sessions, and the channels of this namespace, begin with.
        duration: seconds for which a client that has gone may come back.
        surrender: see `recovery.RecoveryOwner`.
    """

    def __init__(
        self,
        writer: StreamWriter,
        subscriber: Subscriber,
        context: AdapterContext,
        uid: str,
        names: tuple[bytes, bytes],
        duration: float,
        surrender: Callable[[str], RecoverySession | None],
    ) -> None:
        self._writer = writer
        self._subscriber = subscriber
        self._context = context
        self._uid = uid
        self._keys, self._channels = names
        self._gone_for = b"%d" % (duration * 1000)
        self._live_for = b"%d" % (duration * 1000 * LIVES)
        self._pause = duration * _ROUND / _SLICES
        self._surrender = surrender
        self._live: dict[str, RecoverySession] = {}
        self._written: set[str] = set()
        self._waiting: dict[str, tuple[bytes, bytes] | None] = {}
        self._due: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._asked: dict[str, asyncio.Future[bytes | None]] = {}
        self._complained = False
        subscriber.add(self._channel(uid), self._heard)

    def _key(self, pid: str) -> bytes:
        return self._keys + pid.encode(errors="replace")

    def _channel(self, uid: str) -> bytes:
        return b"%b%b#recovery#" % (self._channels, uid.encode(errors="replace"))

    # keeping

    def save(self, session: RecoverySession, present: bool) -> None:
        """Write a session; once it is written, what others have taken since is not written again."""
        if present:
            self._live[session.pid] = session
            self._refresh_later()
        else:
            self._live.pop(session.pid, None)
        value = self._encode(session, present)
        if value is not None:
            self._write(session.pid, (value, self._live_for if present else self._gone_for))

    def save_all(self) -> None:
        """Write all whose clients are here: Redis may have lost them."""
        self._written.clear()
        for session in list(self._live.values()):
            self.save(session, True)

    def forget(self, pid: str) -> None:
        """There is no such session any more."""
        self._live.pop(pid, None)
        self._write(pid, None)

    def _write(self, pid: str, what: tuple[bytes, bytes] | None) -> None:
        """While Redis is away, the last word about each session waits."""
        if not self._writer.connected:
            self._waiting[pid] = what
        elif what is None:
            self._written.discard(pid)
            self._writer.ask(b"DEL", self._key(pid))
        else:
            value, lives = what
            unless = (b"XX",) if pid in self._written else ()
            (self._written.add if pid in self._live else self._written.discard)(pid)
            self._writer.ask(b"SET", self._key(pid), value, *unless, b"PX", lives)

    def connected(self) -> None:
        """Redis is there again."""
        waiting, self._waiting = self._waiting, {}
        for pid, what in waiting.items():
            self._write(pid, what)

    def _encode(self, session: RecoverySession, present: bool) -> bytes | None:
        encoder = JsonEncoder(self._context.json_default)
        try:
            text = encoder.encode(session.data)
        except UsageError as error:
            if not self._complained:
                self._complained = True
                logger.warning("a session of %s cannot be recovered elsewhere: its data: %s", self._context.name, error)
            return None
        facts: dict[str, Any] = {"sid": session.sid, "pid": session.pid, "rooms": list(session.rooms)}
        facts["data"] = whole([loads(text)], encoder.take_attachments())[0]
        facts["since"] = session.since
        if session.presences is not None:
            facts["presences"] = session.presences
        if present:
            facts["uid"] = self._uid
        return base64.b64encode(pack(facts))

    def _refresh_later(self) -> None:
        if self._timer is None and self._live:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._refresh)

    def _refresh(self) -> None:
        """Let some of the keys live on."""
        self._timer = None
        if not self._due:
            self._due = list(self._live)
        if self._writer.connected:
            for _ in range(len(self._live) // _SLICES + 1):
                if self._due and (pid := self._due.pop()) in self._live:
                    self._writer.ask(b"PEXPIRE", self._key(pid), self._live_for)
        self._refresh_later()

    def close(self) -> None:
        """The namespace ends."""
        self._subscriber.remove(self._channel(self._uid))

    def stop(self) -> None:
        """The server has ended, and with it all clients."""
        self._written.clear()
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._live.clear()

    # taking

    async def take(self, pid: str) -> tuple[Stored, bytes] | None:
        """Take a session so that nobody else can have it, from the server that its client was at if that lives.

        Returns:
            It, and what puts it back; None if there is none.

        Raises:
            AdapterUnavailable: Redis cannot be asked.
        """
        value = await self._get(pid)
        stored = _decoded(value)
        if stored is None or value is None:
            return None
        if stored.uid is not None and stored.uid != self._uid:
            try:
                fresh = await self._take_from(stored.uid, pid)
            except BaseException:
                self.put_back(pid, value)
                raise
            if fresh is not None and (now := _decoded(fresh)) is not None:
                return now, fresh
        return stored, value

    async def _get(self, pid: str) -> bytes | None:
        asked = self._writer.ask(b"GETDEL", self._key(pid))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:  # what Redis has given all the same is not kept
            asked.add_done_callback(lambda done: self._return(pid, done))
            raise

    def _return(self, pid: str, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None and done.result() is not None:
            self.put_back(pid, done.result())

    def put_back(self, pid: str, value: bytes) -> None:
        """It was not used."""
        self._writer.ask(b"SET", self._key(pid), value, b"NX", b"PX", self._gone_for)

    async def _take_from(self, uid: str, pid: str) -> bytes | None:
        """Let another server end its socket; how the session is then, if it answers."""
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._asked[pid] = answer
        try:
            asking = pack({"do": "ask", "uid": self._uid, "pid": pid})
            listening = await self._writer.tell(self._channel(uid), asking)
            if not listening:
                return None
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._asked.pop(pid, None)

    def _heard(self, payload: bytes) -> None:
        try:
            said = _decode_said(payload)
        except (msgspec.MsgspecError, ValueError):
            return
        if isinstance(said, _Tell):
            answer = self._asked.get(said.pid)
            if answer is not None and not answer.done():
                answer.set_result(said.value)
            return
        session = self._surrender(said.pid)
        self._live.pop(said.pid, None)
        self._written.discard(said.pid)
        self._waiting.pop(said.pid, None)
        value = self._encode(session, False) if session is not None else None
        self._writer.tell(self._channel(said.uid), pack({"do": "tell", "pid": said.pid, "value": value}))


def _decoded(value: bytes | None) -> Stored | None:
    try:
        return _decode_value(base64.b64decode(value)) if value is not None else None
    except (msgspec.MsgspecError, ValueError, binascii.Error):
        return None
