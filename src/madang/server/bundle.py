"""The browser's client, served by the server itself from an npm package that is installed (Node's ``serveClient``)."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Mapping
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import orjson

from ..engine.content import COMPRESSIONS, Compress, matches_etag, wanted_encoding
from ..engine.cors import Cors
from ..engine.http import Exchange, Request, Response
from ..errors import OptionError

logger = logging.getLogger("madang.server")

SCRIPTS: Final = ("socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js")
NAMES: Final = frozenset((*SCRIPTS, *(f"{name}.map" for name in SCRIPTS)))
"""The files that are served: nothing else of the folder is."""

LARGEST: Final = 8 * 1024 * 1024
"""Bytes that a file may have; the largest of the real ones has a tenth of that."""

_IN_PACKAGES: Final = ("client-dist", "dist")
_PACKAGES: Final = ("node_modules/socket.io/client-dist", "node_modules/socket.io-client/dist")
_MEND: Final = "npm install socket.io-client, or name the folder: serve_client='path/to/socket.io-client/dist'"


def find_bundle(start: Path) -> Path | None:
    """The folder of an installed client, in the ``node_modules`` of `start` or of a folder above it."""
    for folder in (start, *start.parents):
        for package in _PACKAGES:
            if _has_bundle(folder / package):
                return folder / package
    return None


def _has_bundle(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SCRIPTS)


class Bundle:
    """Answers requests for the client's files; each is read, and compressed, when it is first asked for, and kept.

    Args:
        option: the server's `serve_client`. None: what is found when it is first asked for. True: what is found now.
            A path: the folder, or that of the npm package.

    Raises:
        OptionError: there is no client where it should be, or the option is of another kind.
    """

    def __init__(self, option: bool | str | PathLike[str] | None) -> None:
        self._folder: Path | None = None
        self._sought = option is not None
        self._files: dict[tuple[str, str | None], bytes | None] = {}
        self._etag = ""
        self._encodings = _encodings()
        if option is True:
            self._folder = find_bundle(Path.cwd())
            if self._folder is None:
                raise OptionError(f"serve_client: no client is installed in {Path.cwd()} or above: {_MEND}")
        elif option is not None:
            self._folder = _folder_of(option)

    def answer(self, exchange: Exchange, prefix: str, cors: Cors) -> bool:
        """Answer a request for one of the files.

        Args:
            exchange: a request below `prefix`.
            prefix: the server's path.
            cors: whose headers the answer gets.

        Returns:
            Whether it has been answered; if not, it is no request for a file that is there.
        """
        request = exchange.request
        name = request.path[len(prefix) :].lstrip("/")
        if name not in NAMES or request.method not in ("GET", "HEAD"):
            return False
        plain = self._file(name, None)
        if plain is None:
            return False
        response = self._response(request, name, plain)
        response.headers += cors.headers(request)
        exchange.respond(response)
        return True

    def _response(self, request: Request, name: str, plain: bytes) -> Response:
        headers = [("cache-control", "public, max-age=0"), ("etag", self._etag), ("vary", "Accept-Encoding")]
        if matches_etag(request.headers.get("if-none-match", ""), self._etag):
            return Response(304, headers=headers)
        encoding = wanted_encoding(request, self._encodings)
        body = self._file(name, encoding) if encoding is not None else None
        if encoding is not None and body is not None:
            headers.append(("content-encoding", encoding))
        kind = "application/json" if name.endswith(".map") else "application/javascript"
        return Response(200, plain if body is None else body, f"{kind}; charset=utf-8", headers)

    def _file(self, name: str, encoding: str | None) -> bytes | None:
        """A file's bytes, in a form that the client can read."""
        known = self._files.get((name, encoding), b"")
        if known != b"":
            return known
        if not self._sought:
            self._sought = True
            self._folder = find_bundle(Path.cwd())
        body = None if self._folder is None else self._read(self._folder, name)
        if body is not None and encoding is not None:
            body = self._encodings[encoding](body)
        self._files[name, encoding] = body
        return body

    def _read(self, folder: Path, name: str) -> bytes | None:
        plain = self._files.get((name, None))
        if plain is not None:
            return plain
        try:
            with (folder / name).open("rb") as file:
                body = file.read(LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.error("serve_client: %s cannot be read: %s", folder / name, error)
            return None
        if len(body) > LARGEST:
            logger.error("serve_client: %s has more than %d bytes, and is not served", folder / name, LARGEST)
            return None
        self._etag = self._etag or f'"{_version(folder) or hashlib.sha256(body).hexdigest()[:16]}"'
        return body


def _folder_of(option: object) -> Path:
    if not isinstance(option, str | PathLike):
        raise OptionError(f"serve_client must be True, False or the path of a folder, not {option!r}")
    named = Path(fspath(option)).absolute()  # pyright: ignore[reportUnknownArgumentType]
    for folder in (named, *(named / inner for inner in _IN_PACKAGES)):
        if _has_bundle(folder):
            return folder
    raise OptionError(f"serve_client: {named} has none of {', '.join(SCRIPTS)}: {_MEND}")


def _version(folder: Path) -> str | None:
    """What the npm package says that its version is."""
    try:
        package: Any = orjson.loads((folder.parent / "package.json").read_bytes())
        version: Any = package["version"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return version if isinstance(version, str) and version.isascii() and version.isprintable() else None


def _encodings() -> Mapping[str, Compress]:
    """The content codings on offer: Brotli too where a module for it is installed."""
    for module in ("brotli", "brotlicffi"):
        try:
            return {"br": partial(importlib.import_module(module).compress, quality=5), **COMPRESSIONS}
        except ImportError:
            continue
    return COMPRESSIONS
