"""WebSocket through what stands between: at once, by the upgrade, and what is said over it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from ..showing import name
from . import advice
from .findings import Findings
from .paths import Found, meaning
from .polls import NOWHERE, Strange, begin, connect_packet, is_from, large_connect
from .websocket import PING, PONG, Closed, WebSocket, ask_websocket
from .wire import Answer, NoAnswer, Site


class Refused(Exception):
    """The application does not let anybody in like this; the message is its own."""


async def open_directly(found: Found, origin: str | None, findings: Findings) -> WebSocket | None:
    """Open a WebSocket without polling before it; None if it does not work."""
    try:
        answer = await ask_websocket(found.site, origin=origin)
        if isinstance(answer, Answer):
            _tell_refusal("websocket", answer, found.site, findings)
            return None
        first = await answer.first(found.site.timeout)
    except (NoAnswer, Closed) as error:
        findings.failed("websocket", f"no WebSocket: {error}", *advice.UPGRADE)
        return None
    if extensions := answer.answer.get("sec-websocket-extensions"):
        seen = f"something on the way compresses what was not offered to be ({name(extensions)}): clients will fail"
        findings.failed("websocket", seen)
        await answer.close()
        return None
    if not first.startswith(b"0{"):
        findings.failed("websocket", f"the first message is no handshake: {first[:80]!r}")
        await answer.close()
        return None
    findings.ok("websocket", "101, and the server's handshake comes over it")
    return answer


def _tell_refusal(check: str, answer: Answer, site: Site, findings: Findings) -> None:
    seen, mend = meaning(answer, site)
    if b"origin" in answer.body.lower():
        mend = advice.ORIGIN
    elif answer.status in (200, 400, 426):
        seen = f"the handshake's headers Upgrade and Connection do not arrive: {seen}"
        mend = advice.UPGRADE
    elif answer.status == 403:
        mend = (*mend, "ASGI servers answer 403 to whatever is refused; the same by polling tells more.")
    findings.failed(check, f"no WebSocket: {seen}", *mend)


async def look_at_compression(found: Found, findings: Findings) -> None:
    """Tell whether messages would be compressed."""
    try:
        answer = await ask_websocket(found.site, compressed=True)
    except NoAnswer as error:
        seen = f"a handshake that offers permessage-deflate, as browsers do, fails: {error}"
        findings.failed("compression", seen, "Something on the way cannot stand it: switch it off or replace it.")
        return
    if isinstance(answer, Answer):
        seen = f"a handshake that offers permessage-deflate, as browsers do, is answered {answer.status}"
        findings.failed("compression", seen)
        return
    agreed = answer.answer.get("sec-websocket-extensions")
    await answer.close()
    findings.ok("compression", f"agreed on: {name(agreed)}" if agreed else "none: permessage-deflate is not agreed on")


async def upgrade(found: Found, origin: str | None, findings: Findings) -> WebSocket | None:
    """Begin with polling and change to WebSocket, as clients do; None if it does not work."""
    try:
        session = await begin(found.site)
        answer = await ask_websocket(found.site, session.opening.session_id, origin=origin, cookies=session.cookies)
        if isinstance(answer, Answer):
            strange = Strange(answer, found.site)
            if strange.is_unknown:
                findings.failed("upgrade", f"the WebSocket comes to another server: {strange}", *advice.STICKY)
            else:
                _tell_refusal("upgrade", answer, found.site, findings)
            await session.end()
            return None
        poll = asyncio.ensure_future(session.poll())
        try:
            await answer.send(b"2probe")
            probed = await answer.first(found.site.timeout)
            if probed != b"3probe":
                raise Closed(None, f"the probe was answered with {probed[:80]!r}")
            packets = await poll  # the server lets it go
        except BaseException:
            poll.cancel()
            await answer.close()
            raise
        await answer.send(b"5")
        if PING in packets:
            await answer.send(PONG)
    except (NoAnswer, Strange, Closed) as error:
        findings.failed("upgrade", f"from polling to WebSocket: {error}", *advice.UPGRADE)
        return None
    findings.ok("upgrade", "from polling to WebSocket, with a probe that was answered")
    return answer


async def join(socket: WebSocket, namespace: str, auth: dict[str, Any] | None, timeout: float) -> None:
    """Join a namespace.

    Raises:
        Refused: the application does not want it.
        Closed: the connection has ended, or nothing was answered.
    """
    await socket.send(connect_packet(namespace, auth))
    answer = await _answered(socket, namespace, timeout)
    raise_if_refused(answer)


def raise_if_refused(answer: bytes) -> None:
    """Look at the answer to a CONNECT.

    Raises:
        Refused: it is a refusal.
    """
    if answer.startswith(b"44"):
        raise Refused(name(answer[2:].decode("utf-8", "replace")))


async def send_large(socket: WebSocket, size: int, timeout: float, findings: Findings) -> bool:
    """Send a large frame, and see that it is answered; whether the connection is still good."""
    try:
        await socket.send(large_connect(size))
        await _answered(socket, NOWHERE, timeout)
    except Closed as closed:
        mend = (
            "The server's limit is max_http_buffer_size (maxHttpBufferSize); a firewall that reads WebSockets has one."
        )
        findings.failed("large frame", f"{size:,} bytes in one frame do not arrive: {closed}", mend)
        return False
    findings.ok("large frame", f"{size:,} bytes arrive in one frame")
    return True


async def echo(socket: WebSocket, event: str, size: int, namespace: str, timeout: float, findings: Findings) -> bool:
    """Send an event that the application answers with what it was sent; whether the connection is still good."""
    head = b"" if namespace == "/" else namespace.encode() + b","
    text = b"x" * size
    try:
        await socket.send(b"42" + head + b"0" + json.dumps([event]).encode()[:-1] + b',"' + text + b'"]')
        answer = await socket.first_that(lambda packet: packet.startswith(b"43" + head + b"0["), timeout)
    except Closed as closed:
        findings.failed("echo", f"{event!r} with {size:,} bytes is not answered: {closed}", "Has the application it?")
        return False
    if text not in answer:
        findings.failed("echo", f"the answer to {event!r} has only {len(answer):,} bytes")
    else:
        findings.ok("echo", f"{size:,} bytes come back in the answer to {event!r}")
    return True


async def stay(socket: WebSocket, found: Found, seconds: float, findings: Findings) -> None:
    """Say nothing for a while but pongs, and tell who cuts the connection if somebody does."""
    opening = found.opening
    began = last = time.monotonic()
    pings = 0
    try:
        while (left := began + seconds - time.monotonic()) > 0:
            quiet = last + opening.ping_interval + opening.ping_timeout + found.site.timeout - time.monotonic()
            try:
                packet = await asyncio.wait_for(socket.receive(), max(min(left, quiet), 0.001))
            except TimeoutError:
                if left <= quiet:
                    break
                seen = f"no ping came in {time.monotonic() - last:.0f} s, and no end of the connection either"
                why = "Something on the way holds frames back, or has forgotten the connection."
                findings.failed("idle", seen, why, *advice.TIMEOUT)
                return
            last = time.monotonic()
            pings += packet == PING
            if packet == PING:
                await socket.send(PONG)
            elif packet[:2] in (b"1", b"41"):
                findings.failed(
                    "idle", f"the server itself ended it after {last - began:.1f} s (packet {packet[:80]!r})"
                )
                return
        await socket.send(connect_packet(NOWHERE, None))
        await _answered(socket, NOWHERE, found.site.timeout)
    except Closed as closed:
        _tell_cut(closed, began, last, opening.ping_interval, findings)
        return
    due = "" if pings or seconds > opening.ping_interval else "; none was due yet, so --idle may be longer"
    findings.ok("idle", f"a connection that says nothing lives on after {seconds:g} s ({pings} pings{due})")


def _tell_cut(closed: Closed, began: float, last: float, interval: float, findings: Findings) -> None:
    now = time.monotonic()
    whole, quiet = now - began, now - last
    by = "the other end said why: the server, or a proxy that speaks WebSocket"
    if closed.code is None:
        by = "nobody said good-bye, as servers do: a proxy, a balancer or a network has cut it"
    elif closed.code == 1001:
        by = "the other end was going away: a restart of the server or the proxy"
    limit = advice.known_limit(quiet) or advice.known_limit(whole)
    findings.failed(
        "idle",
        f"the connection was cut after {whole:.1f} s, {quiet:.1f} s after its last message: {closed}; {by}",
        *limit,
        f"The server pings every {interval:g} s.",
        *advice.TIMEOUT,
    )


async def _answered(socket: WebSocket, namespace: str, timeout: float) -> bytes:
    return await socket.first_that(lambda packet: is_from(namespace, packet), timeout)
