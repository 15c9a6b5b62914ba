"""Static files beside the endpoint, for small pages that need no web framework."""

from __future__ import annotations

import asyncio
import email.utils
import mimetypes
import os
import stat
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias, cast

from ..engine.content import matches_etag
from ..errors import OptionError

StaticFilesOption: TypeAlias = "Mapping[str, str | PathLike[str]]"
"""URL paths, and the file or folder that each stands for."""

CHUNK: Final = 64 * 1024
"""Bytes that are read and sent at once."""

_INDEX: Final = "index.html"
_TEXT: Final = ("text/", "application/javascript", "application/json", "image/svg+xml")


class _Found(NamedTuple):
    """An open file and what is told of it."""

    file: BinaryIO
    size: int
    modified: float
    name: str


class StaticFiles:
    """An ASGI application that serves files, and leaves all else to another one.

    A URL path stands for a file, or for a folder, of which everything below is served and ``index.html`` for the folder
    itself; the longest path that fits counts. Names that begin with a dot, and links that lead out of the folder, are
    not served. Only GET and HEAD are for files.

    Args:
        files: such as ``{"/": "web/index.html", "/static": "web/static"}``.
        app: the application for what is no file; None answers 404.

    Raises:
        OptionError: a path that does not begin with a slash, or a file or folder that is not there.
    """

    def __init__(self, files: StaticFilesOption, app: Any = None) -> None:
        self.app = app
        if not isinstance(cast("Any", files), Mapping):
            raise OptionError(f"static_files must be a dict such as {{'/': 'web/index.html'}}, not {files!r}")
        self._roots = sorted(
            (_checked(url, place) for url, place in files.items()), key=lambda root: len(root[0]), reverse=True
        )

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            for url, place in self._roots:
                below = _below(url, path)
                if below is not None:
                    found = await asyncio.to_thread(_open, place, below)
                    if found is not None:
                        await _send(found, scope, send)
                        return
        if self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(404, b"Not found.\n", [(b"content-type", b"text/plain; charset=utf-8")], scope, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404})
        else:
            raise RuntimeError("static files have no lifespan")  # says to the server that there is none


def _checked(url: Any, place: Any) -> tuple[str, Path]:
    """A pair of the option, as it is used: the URL without its last slash, the place without links."""
    if not isinstance(url, str) or not url.startswith("/"):
        raise OptionError(f"static_files: the path of a URL begins with a slash; {url!r} does not")
    if not isinstance(place, str | PathLike):
        raise OptionError(f"static_files: {url} must stand for a file or folder, not for {place!r}")
    try:
        return url.rstrip("/"), Path(cast("Any", place)).resolve(strict=True)
    except OSError as error:
        raise OptionError(f"static_files: {url} stands for {place}, which cannot be found: {error.strerror}") from None


def _below(url: str, path: str) -> str | None:
    """What of a request's path is below a URL; None if it is not below it."""
    if path.rstrip("/") == url:
        return ""
    return path[len(url) + 1 :] if path.startswith(f"{url}/") else None


def _open(place: Path, below: str) -> _Found | None:
    """The file that is meant, if there is one that may be served."""
    try:
        path = place
        if place.is_dir():
            if any(part.startswith(".") for part in below.split("/")) or "\\" in below or "\0" in below:
                return None
            path = (place / below).resolve(strict=True)
            if path.is_dir():
                if below and not below.endswith("/"):
                    return None  # its own links would lead elsewhere
                path = (path / _INDEX).resolve(strict=True)
            if not path.is_relative_to(place):
                return None
        elif below:
            return None
        file = path.open("rb")
    except (OSError, ValueError):
        return None
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        file.close()
        return None
    return _Found(file, facts.st_size, facts.st_mtime, path.name)


async def _send(found: _Found, scope: dict[str, Any], send: Any) -> None:
    """Send a file, piece by piece, or say that the client has it."""
    file, size, modified, name = found
    try:
        etag = f'"{int(modified * 1e6):x}-{size:x}"'
        headers = [(b"etag", etag.encode()), (b"last-modified", email.utils.formatdate(modified, usegmt=True).encode())]
        if _has_it(scope["headers"], etag, modified):
            await _answer(304, b"", headers, scope, send)
            return
        headers += [(b"content-type", _type_of(name).encode()), (b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        left = size if scope["method"] == "GET" else 0
        while left > 0:
            part = await asyncio.to_thread(file.read, min(CHUNK, left))
            if not part:
                raise OSError(f"{name} became shorter while it was sent")
            left -= len(part)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        file.close()


async def _answer(status: int, body: bytes, headers: list[tuple[bytes, bytes]], scope: Any, send: Any) -> None:
    if status != 304:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _has_it(headers: Any, etag: str, modified: float) -> bool:
    """Whether the client has the file as it is (RFC 9110, section 13.2.2)."""
    given = {name: value.decode("latin-1") for name, value in headers if name.startswith(b"if-")}
    if b"if-none-match" in given:
        return matches_etag(given[b"if-none-match"], etag)
    try:
        since = email.utils.parsedate_to_datetime(given[b"if-modified-since"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return False
    return int(modified) <= since


def _type_of(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind
