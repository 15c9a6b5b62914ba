"""Where Socket.IO answers, and what the other answers mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ...engine.client_handshake import Opening, read_opening
from ...errors import PacketError
from ...hosting.misplaced import MISPLACED
from ...protocol.engineio import SEPARATOR
from ..showing import name
from . import advice
from .findings import Findings
from .websocket import Closed, WebSocket, ask_websocket
from .wire import Answer, NoAnswer, Site

_TRANSPORT_UNKNOWN: Final = 0
_BAD_VERSION: Final = 5


@dataclass(frozen=True, slots=True)
class Found:
    """Where Socket.IO is.

    Attributes:
        site: with the path that answers.
        opening: what the server says of itself.
        polls: whether it takes polling.
        prefix: whether the path begins with that of the URL, which names no namespace then.
    """

    site: Site
    opening: Opening
    polls: bool
    prefix: bool = False


def opening_in(answer: Answer) -> Opening | None:
    """The handshake in an answer to a first poll, or None if there is none."""
    if answer.status != 200 or not answer.body.startswith(b"0"):
        return None
    try:
        return read_opening(answer.body[1:].split(SEPARATOR)[0])
    except PacketError:
        return None


async def find(site: Site, url_path: str, findings: Findings) -> Found | None:
    """Find Socket.IO: at the path that is given, or at one that is near; None if it cannot be found.

    Args:
        site: where it should be.
        url_path: the path of the URL, which may be where the application is mounted.
        findings: what has been found.
    """
    try:
        answer = await site.request(site.target("polling"))
    except NoAnswer as error:
        said = "Another service on this port? A server that speaks TLS is reached by https://." if not site.tls else ""
        findings.failed("path", f"{site.path}: {error}", *filter(None, (said,)))
        return None
    opening = opening_in(answer)
    if opening is not None:
        findings.ok("path", f"Socket.IO answers at {site.path}")
        return Found(site, opening, polls=True)
    if error_code(answer) == _TRANSPORT_UNKNOWN:
        return await _without_polling(site, findings)
    seen, mend = meaning(answer, site)
    if _is_elsewhere(answer):
        near, hint = await _search(site, url_path)
        if near is not None:
            path = near.site.path
            findings.failed("path", f"{site.path}: {seen}. Socket.IO answers at {path}", *_move(site.path, path))
            return near
        tried = ", ".join(_near(site.path, url_path))
        mend = (*(hint or mend), f"Nothing answers at these paths either: {tried}.")
    findings.failed("path", f"{site.path}: {seen}", *mend)
    return None


async def _search(site: Site, url_path: str) -> tuple[Found | None, tuple[str, ...]]:
    """Look at paths that may have been meant: where Socket.IO is, or what a server of madang's says that was met."""
    hint: tuple[str, ...] = ()
    below = url_path.rstrip("/")
    for path in _near(site.path, url_path):
        near = replace(site, path=path)
        try:
            answer = await near.request(near.target("polling"))
        except NoAnswer:
            continue
        if (opening := opening_in(answer)) is not None:
            return Found(near, opening, polls=True, prefix=bool(below) and path.startswith(below)), ()
        if not hint and answer.body.startswith(MISPLACED):
            hint = (f"A server of madang's says at {path}: {answer.says}",)
    return None, hint


async def _without_polling(site: Site, findings: Findings) -> Found | None:
    """The server takes no polling: its handshake is that of a WebSocket."""
    try:
        socket = await ask_websocket(site)
        if isinstance(socket, WebSocket):
            try:
                first = await socket.first(site.timeout)
            finally:
                await socket.close()
            opening = read_opening(first[1:])
            findings.ok("path", f"Socket.IO answers at {site.path}")
            findings.note("polling", 'the server takes no polling: clients need transports: ["websocket"]')
            return Found(site, opening, polls=False)
        said = f"it answers {socket.status} to a WebSocket"
    except (NoAnswer, Closed, PacketError) as error:
        said = str(error)
    findings.failed("path", f"{site.path}: the server takes no polling, and WebSocket fails: {said}", *advice.UPGRADE)
    return None


def _is_elsewhere(answer: Answer) -> bool:
    """Whether an answer leaves it open that Socket.IO is at another path."""
    if error_code(answer) is not None:
        return False
    return answer.status in (200, 204, 400, 404, 405, 426, 501) or (
        300 <= answer.status < 400 and urlsplit(answer.get("location")).scheme == ""
    )


def _near(path: str, url_path: str) -> Iterator[str]:
    """Paths that may have been meant."""
    below = url_path.rstrip("/")
    paths = [path.rstrip("/"), below + path, f"{below}/", f"{path}socket.io/", "/socket.io/"]
    paths += ["/", "/engine.io/", "/api/socket.io/", "/ws/socket.io/", "/ws/"]
    yield from (near for near in dict.fromkeys(paths) if near and near != path)


def _move(wanted: str, path: str) -> tuple[str, ...]:
    if path == wanted.rstrip("/"):
        return ("The slash at the end is lost: give the server the path with one, or clients addTrailingSlash: false.",)
    doubled = f"Its path is there twice: mount it at {wanted.rstrip('/')}, or give the server that path, not both."
    lost = "The proxy keeps a prefix, or takes one away: nginx's proxy_pass with a path behind the host does that."
    return (
        f'Give clients path: "{path}", or move the server to {wanted}.',
        doubled if path == f"{wanted}socket.io/" else lost,
    )


def error_code(answer: Answer) -> int | None:
    """The number of an error of Engine.IO, or None if the answer is not one."""
    try:
        said: Any = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    code: object = cast("dict[str, Any]", said).get("code") if isinstance(said, dict) else None
    return code if isinstance(code, int) else None


def meaning(answer: Answer, site: Site) -> tuple[str, tuple[str, ...]]:
    """What an answer means that is none of Socket.IO's: what is seen, and what to change."""
    status = answer.status
    by = f", Server: {name(answer.get('server'))}" if answer.get("server") else ""
    seen = f"the answer is {status}{by}" + (f", {answer.says!r}" if answer.body else "")
    if error_code(answer) == _BAD_VERSION:
        return seen, ("The server speaks another version: this is Engine.IO 4, of Socket.IO 3 and 4.",)
    if 300 <= status < 400:
        return _redirect(answer, site)
    if status in (200, 204) and answer.body[:1].isdigit() and b":0{" in answer.body[:10]:
        return seen, ("That is Engine.IO 3, of Socket.IO 2: bring the server to Socket.IO 4.",)
    if status in (200, 204):
        page = f"the answer is a page ({status}{by}), not Socket.IO" if answer.is_html else seen
        return page, (
            f"Another application answers here: let the proxy send {site.path} to the Socket.IO server first.",
        )
    if status == 400 and b"HTTPS port" in answer.body:
        return seen, (f"The port speaks TLS: begin the URL with https://, such as https://{site.address.host}.",)
    return seen, _BY_STATUS.get(status, ("The server's log, or the proxy's, tells more.",))


_BY_STATUS: Final[dict[int, tuple[str, ...]]] = {
    401: ("Somebody wants a password before the server is asked: nginx's auth_basic; give it by --header.",),
    403: ("A firewall, or a rule of the proxy, refuses; or the server: allow_request, or the origin.",),
    404: (
        "Nothing is mounted here: which path has the server? --path, or the URL with the prefix, has it tried there.",
        "nginx: a location for it, and proxy_pass without a path behind the host.",
    ),
    413: advice.BODY,
    429: ("A limit of requests refuses; polling needs many. nginx: limit_req.",),
    502: advice.AWAY,
    503: advice.AWAY,
    504: advice.AWAY,
}


def _redirect(answer: Answer, site: Site) -> tuple[str, tuple[str, ...]]:
    where = answer.get("location")
    seen = f"the answer is {answer.status}, a redirect to {name(where)}; no WebSocket follows one"
    parts = urlsplit(where)
    if parts.scheme == "https" and not site.address.secure:
        return seen, (f"Give clients the URL https://{parts.netloc}, and try: madang doctor https://{parts.netloc}",)
    if parts.netloc and parts.netloc != site.address.netloc:
        return seen, (f"Give clients the URL {parts.scheme}://{parts.netloc} itself.",)
    return seen, ("Give clients the path that it leads to, or keep the proxy from redirecting (a slash at the end?).",)
