"""Long-polling through what stands between: the same session each time, answers at once, bodies whole."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from ...engine.client_handshake import Opening
from ...protocol.engineio import split_payload
from . import advice
from .findings import Findings
from .paths import error_code, meaning, opening_in
from .wire import Answer, NoAnswer, Site

NOWHERE: Final = f"/madang-doctor-{secrets.token_hex(4)}"
"""A namespace that no server has: it answers a CONNECT to it, and its application hears nothing."""

_HELD_BACK: Final = 2.0
"""Seconds after which an answer that was ready has been held back."""

_UNKNOWN_SESSION: Final = 1


class Strange(Exception):
    """An answer that no session should have had.

    Args:
        answer: it.
        message: what it means.
        advice: what to change.
    """

    def __init__(self, answer: Answer, site: Site) -> None:
        message, self.advice = meaning(answer, site)
        super().__init__(message)
        self.answer = answer

    @property
    def is_unknown(self) -> bool:
        """Whether the session is not known to whom the request came to."""
        if self.answer.status != 400:
            return False
        return error_code(self.answer) == _UNKNOWN_SESSION or b"session" in self.answer.body.lower()


@dataclass(slots=True)
class Session:
    """A session over polling; each request has a connection of its own, and brings the cookies along."""

    site: Site
    opening: Opening
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    async def poll(self, patience: float | None = None) -> list[bytes]:
        """The packets that a poll brings.

        Raises:
            NoAnswer: it brings nothing.
            Strange: something else answered.
        """
        answer = await self.site.request(self._target(), cookies=self.cookies, patience=patience)
        if answer.status != 200:
            raise Strange(answer, self.site)
        return split_payload(answer.body)

    async def post(self, packets: bytes) -> None:
        """Send packets.

        Raises:
            NoAnswer: nobody took them.
            Strange: something else answered.
        """
        answer = await self.site.request(self._target(), packets, cookies=self.cookies)
        if answer.status != 200:
            raise Strange(answer, self.site)

    async def answer_of(self, packets: bytes, namespace: str) -> tuple[bytes, float]:
        """Send something while a poll is open, and wait for what a namespace says; it, and the seconds it took.

        Raises:
            NoAnswer: a request brought nothing.
            Strange: something else answered.
        """
        poll = asyncio.ensure_future(self.poll())
        try:
            began = time.monotonic()
            await self.post(packets)
            while True:
                got = await poll
                if answers := [packet for packet in got if is_from(namespace, packet)]:
                    return answers[0], time.monotonic() - began
                if b"2" in got:
                    await self.post(b"3")
                poll = asyncio.ensure_future(self.poll())
        finally:
            poll.cancel()
            with suppress(asyncio.CancelledError, NoAnswer, Strange):
                await poll

    async def end(self) -> None:
        """Let the server forget it."""
        with suppress(NoAnswer, Strange):
            await self.post(b"1")

    def _target(self) -> str:
        return self.site.target("polling", self.opening.session_id)


def is_from(namespace: str, packet: bytes) -> bool:
    """Whether a packet is the answer of a namespace to a CONNECT."""
    if packet[:2] not in (b"40", b"44"):
        return False
    rest = packet[2:]
    return not rest.startswith(b"/") if namespace == "/" else rest.partition(b",")[0] == namespace.encode()


async def begin(site: Site, *, with_cookies: bool = True) -> Session:
    """A new session.

    Raises:
        NoAnswer: there is none.
        Strange: something else answered.
    """
    answer = await site.request(site.target("polling"))
    opening = opening_in(answer)
    if opening is None:
        raise Strange(answer, site)
    given: dict[str, str] = {}
    for said in answer.all("set-cookie") if with_cookies else ():
        key, _, value = said.partition(";")[0].partition("=")
        given[key.strip()] = value.strip()
    return Session(site, opening, given)


# ------------------------------------------------------------------------------------------------------------ examining


async def examine(site: Site, sessions: int, findings: Findings) -> bool:
    """Have several sessions, one after another; whether polling can be relied on."""
    slowest, strangers, cookies = 0.0, 0, set[str]()
    for _ in range(sessions):
        session = None
        try:
            session = await begin(site)
            cookies |= set(session.cookies)
            slowest = max(slowest, (await session.answer_of(connect_packet(NOWHERE, None), NOWHERE))[1])
            await session.post(b"1")
        except Strange as error:
            if not error.is_unknown:
                findings.failed("polling", f"a request of a session is not taken: {error}", *error.advice)
                return False
            strangers += 1
        except NoAnswer as error:
            findings.failed("polling", f"what the server answers does not come: {error}", *advice.BUFFERING)
            if session is not None:
                await session.end()
            return False
    if strangers:
        seen = f"{strangers} of {sessions} sessions met a server that does not know them (Session ID unknown)"
        findings.failed("sessions", f"{seen}: several servers, and no sticky sessions", *advice.STICKY)
        return False
    if slowest > _HELD_BACK:
        findings.note("polling", f"an answer came {slowest:.1f} s late: something holds it back", *advice.BUFFERING)
    else:
        findings.ok("polling", f"polls and POSTs work; an answer comes within {slowest * 1000:.0f} ms")
    await _look_at_cookies(site, sessions, sorted(cookies), findings)
    return True


async def _look_at_cookies(site: Site, sessions: int, cookies: list[str], findings: Findings) -> None:
    if cookies and await _is_lost_without_cookies(site):
        findings.note(
            "sessions",
            f"sessions stay with their server, but only with the cookie {', '.join(cookies)}",
            "Pages of other origins, and clients that are no browsers, need withCredentials: true (with_credentials).",
        )
        return
    findings.ok(
        "sessions", f"{sessions} of {sessions} sessions found their server again, over connections of their own"
    )


async def _is_lost_without_cookies(site: Site) -> bool:
    for _ in range(3):
        with suppress(NoAnswer):
            session = await begin(site, with_cookies=False)
            try:
                await session.post(b"1")
            except Strange:
                return True
    return False


async def send_large(site: Site, size: int, findings: Findings) -> None:
    """Send a large POST, and see that it is answered."""
    session = None
    try:
        session = await begin(site)
        await session.answer_of(large_connect(size), NOWHERE)
        findings.ok("large POST", f"{size:,} bytes arrive")
    except (NoAnswer, Strange) as error:
        mend: tuple[str, ...] = advice.BODY
        if isinstance(error, Strange) and error.is_unknown:
            mend = advice.STICKY
        findings.failed("large POST", f"{size:,} bytes do not arrive: {error}", *mend)
    if session is not None:
        await session.end()


def connect_packet(namespace: str, auth: dict[str, Any] | None) -> bytes:
    """What asks to join a namespace."""
    data = json.dumps(auth).encode() if auth is not None else b""
    return b"40" + data if namespace == "/" else b"40" + namespace.encode() + b"," + data


def large_connect(size: int) -> bytes:
    """A CONNECT of this size to the namespace that no server has."""
    head, tail = b"40" + NOWHERE.encode() + b',{"large":"', b'"}'
    return head + b"x" * max(size - len(head) - len(tail), 0) + tail


async def stay(session: Session, seconds: float, findings: Findings) -> None:
    """Poll for a while, answering pings; then see that the session is still there."""
    since = time.monotonic()
    try:
        pings = await _poll_for(session, seconds, lambda: time.monotonic() - since)
    except (NoAnswer, Strange) as error:
        if isinstance(error, Strange) and error.is_unknown:
            findings.failed("idle polling", f"the session was lost: {error}", *advice.STICKY)
            return
        after = time.monotonic() - since
        seen = f"a session that says nothing has failed after {after:.1f} s: {error}"
        findings.failed("idle polling", seen, *advice.known_limit(after), *advice.TIMEOUT)
        return
    findings.ok("idle polling", f"a session that says nothing lives on after {seconds:g} s ({pings} pings)")
    await session.end()


async def _poll_for(session: Session, seconds: float, passed: Callable[[], float]) -> int:
    """Poll for so long; how many pings came.

    The last poll is not cut off but answered, since some servers keep one whose client has left.
    """
    pings, asked = 0, False
    while True:
        poll = asyncio.ensure_future(session.poll(max(seconds - passed(), 0) + session.site.timeout))
        try:
            if not asked:
                await asyncio.wait({poll}, timeout=max(seconds - passed(), 0))
            if not asked and passed() >= seconds:
                asked = True
                await session.post(connect_packet(NOWHERE, None))
            packets = await poll
        finally:
            poll.cancel()
            with suppress(asyncio.CancelledError, NoAnswer, Strange):
                await poll
        if b"2" in packets:
            pings += 1
            await session.post(b"3")
        if b"1" in packets:
            raise NoAnswer("the server has ended the session")
        if any(is_from(NOWHERE, packet) for packet in packets):
            return pings
