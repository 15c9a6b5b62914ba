"""Sockets that listen: on a host and port, or at a path of the file system."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ..errors import OptionError
from .supervisor import SPREADS, address_of

_MODE: Final = 0o666
"""Who may connect to a path: all who may go to its folder, since a proxy is usually another user."""


@dataclass(slots=True)
class Place:
    """Where a server listens.

    Attributes:
        host: the address; an IPv6 address has a colon.
        port: the port; 0 for any free one.
        uds: a path, for a Unix socket in place of host and port.
    """

    host: str
    port: int
    uds: str | None = None
    _inode: int | None = field(default=None, init=False)

    @classmethod
    def of(cls, host: str, port: int, uds: Any) -> Place:
        """A place, checked.

        Raises:
            OptionError: `uds` is no path, or this system has no Unix sockets.
        """
        if uds is None:
            return cls(host, port)
        if not isinstance(uds, str | os.PathLike) or not str(cast("Any", uds)):
            raise OptionError(f"uds must be the path of a Unix socket, not {uds!r}")
        if not hasattr(socket, "AF_UNIX"):
            raise OptionError("uds: this system has no Unix sockets")
        return cls(host, port, os.path.abspath(cast("str", os.fspath(cast("Any", uds)))))

    def listen(self, known: int = 0, *, shared: bool = False) -> socket.socket:
        """A bound socket.

        Args:
            known: the port that an earlier one got, where any free one was wanted.
            shared: whether it is one of several that are bound to the same port.

        Raises:
            OSError: the place is taken or not ours; the message says which.
        """
        if self.uds is None:
            listener = _at_port(self.host, self.port or known, shared)
        else:
            listener = _at_path(self.uds)
            self._inode = os.stat(self.uds).st_ino
        listener.set_inheritable(True)
        return listener

    def require_free(self) -> None:
        """Find out whether somebody else listens there.

        A shared port would join another server of ours, and take half of its connections.

        Raises:
            OSError: as `listen`.
        """
        if self.uds is not None or self.port:
            listener = self.listen()
            listener.close()
            self.clear()

    def clear(self) -> None:
        """Leave no socket behind in the file system; one that another server has made meanwhile stays."""
        if self.uds is not None:
            with suppress(OSError):
                if os.stat(self.uds).st_ino == self._inode:
                    os.unlink(self.uds)


def url_of(scheme: str, listener: socket.socket) -> str:
    """What a socket listens on, as a URL; all interfaces are named by localhost."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{listener.getsockname()}"
    host, port = address_of(listener)
    named = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"{scheme}://{f'[{named}]' if ':' in named else named}:{port}"


def _at_port(host: str, port: int, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, so that asyncio turns Nagle's algorithm off on what is accepted
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and SPREADS:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def _at_path(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_room(path)
        listener.bind(path)
        os.chmod(path, _MODE)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen at {path}: {error.strerror or error}") from None
    return listener


def _make_room(path: str) -> None:
    """Take away the socket of a server that has ended without doing so itself."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:  # nobody listens any more
            os.unlink(path)
            return
        except OSError as error:
            raise OSError(
                errno.EADDRINUSE, f"it cannot be told whether another server listens there: {error}"
            ) from None
    raise OSError(errno.EADDRINUSE, "another server listens there")
