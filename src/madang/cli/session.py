"""An interactive session: what has been seen, asked and answered, in which namespaces. It knows no terminal."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Final, NamedTuple

from ..client import Client, ClientSocket, EventStream, Received
from ..errors import MadangError
from .life import Life, trace, trace_outgoing
from .outcome import DONE, UNREACHABLE, Ended, status_of, told
from .outlet import Way
from .showing import Look, bytes_in, name
from .target import handed_over, list_of, sockets_of
from .words import WordError

_NAMES: Final = 500
"""Names of events that are remembered for completion."""

_LONGEST_NAME: Final = 100
"""Characters of a name that is remembered."""

_QUESTIONS: Final = 100
"""Questions of the server that are kept for an answer; the oldest is forgotten."""


class Question(NamedTuple):
    """An event that the server wants an answer to.

    Attributes:
        namespace: where it came.
        received: the event.
    """

    namespace: str
    received: Received


class Message(NamedTuple):
    """What was displayed in part, for `.whole`."""

    head: str
    values: Sequence[Any]
    tail: str


class Session:
    """One session.

    Args:
        client: the client; not connected yet.
        way: where lines are displayed.
        look: how.
        complain: takes what went wrong; safe to display.

    Attributes:
        client: the client.
        current: the namespace that is talked to.
        joined: the namespaces that are to be joined, by name.
        events: the names of events that were seen, the last one last.
        questions: what the server wants to know, by number.
        muted: events that are not displayed.
        binaries: what the last message with bytes held of them.
        cut: the last message that was displayed in part, or None.
        last_answer: milliseconds that the last answer took, or None.
        status: the exit status, of the first thing that went wrong.
        verbose: where each packet is told of, or None.
    """

    def __init__(
        self,
        client: Client,
        way: Way,
        look: Look,
        complain: Callable[[str], object],
        verbose: Callable[[str], object] | None = None,
    ) -> None:
        self.client = client
        self.current: ClientSocket = client
        self.joined: dict[str, ClientSocket] = {}
        self.events: OrderedDict[str, None] = OrderedDict()
        self.questions: OrderedDict[int, Question] = OrderedDict()
        self.muted: set[str] = set()
        self.binaries: list[bytes] = []
        self.cut: Message | None = None
        self.last_answer: float | None = None
        self.status = DONE
        self.verbose = verbose
        self.look = look
        self.changed: Callable[[], object] = lambda: None
        self._way = way
        self._complain = complain
        self._asked = 0
        self._listeners: dict[str, tuple[EventStream, asyncio.Task[None]]] = {}
        self._pending: set[asyncio.Task[None]] = set()
        self._life = Life(client, self._tell)
        if verbose is not None:
            trace(client, verbose)
        for socket in sockets_of(client):
            self._watch(socket)

    # the connection

    def connect(self) -> None:
        """Join all namespaces that are to be joined; at first, those of the client."""
        for socket in list(self.joined.values()) or sockets_of(self.client):
            self.join(socket)

    async def connected(self) -> None:
        """Wait until all are joined.

        Raises:
            MadangError: one cannot be.
        """
        await asyncio.gather(*(socket.connect() for socket in self.joined.values()))

    def join(self, socket: ClientSocket) -> None:
        """Join a namespace, and display its events."""
        known = self._listeners.get(socket.nsp)
        if known is None or known[0].ended:
            stream = socket.events()
            self._listeners[socket.nsp] = (stream, asyncio.create_task(self._listen(socket, stream)))
        self.joined[socket.nsp] = socket
        socket.connect()
        self.changed()

    def enter(self, namespace: str) -> None:
        """Talk to a namespace from now on, and join it if need be."""
        namespace = namespace if namespace.startswith("/") else f"/{namespace}"
        known = namespace in self.client.manager.sockets
        socket = self.client if namespace == self.client.nsp else self.client.of(namespace)
        if not known:
            socket.auth = self.client.auth
            self._life.watch(socket)
            self._watch(socket)
            if self.verbose is not None:
                trace_outgoing(socket, self.verbose)
        self.current = socket
        self.join(socket)

    def leave(self) -> None:
        """Leave the present namespace, and talk to another one that is joined."""
        self.joined.pop(self.current.nsp, None)
        self.current.disconnect()
        if self.joined:
            self.current = next(reversed(self.joined.values()))

    def disconnect(self) -> None:
        """Leave all namespaces; `connect` joins them again."""
        for socket in self.joined.values():
            socket.disconnect()

    async def close(self) -> None:
        """End it."""
        tasks = [*self._pending, *(task for _, task in self._listeners.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.close()

    async def settle(self) -> None:
        """Wait until what was asked has been answered, and what was emitted has been handed over."""
        if self._pending:
            await asyncio.wait(self._pending)
        await handed_over(self.client)
        await self._way.flushed()

    async def send_rest(self) -> None:
        """Wait for the connection, if it was lost, until what is kept has been sent; tell if it cannot be."""
        for socket in sockets_of(self.client):
            if socket.buffered and socket.active:
                with suppress(MadangError):
                    await socket.connected
        await self.settle()
        if any(socket.buffered for socket in sockets_of(self.client)):
            self.failed(Ended(UNREACHABLE, "not all of it could be sent: there is no connection"))

    @property
    def prompt(self) -> str:
        """The present namespace and its state."""
        socket = self.current
        state = ""
        if not socket.is_connected:
            state = " (connecting)" if socket.active and self.client.manager.state != "closed" else " (offline)"
        waiting = f" {len(self.questions)}?" if self.questions else ""
        return f"{name(socket.nsp)}{state}{waiting}> "

    # what the user does

    def emit(self, event: str, values: Sequence[Any], *, volatile: bool = False) -> None:
        """Emit an event."""
        socket = self.current
        self.saw(event)
        if volatile:
            if not socket.is_connected:
                self.note("not connected: a volatile event is dropped")
            socket.volatile.emit(event, *values)
            return
        self._say_if_kept(socket)
        socket.emit(event, *values)

    def ask(self, event: str, values: Sequence[Any]) -> None:
        """Emit an event, and display the answer when it comes."""
        self.saw(event)
        self._say_if_kept(self.current)
        begun = perf_counter()
        answer = self.current.emit_with_ack(event, *values)
        task = asyncio.create_task(self._await_answer(self.current.nsp, event, answer, begun))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def answer(self, number: int, values: Sequence[Any]) -> None:
        """Answer a question of the server.

        Raises:
            WordError: there is no such question.
        """
        question = self.questions.pop(number, None)
        if question is None:
            open_ones = ", ".join(map(str, self.questions)) or "none"
            raise WordError(f"there is no question {number} that waits for an answer (open: {open_ones})")
        question.received.ack(*values)
        self.changed()

    def _say_if_kept(self, socket: ClientSocket) -> None:
        if not socket.is_connected:
            self.note("not connected: it is kept until " + ("there is a connection" if socket.active else ".connect"))

    async def _await_answer(self, namespace: str, event: str, answer: asyncio.Future[Any], begun: float) -> None:
        try:
            value = await answer
        except MadangError as error:
            self.failed(error, f"{name(event)}: ")
            return
        took = self.last_answer = (perf_counter() - begun) * 1000
        values = list_of(value)
        self._display("=", namespace, event, values, self.look.paint(f"  ({took:.1f} ms)", "dim"))

    # what is displayed

    def note(self, text: str) -> None:
        """Something by the way; safe to display."""
        self._way.put(self.look.paint(text, "dim"))

    def show(self, text: str) -> None:
        """Lines that were asked for; safe to display."""
        self._way.put(text)

    def failed(self, error: BaseException, before: str = "") -> None:
        """Something went wrong."""
        self.status = self.status or status_of(error)
        self._complain(before + told(error, self.client.manager.uri))

    def show_whole(self) -> None:
        """Display to its end what was displayed in part."""
        if self.cut is None:
            self.note("nothing was left out so far")
        else:
            self._way.put(self.look.message(self.cut.head, self.cut.values, self.cut.tail, whole=True)[0])

    def saw(self, event: str) -> None:
        """Remember the name of an event."""
        if len(event) <= _LONGEST_NAME:
            self.events[event] = None
            self.events.move_to_end(event)
            if len(self.events) > _NAMES:
                self.events.popitem(last=False)

    def _tell(self, kind: str, namespace: str, text: str) -> None:
        first, newline, rest = text.partition("\n")
        head = self.look.head("•", namespace)
        self._way.put(f"{head} {self.look.paint(first, kind)}{newline}{self.look.paint(rest, 'dim') if rest else ''}")
        self.changed()

    def _watch(self, socket: ClientSocket) -> None:
        socket.on("disconnect", lambda: self._forget_questions(socket.nsp))
        socket.on("connect_error", self._note_failure)

    def _note_failure(self, error: Exception) -> None:
        self.status = self.status or status_of(error)

    def _forget_questions(self, namespace: str) -> None:
        """The connection that they came over has ended, and with it the server's wish to know."""
        for number in [number for number, asked in self.questions.items() if asked.namespace == namespace]:
            del self.questions[number]
        self.changed()

    async def _listen(self, socket: ClientSocket, stream: EventStream) -> None:
        async for received in stream:
            self._received(socket, received)
            await self._way.room()

    def _received(self, socket: ClientSocket, received: Received) -> None:
        event = str(received.name)
        self.saw(event)
        tail = ""
        if received.ack.wanted:
            self._asked += 1
            self.questions[self._asked] = Question(socket.nsp, received)
            if len(self.questions) > _QUESTIONS:
                self.questions.popitem(last=False)
            tail = self.look.paint(f"  (asks; to answer: .answer {self._asked} VALUE)", "ask")
        if event not in self.muted:
            self._display("←", socket.nsp, event, received.args, tail)

    def _display(self, mark: str, namespace: str, event: str, values: Sequence[Any], tail: str) -> None:
        found = bytes_in(values)
        if found:
            self.binaries = found
            count = f"{len(found)} binaries; .save FILE NUMBER" if len(found) > 1 else "binary; .save FILE"
            tail += self.look.paint(f"  ({count} keeps it)", "dim")
        head = f"{self.look.head(mark, namespace)} {self.look.paint(name(event), 'event')}"
        text, cut = self.look.message(head, values, tail)
        if cut:
            self.cut = Message(head, values, tail)
        self._way.put(text)
