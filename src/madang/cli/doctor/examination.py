"""One examination, from the name of the server to an idle minute."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from . import handshake, paths, polls, reach, sockets
from .findings import Findings
from .paths import Found
from .polls import Session, Strange
from .sockets import Refused
from .websocket import Closed, WebSocket
from .wire import NoAnswer, Site

_NO_NAMESPACE: Final = ('"Invalid namespace"}', '"Unable to connect"}', '"Unable to connect"')
"""How the refusals of Node's and madang's servers end, and those of python-socketio's."""

_ROOM: Final = 64
"""Bytes that are kept free below the largest message."""


@dataclass(frozen=True)
class Wanted:
    """What is examined.

    Attributes:
        site: where the server should be.
        url_path: the path of the URL.
        namespace: what is joined, or None for what the URL's path names.
        auth: what is presented.
        origin: the origin of pages, or None.
        large: bytes of a large message.
        echo: an event that the application answers with what it was sent, or None.
        idle: seconds for which nothing is said; 0 to leave it out.
        sessions: how many sessions are had, to see whether they find their server again.
    """

    site: Site
    url_path: str = "/"
    namespace: str | None = None
    auth: dict[str, Any] | None = None
    origin: str | None = None
    large: int = 256 * 1024
    echo: str | None = None
    idle: float = 60.0
    sessions: int = 4


async def examine(wanted: Wanted, findings: Findings) -> None:
    """Examine a deployment, and tell what is found."""
    site = await reach.reach(wanted.site, findings)
    found = await paths.find(site, wanted.url_path, findings) if site is not None else None
    if found is None:
        return
    handshake.look_at_values(found, findings)
    size = _size(wanted.large, found, findings)
    polling = False
    if found.polls:
        if not await handshake.look_at_origins(found, wanted.origin, findings):
            wanted = replace(wanted, origin=None)  # the rest is examined without it
        polling = await polls.examine(found.site, wanted.sessions, findings)
        if polling:
            await polls.send_large(found.site, size, findings)
    socket = await _websocket(found, wanted, polling, findings)
    if socket is None and not polling:
        return
    try:
        await _go_in(Visit(found, wanted, socket, polling, findings), size)
    finally:
        if socket is not None:
            await socket.close()


@dataclass(frozen=True, slots=True)
class Visit:
    """What works of the ways in.

    Attributes:
        found: where Socket.IO is.
        wanted: what is examined.
        socket: a WebSocket, if one could be opened.
        polling: whether polling works.
        findings: what has been found.
    """

    found: Found
    wanted: Wanted
    socket: WebSocket | None
    polling: bool
    findings: Findings

    @property
    def namespace(self) -> str:
        """What is joined."""
        return self.wanted.namespace or ("/" if self.found.prefix else self.wanted.url_path)


async def _websocket(found: Found, wanted: Wanted, polling: bool, findings: Findings) -> WebSocket | None:
    """A WebSocket, come by through the upgrade if it works."""
    direct = await sockets.open_directly(found, wanted.origin, findings)
    if direct is None:
        return None
    await sockets.look_at_compression(found, findings)
    if not polling or "websocket" not in found.opening.upgrades:
        return direct
    upgraded = await sockets.upgrade(found, wanted.origin, findings)
    if upgraded is None:
        return direct
    await direct.close()
    return upgraded


async def _go_in(visit: Visit, size: int) -> None:
    """Join the namespace, send something large, and stay for a while."""
    welcome = await _join(visit)
    if welcome == "silent":
        return
    socket, timeout = visit.socket, visit.found.site.timeout
    if socket is not None and not await sockets.send_large(socket, size, timeout, visit.findings):
        socket = None
    event = visit.wanted.echo
    if socket is not None and event is not None and welcome == "joined":
        room = size - len(event.encode())
        if not await sockets.echo(socket, event, room, visit.namespace, timeout, visit.findings):
            socket = None
    if welcome == "joined" and visit.wanted.idle > 0:
        await _idle(replace(visit, socket=socket))


async def _join(visit: Visit) -> Literal["joined", "refused", "silent"]:
    namespace, wanted, findings = visit.namespace, visit.wanted, visit.findings
    try:
        if visit.socket is not None:
            await sockets.join(visit.socket, namespace, wanted.auth, visit.found.site.timeout)
        else:
            await (await _join_by_polling(visit)).end()
    except Refused as refused:
        seen = f"{namespace} does not let us in: {refused}"
        if str(refused).endswith(_NO_NAMESPACE):
            mend = "The server has no namespace of this name: --namespace, or the URL's path, says which is meant."
            findings.failed("namespace", seen, mend)
        elif wanted.auth is not None or wanted.namespace is not None:
            findings.failed("namespace", seen, "That is the application's word: is --auth what it wants?")
        else:
            why = "a connection that joins none is closed by the server, so none is left idle."
            findings.note("namespace", seen, f"Give --auth key=value, or --namespace: {why}")
        return "refused"
    except (Closed, NoAnswer, Strange) as error:
        findings.failed("namespace", f"{namespace} does not answer: {error}", "Is it Engine.IO without Socket.IO?")
        return "silent"
    findings.ok("namespace", f"{namespace} lets us in")
    return "joined"


async def _join_by_polling(visit: Visit) -> Session:
    session = await polls.begin(visit.found.site)
    packet = polls.connect_packet(visit.namespace, visit.wanted.auth)
    sockets.raise_if_refused((await session.answer_of(packet, visit.namespace))[0])
    return session


async def _idle(visit: Visit) -> None:
    """Leave a WebSocket and a session over polling idle, both at once."""
    seconds, findings = visit.wanted.idle, visit.findings
    findings.meanwhile(f"(saying nothing for {seconds:g} s)")
    async with asyncio.TaskGroup() as both:
        if visit.socket is not None:
            both.create_task(sockets.stay(visit.socket, visit.found, seconds, findings))
        if visit.polling:
            both.create_task(_idle_polling(visit, seconds))


async def _idle_polling(visit: Visit, seconds: float) -> None:
    try:
        session = await _join_by_polling(visit)
    except (NoAnswer, Strange, Refused) as error:
        visit.findings.failed("idle polling", f"no session any more: {error}")
        return
    await polls.stay(session, seconds, visit.findings)


def _size(wanted: int, found: Found, findings: Findings) -> int:
    most = found.opening.max_payload
    if most is None or wanted <= most - _ROOM:
        return wanted
    if wanted != Wanted.large:
        findings.note("large", f"--large is lowered to what the server takes, {most:,} bytes")
    return max(most - _ROOM, 1)
