"""A namespace that is spread over several servers: all there is to it but the way the messages travel.

What is done here is done here at once, by the tables of `MemoryAdapter`, and told to the others by a `Backend`, which
knows channels, bytes and the connection, and nothing of rooms or sockets.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Protocol

from ..errors import AdapterUnavailable
from ..protocol.encoded import Encoded
from ..tasks import Tasks
from ..types import Room
from .adapter import AdapterContext, BroadcastOptions, PendingAcks
from .membership import Membership
from .memory import MemoryAdapter
from .messages import AdapterHealth, ClusterMessage, Kind, SocketFacts
from .relay import Relay
from .requests import AckQuestion, Found, FoundRooms, Question

logger = logging.getLogger("madang.adapters")

ALPHABET: Final = string.ascii_letters + string.digits
RECHECK: Final = 0.25
"""Seconds after which a question that is still open looks who is still there; doubled each time."""

RECHECK_MAX: Final = 2.0


def short_id() -> str:
    """Six random characters, as Node's adapter names servers and questions."""
    return "".join(secrets.choice(ALPHABET) for _ in range(6))


class Backend(Protocol):
    """What carries the messages of one namespace. Only what it is asked for may wait; nothing raises.

    Attributes:
        uid: the name of this server in this namespace.
    """

    uid: str

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """Begin.

        Args:
            receive: gets each message of another server; answers only while something is asked.
            deliver: gets each broadcast that comes encoded as clients are to get it.
            asking: whether something is asked at present.
        """
        ...

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """Send an event that wants no answer to those clients of all others that are meant."""
        ...

    def publish(self, message: ClusterMessage) -> None:
        """Tell all others."""
        ...

    def answer(self, question: ClusterMessage, answer: ClusterMessage) -> None:
        """Answer who has asked."""
        ...

    @property
    def ready(self) -> bool:
        """Whether answers would arrive at present."""
        ...

    def others(self) -> asyncio.Future[int]:
        """The number of other servers; asked after what was published before, and before what is published after.

        Raises:
            AdapterUnavailable: when awaited, if nobody can be asked.
        """
        ...

    def names(self) -> asyncio.Future[frozenset[str]]:
        """The names of the other servers.

        Raises:
            AdapterUnavailable: when awaited, if nobody can be asked.
        """
        ...

    def want(self, room: Room) -> None:
        """A room has members here now; called once for each reason to want it."""
        ...

    def unwant(self, room: Room) -> None:
        """One reason to want it is gone."""
        ...

    async def settled(self) -> None:
        """Wait until all that was wanted, and published, till now has taken effect."""
        ...

    @property
    def health(self) -> AdapterHealth:
        """How the connection is."""
        ...

    def close(self) -> None:
        """The namespace ends."""
        ...


class ClusterAdapter(MemoryAdapter):
    """See `Adapter`.

    Args:
        context: the namespace.
        backend: carries the messages.
        requests_timeout: seconds for which the answers of other servers are awaited.
    """

    __slots__ = ("_ack_questions", "_backend", "_context", "_membership", "_questions", "_tasks", "_timeout")

    def __init__(self, context: AdapterContext, backend: Backend, requests_timeout: float) -> None:
        super().__init__()
        self._context = context
        self._backend = backend
        self._timeout = requests_timeout
        self._membership = Membership()
        self._questions: dict[str, Question] = {}
        self._ack_questions: dict[str, AckQuestion] = {}
        self._tasks = Tasks()
        backend.open(self._receive, self.deliver, self._asking)

    @property
    def uid(self) -> str:
        """The name of this server in this namespace."""
        return self._backend.uid

    @property
    def health(self) -> AdapterHealth:
        """How the link to the other servers is."""
        return self._backend.health

    # rooms: what is held here is what is wanted from the others

    def add(self, sink: Any) -> None:
        """A socket has joined the namespace, and so its own room."""
        super().add(sink)
        self._backend.want(sink.id)

    def remove(self, sink: Any) -> None:
        """A socket has left; it leaves all rooms."""
        known = sink.id in self.everyone
        rooms = self._joined.get(sink.id, ())
        super().remove(sink)
        for room in rooms:
            if room not in self.rooms:
                self._backend.unwant(room)
        if known:
            self._backend.unwant(sink.id)

    def join(self, sink: Any, rooms: Iterable[Room]) -> None:
        """Put a socket into rooms."""
        rooms = tuple(dict.fromkeys(rooms))
        new = [room for room in rooms if room not in self.rooms]
        super().join(sink, rooms)
        for room in new:
            if room in self.rooms:
                self._backend.want(room)

    def leave(self, sink: Any, room: Room) -> None:
        """Take a socket out of a room; silent if it is not there."""
        held = room in self.rooms
        super().leave(sink, room)
        if held and room not in self.rooms:
            self._backend.unwant(room)

    # telling the others

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """Send a message to all that `options` names, here at once."""
        if not options.local:
            self._backend.broadcast(encoded, options)
        self.deliver(encoded, options)

    def broadcast_with_ack(
        self, encoded: Encoded, options: BroadcastOptions, ack_id: int, pending: PendingAcks, timeout: float
    ) -> None:
        """Send a message that asks for an answer."""
        if options.local:
            super().broadcast_with_ack(encoded, options, ack_id, pending, timeout)
            return
        question = AckQuestion(pending)
        message = ClusterMessage(
            kind=Kind.BROADCAST,
            uid=self.uid,
            request=short_id(),
            options=options,
            args=self._context.values_of(encoded),
            compress=encoded.compress,
            timeout=timeout,
        )
        asking = self._tasks.start(self._ask_clients(message, question, timeout))
        if asking is not None:
            pending.when_abandoned(asking.cancel)
        for sink in self.members(options):
            sink.expect_ack(ack_id, pending)
            pending.expect(sink)
            sink.write(encoded)

    def sockets_join(self, options: BroadcastOptions, rooms: Sequence[Room]) -> None:
        """Make all that `options` names join rooms."""
        if not options.local:
            self._tell(Kind.SOCKETS_JOIN, options, rooms=tuple(rooms))
        super().sockets_join(options, rooms)

    def sockets_leave(self, options: BroadcastOptions, rooms: Sequence[Room]) -> None:
        """Make all that `options` names leave rooms."""
        if not options.local:
            self._tell(Kind.SOCKETS_LEAVE, options, rooms=tuple(rooms))
        super().sockets_leave(options, rooms)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        """Disconnect all that `options` names."""
        if not options.local:
            self._tell(Kind.DISCONNECT_SOCKETS, options, close=close)
        super().disconnect_sockets(options, close)

    def server_side_emit(self, args: Sequence[Any]) -> None:
        """Tell the other servers of the cluster."""
        self._backend.publish(ClusterMessage(kind=Kind.SERVER_SIDE_EMIT, uid=self.uid, args=list(args)))

    def _tell(self, kind: Kind, options: BroadcastOptions, **facts: Any) -> None:
        self._backend.publish(ClusterMessage(kind=kind, uid=self.uid, options=options, **facts))

    # asking the others

    async def fetch(self, options: BroadcastOptions) -> Found[Any]:
        """The sockets that `options` names, on every server; those of others as `SocketFacts`."""
        found = Found(self.members(options))
        if not options.local:
            question = await self._ask(ClusterMessage(kind=Kind.FETCH_SOCKETS, options=options), self._timeout)
            found += question.parts
            found.missing, found.missing_nodes = question.missing, question.missing_nodes
        return found

    async def all_rooms(self, local: bool = False) -> FoundRooms:
        """The rooms of the namespace, on every server."""
        found = FoundRooms(self._rooms_here())
        if not local:
            question = await self._ask(ClusterMessage(kind=Kind.ALL_ROOMS), self._timeout)
            for part in question.parts:  # those who know no question for rooms tell of their sockets
                found.update(part.rooms if isinstance(part, SocketFacts) else (part,))
            found.missing, found.missing_nodes = question.missing, question.missing_nodes
        return found

    async def server_side_emit_with_ack(self, args: Sequence[Any], timeout: float | None) -> Found[Any]:
        """Tell the other servers of the cluster, and collect an answer of each."""
        message = ClusterMessage(kind=Kind.SERVER_SIDE_EMIT, args=list(args))
        question = await self._ask(message, self._timeout if timeout is None else timeout)
        found = Found(question.parts)
        found.missing, found.missing_nodes = question.missing, question.missing_nodes
        return found

    async def server_count(self) -> int:
        """The number of servers in the cluster."""
        counting = self._backend.others()
        if not await self._wait_for(counting, self._timeout):
            raise AdapterUnavailable("the other servers cannot be counted at present")
        self._membership.last_count = counting.result()
        return counting.result() + 1

    async def settled(self) -> None:
        """Wait until what was done here till now has effect: joins are known to the broker, messages have left."""
        await self._backend.settled()

    async def _ask(self, message: ClusterMessage, timeout: float) -> Question:
        question = Question()
        message.uid, message.request = self.uid, short_id()
        self._questions[message.request] = question
        try:
            await self._run(message, question, question.done, timeout)
        finally:
            del self._questions[message.request]
        return question

    async def _ask_clients(self, message: ClusterMessage, question: AckQuestion, timeout: float) -> None:
        assert message.request is not None
        self._ack_questions[message.request] = question
        try:
            await self._run(message, question, question.over, timeout)
        finally:
            del self._ack_questions[message.request]

    async def _run(
        self, message: ClusterMessage, question: Question, over: asyncio.Future[Any], timeout: float
    ) -> None:
        """Ask, and wait until it is over, or until the time is."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if not self._backend.ready:
            await self._wait_for(asyncio.ensure_future(self._backend.settled()), timeout)
        counting = self._backend.others()  # counted first, so that nobody is expected who was not asked
        self._backend.publish(message)
        pause = RECHECK
        try:
            await self._count(counting, question, deadline - loop.time())
            while not over.done() and (left := deadline - loop.time()) > 0:
                await asyncio.wait((over,), timeout=min(left, pause))
                pause = min(2 * pause, RECHECK_MAX)
                if not over.done() and (left := deadline - loop.time()) > 0:
                    await self._look_around(question, left)
            if question.missing == 0:
                self._membership.silent.clear()
            elif not question.done.done() and question.exact:
                self._membership.let_down(question.missing_nodes)
        finally:
            counting.cancel()

    async def _wait_for(self, future: asyncio.Future[Any], timeout: float) -> bool:
        """Whether it has a result within the time; it is given up if not."""
        try:
            done, _ = await asyncio.wait((future,), timeout=max(timeout, 0))
            return bool(done) and not future.cancelled() and future.exception() is None
        finally:
            future.cancel()  # does nothing to one that is done

    async def _count(self, counting: asyncio.Future[int], question: Question, timeout: float) -> None:
        if await self._wait_for(counting, timeout):
            self._membership.last_count = counting.result()
        question.expect(self._membership.last_count)

    async def _look_around(self, question: Question, timeout: float) -> None:
        """See who is still there, if that can be seen."""
        looking = self._backend.names()
        if await self._wait_for(looking, timeout):
            self._membership.present(looking.result())
            question.alive(looking.result(), self._membership.silent)

    # what the others tell and ask

    def _asking(self) -> bool:
        return bool(self._questions or self._ack_questions or self._membership.silent)

    def _receive(self, message: ClusterMessage) -> None:
        if self._membership.silent:
            self._membership.heard(message.uid)
        if message.kind is Kind.BROADCAST and message.request is None:  # as nearly always, so without detours
            context, array = self._context, message.array
            if array is None:
                encoded = context.encode(tuple(message.args), None, message.compress)
            else:
                encoded = context.encode_array(array, None, message.compress)
            self.deliver(encoded, message.options)
            return
        self._RECEIVERS[message.kind](self, message)

    def _on_broadcast(self, message: ClusterMessage) -> None:
        """Ask the clients here."""
        if message.request in self._ack_questions:
            return
        ack_id = self._context.next_ack_id()
        if message.array is None:
            encoded = self._context.encode(tuple(message.args), ack_id, message.compress)
        else:
            encoded = self._context.encode_array(message.array, ack_id, message.compress)
        members = self.members(message.options)

        if members:

            def answer(value: Any) -> None:
                self._answer(message, Kind.BROADCAST_ACK, value=value)

            relay = Relay(ack_id, answer, self._timeout if message.timeout is None else message.timeout)
            for sink in members:
                relay.ask(sink, encoded)
        self._answer(message, Kind.BROADCAST_CLIENT_COUNT, count=len(members))

    def _on_join(self, message: ClusterMessage) -> None:
        super().sockets_join(message.options, message.rooms)
        self._confirm(message)

    def _on_leave(self, message: ClusterMessage) -> None:
        super().sockets_leave(message.options, message.rooms)
        self._confirm(message)

    def _on_disconnect(self, message: ClusterMessage) -> None:
        if message.request is not None and self.members(message.options):
            self._answer(message, Kind.DONE)
        super().disconnect_sockets(message.options, message.close)

    def _on_fetch(self, message: ClusterMessage) -> None:
        facts = [self._context.describe(sink) for sink in self.members(message.options)]
        self._answer(message, Kind.FETCH_SOCKETS_RESPONSE, sockets=facts)

    def _on_server_side_emit(self, message: ClusterMessage) -> None:
        if message.request is None:
            self._context.server_side_received(message.args, None)
            return

        def answer(value: Any) -> None:
            self._answer(message, Kind.SERVER_SIDE_EMIT_RESPONSE, value=value)

        self._context.server_side_received(message.args, answer)

    def _on_all_rooms(self, message: ClusterMessage) -> None:
        self._answer(message, Kind.ALL_ROOMS_RESPONSE, rooms=tuple(self._rooms_here()))

    def _on_socket_ids(self, message: ClusterMessage) -> None:
        ids = tuple(sink.id for sink in self.members(message.options))
        self._answer(message, Kind.SOCKET_IDS_RESPONSE, rooms=ids)

    def _on_answer(self, message: ClusterMessage) -> None:
        question = self._questions.get(message.request or "")
        if question is not None:
            if message.kind is Kind.SERVER_SIDE_EMIT_RESPONSE:
                question.answered(message.uid, (message.value,))
            else:
                question.answered(message.uid, message.sockets or message.rooms)

    def _on_client_count(self, message: ClusterMessage) -> None:
        question = self._ack_questions.get(message.request or "")
        if question is not None:
            question.counted(message.uid, message.count)

    def _on_client_ack(self, message: ClusterMessage) -> None:
        question = self._ack_questions.get(message.request or "")
        if question is not None:
            question.acknowledged(message.uid, message.value)

    def _confirm(self, message: ClusterMessage) -> None:
        """Old servers name one socket, and whoever has it confirms."""
        if message.request is not None and self.members(message.options):
            self._answer(message, Kind.DONE)

    def _answer(self, question: ClusterMessage, kind: Kind, **facts: Any) -> None:
        answer = ClusterMessage(kind=kind, uid=self.uid, request=question.request, **facts)
        self._backend.answer(question, answer)

    def close(self) -> None:
        """The namespace ends."""
        self._backend.close()
        self._tasks.cancel()
        super().close()

    _RECEIVERS: ClassVar[dict[Kind, Callable[[Any, ClusterMessage], None]]] = {
        Kind.BROADCAST: _on_broadcast,
        Kind.SOCKETS_JOIN: _on_join,
        Kind.SOCKETS_LEAVE: _on_leave,
        Kind.DISCONNECT_SOCKETS: _on_disconnect,
        Kind.FETCH_SOCKETS: _on_fetch,
        Kind.FETCH_SOCKETS_RESPONSE: _on_answer,
        Kind.SERVER_SIDE_EMIT: _on_server_side_emit,
        Kind.SERVER_SIDE_EMIT_RESPONSE: _on_answer,
        Kind.BROADCAST_CLIENT_COUNT: _on_client_count,
        Kind.BROADCAST_ACK: _on_client_ack,
        Kind.ALL_ROOMS: _on_all_rooms,
        Kind.ALL_ROOMS_RESPONSE: _on_answer,
        Kind.SOCKET_IDS: _on_socket_ids,
    }
