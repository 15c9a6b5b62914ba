"""``--emit`` and ``--listen``: what scripts do with a client, and how that ends."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from ..client import Client, ClientSocket, EventStream, Received
from ..errors import MadangError, SocketClosed
from .life import Life, trace
from .outcome import DONE, IO_SERVER, LATE, REFUSED, Ended, status_of, told
from .outlet import Outlet, standard_output
from .showing import line_of, now
from .target import handed_over, list_of, make_client, sockets_of
from .words import value_of

Emit = tuple[str, list[Any]]


def warn(text: str) -> None:
    """A line on standard error."""
    with suppress(OSError):  # nobody reads it
        sys.stderr.write(f"madang: {text}\n")
        sys.stderr.flush()


async def run(options: argparse.Namespace) -> int:
    """Do what the options ask for; the exit status.

    Raises:
        MadangError: wrong usage; nothing was sent.
    """
    emits = [(words[0], [value_of(word) for word in words[1:]]) for words in options.emit]
    answer = None if options.answer is None else [value_of(word) for word in options.answer]
    client = make_client(options)
    if options.verbose:
        trace(client, warn)
    out = standard_output()
    script = Script(options, client, out, emits, answer)
    work = asyncio.ensure_future(script.run())
    unread = asyncio.ensure_future(out.closed.wait())
    try:
        ends = (work, unread) if options.listen is not None else (work,)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return DONE  # whoever read has had enough
        return work.result()
    except (MadangError, Ended) as error:
        await out.flushed()
        warn(told(error, client.manager.uri))
        return status_of(error)
    finally:
        await _stop(work, unread)
        await client.close()
        out.close()


async def _stop(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Script:
    """One run.

    Args:
        options: what to do.
        client: with whom; not connected yet.
        out: where the lines go.
        emits: what to emit, in order.
        answer: what to answer whoever asks, or None.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        client: Client,
        out: Outlet,
        emits: Sequence[Emit],
        answer: list[Any] | None,
    ) -> None:
        self._options = options
        self._client = client
        self._out = out
        self._emits = emits
        self._answer = answer
        self._listens = options.listen is not None
        self._left: float = options.count if options.count is not None else float("inf")
        self._enough = asyncio.Event()
        self._life = Life(client, self._tell)

    async def run(self) -> int:
        """Join, emit, listen; the exit status.

        Raises:
            MadangError: it did not go well.
            Ended: likewise.
        """
        sockets = sockets_of(self._client)
        names = self._options.listen or ()
        # The streams are there before anything is emitted, so that no event is missed.
        streams = [socket.events(*names) for socket in sockets] if self._listens else []
        await asyncio.gather(*(socket.connect() for socket in sockets))
        listeners = [
            asyncio.ensure_future(self._print(socket, stream)) for socket, stream in zip(sockets, streams, strict=False)
        ]
        try:
            status = await self._emit_all()
            if self._listens and status == DONE:
                status = await self._listen(listeners)
        finally:
            await _stop(*listeners)
        await self._out.flushed()
        return status

    # emitting

    async def _emit_all(self) -> int:
        left = len(self._emits)
        for event, values in self._emits:
            left -= 1
            if self._options.ack:
                status = await self._ask(event, values)
                if status != DONE:
                    return status
            else:
                await self._hand_over(event, values, left == 0)
        return DONE

    async def _hand_over(self, event: str, values: Sequence[Any], last: bool) -> None:
        """Emit, and wait until it is in the network's hands."""
        client = self._client
        session = client.manager.engine
        client.emit(event, *values)
        await handed_over(client)
        if session is not None and client.manager.engine is session:
            return
        why = self._life.why()
        if not (
            last and isinstance(why, SocketClosed) and why.reason == IO_SERVER
        ):  # that may be what it has asked for
            raise why

    async def _ask(self, event: str, values: Sequence[Any]) -> int:
        answer: Any = await self._client.emit_with_ack(event, *values)
        if self._listens:
            args = list_of(answer)
            said = {"time": now(), "namespace": self._client.nsp, "answer": event, "args": args}
            self._out.put(line_of(said))
        else:
            self._out.put(line_of(answer))
        if type(answer) is dict and cast("dict[str, Any]", answer).get("error"):
            warn(f"the answer to {event!r} is an error")
            return REFUSED
        return DONE

    # listening

    async def _print(self, socket: ClientSocket, stream: EventStream) -> None:
        async for received in stream:
            if self._left <= 0:
                return
            self._left -= 1
            self._out.put(line_of(record(socket, received)))
            if self._answer is not None and received.ack.wanted:
                received.ack(*self._answer)
            if self._left <= 0:
                self._enough.set()
                return
            await self._out.room()

    async def _listen(self, listeners: Sequence[asyncio.Future[None]]) -> int:
        enough = asyncio.ensure_future(self._enough.wait())
        over = asyncio.gather(*listeners)
        try:
            await asyncio.wait((enough, over), timeout=self._options.seconds, return_when=asyncio.FIRST_COMPLETED)
            if self._enough.is_set():
                await self._client.drained()  # the answers
                return DONE
            if over.done():
                over.result()
                raise self._life.why()
        finally:
            await _stop(enough, over)
        if self._options.count is not None:
            raise Ended(
                LATE,
                f"{int(self._left)} of {self._options.count} events did not come within {self._options.seconds:g} s",
            )
        return DONE

    def _tell(self, kind: str, namespace: str, text: str) -> None:
        """Life goes to standard error, if somebody listens or wants to know; failures while connecting always do."""
        if kind != "dim" and (self._listens or self._options.verbose or "trying again" in text):
            warn(f"{namespace} {text}")


def record(socket: ClientSocket, received: Received) -> dict[str, Any]:
    """An event as ``--listen`` prints it."""
    return {
        "time": now(),
        "namespace": socket.nsp,
        "event": received.name,
        "args": list(received.args),
        "ack": received.ack.wanted,
    }
