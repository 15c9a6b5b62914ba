"""``madang connect URL`` without ``--emit`` and ``--listen``: a prompt, or lines from standard input."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec

from ..errors import ConnectionFailed, MadangError
from . import lines
from .outcome import DONE, status_of
from .outlet import standard_output
from .script import warn
from .session import Session
from .showing import Look, name
from .target import make_client

WIDTH = 100
"""Columns of an output that is no terminal."""


async def run(options: argparse.Namespace) -> int:
    """Talk to a server until the user has had enough; the exit status."""
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if at_terminal and os.environ.get("TERM") != "dumb":
        if find_spec("prompt_toolkit") is not None:
            return await _at_prompt(options)
        warn("pip install 'madang[cli]' adds a prompt with completion and history; .help lists what there is")
    return await _with_lines(options, at_terminal)


async def _at_prompt(options: argparse.Namespace) -> int:
    from . import terminal

    screen = terminal.Screen()
    look = Look(_in_colour(), terminal.columns)
    client = make_client(options)
    session = Session(
        client,
        screen,
        look,
        lambda text: screen.put(look.paint(text, "bad")),
        (lambda text: screen.put(look.paint(text, "dim"))) if options.verbose else None,
    )
    with _Logged(screen.put):
        session.note(f"{name(client.manager.uri)}; .help tells what can be done, Ctrl-D ends")
        try:
            session.connect()
            status = await terminal.converse(session, screen)
        finally:
            await session.close()
        await screen.flushed()
    return status


async def _with_lines(options: argparse.Namespace, at_terminal: bool) -> int:
    client = make_client(options)
    out = standard_output()
    look = Look(_in_colour(), (lambda: os.get_terminal_size().columns) if sys.stdout.isatty() else lambda: WIDTH)
    session = Session(client, out, look, warn, warn if options.verbose else None)
    try:
        session.connect()
        if not at_terminal:
            await session.connected()
        await lines.converse(session, in_turn=not at_terminal)
    except MadangError as error:  # it has been displayed as it happened, but for one
        session.status = status_of(error)
        if isinstance(error, ConnectionFailed) and error.message == "timeout":
            session.failed(error)
    finally:
        await session.close()
        out.close()
    await out.flushed()
    return DONE if at_terminal else session.status


def _in_colour() -> bool:
    """Whether to use colours: at a terminal, unless NO_COLOR says otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Logged(logging.Handler):
    """Displays what is logged above the prompt, instead of in the midst of it.

    Args:
        put: displays a line.
    """

    def __init__(self, put: Callable[[str], object]) -> None:
        super().__init__()
        self._put = put
        self._others: list[logging.Handler] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Display a record."""
        self._put(f"{record.levelname} {record.name}: {name(record.getMessage())}")

    def __enter__(self) -> None:
        root = logging.getLogger()
        self._others = root.handlers[:]
        root.handlers[:] = [self]

    def __exit__(self, *_: object) -> None:
        logging.getLogger().handlers[:] = self._others
