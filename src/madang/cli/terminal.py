"""A session at a terminal, with prompt_toolkit: completion, history, and events above what is being typed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent

from .commands import Quit, obey
from .completing import offers
from .outcome import DONE, INTERRUPTED
from .outlet import FULL, Waiting
from .session import Session
from .showing import visible

KEPT: Final = 1000
"""Lines of the history that are kept."""

_PAUSE: Final = 0.02
"""Seconds in which what is to be displayed is gathered, so that a flood leaves time for typing."""


async def converse(session: Session, screen: Screen) -> int:
    """Read lines and obey them, until the user has had enough; the exit status."""
    prompt: PromptSession[str] = PromptSession(
        message=lambda: session.prompt,
        completer=SessionCompleter(session),
        complete_while_typing=False,
        history=LineHistory(history_file()),
        key_bindings=_keys(),
    )
    session.changed = prompt.app.invalidate
    screen.prompt = prompt.app

    def accept(buffer: Buffer) -> bool:
        screen.put(f"{session.prompt}{visible(buffer.text)}")
        try:
            obey(session, buffer.text)
        except Quit:
            prompt.app.exit(exception=EOFError)
        return False

    # One prompt for the whole session: between two, the terminal would take keys for itself, Ctrl-D above all.
    prompt.default_buffer.accept_handler = accept
    try:
        await prompt.prompt_async(handle_sigint=False)
    except KeyboardInterrupt:  # the key, on an empty line
        return INTERRUPTED + signal.SIGINT
    except EOFError:
        return DONE
    finally:
        session.changed = lambda: None
    return DONE


def columns() -> int:
    """The width of the terminal."""
    return shutil.get_terminal_size().columns


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def clear_or_end(event: KeyPressEvent) -> None:
        buffer = event.app.current_buffer
        if buffer.text:
            buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys


class Screen:
    """The part of the terminal above the prompt.

    Attributes:
        prompt: the application that shows the prompt, once there is one.
    """

    def __init__(self) -> None:
        self.prompt: Application[str] | None = None
        self._texts: list[str] = []
        self._waiting = Waiting()
        self._writing: asyncio.Task[None] | None = None

    def put(self, text: str) -> None:
        """Display a line; never waits."""
        self._texts.append(text)
        self._waiting.more(len(text))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def room(self) -> None:
        """Wait until not too much waits to be displayed."""
        await self._waiting.at_most(FULL)

    async def flushed(self) -> None:
        """Wait until everything has been displayed."""
        await self._waiting.at_most(0)

    async def _write(self) -> None:
        while self._texts:
            texts, self._texts = self._texts, []
            with suppress(OSError):  # the terminal has gone; the prompt finds out by itself
                self._display("".join(f"{text}\n" for text in texts))
            self._waiting.less(sum(map(len, texts)))
            await asyncio.sleep(_PAUSE)
        self._writing = None

    def _display(self, text: str) -> None:
        prompt = self.prompt
        if prompt is None or not prompt.is_running:
            sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))
            sys.stdout.buffer.flush()
            return
        # Not prompt_toolkit's `in_terminal`: it leaves the raw mode meanwhile, and Ctrl-C and Ctrl-D to the terminal.
        prompt.renderer.erase()
        prompt.output.write_raw(text.replace("\n", "\r\n"))
        prompt.output.flush()
        prompt.renderer.reset()
        prompt.renderer.request_absolute_cursor_position()
        prompt.invalidate()


class SessionCompleter(Completer):
    """Offers what `completing` finds.

    Args:
        session: the session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What Tab offers."""
        for offer in offers(self._session, document.text_before_cursor):
            yield Completion(offer.text, -offer.instead_of, display_meta=offer.about)


# ------------------------------------------------------------------------------------------------------------- history


def history_file() -> Path:
    """Where lines are kept from one session to the next."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "madang" / "connect_history"


class LineHistory(History):
    """Lines in a file that nobody else may read; without those that may hold secrets.

    Args:
        path: the file. If it cannot be written, lines are kept for this session.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    async def load(self) -> AsyncGenerator[str, None]:
        """The lines, the last one first; read at once, since they are few."""
        if not self._loaded:
            self._loaded_strings = list(self.load_history_strings())
            self._loaded = True
        for line in self._loaded_strings:
            yield line

    def load_history_strings(self) -> Iterable[str]:
        """The lines of the file, the last one first; a file that has grown is made shorter."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            if len(lines) > 2 * KEPT:
                self._path.write_text("".join(f"{line}\n" for line in lines[-KEPT:]), encoding="utf-8")
        except (OSError, UnicodeError):
            return []
        return lines[: -KEPT - 1 : -1]

    def append_string(self, string: str) -> None:
        """Keep a line, unless it may hold a secret."""
        if keeps(string):
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """Write a line into the file."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "a", encoding="utf-8") as file:
                file.write(f"{' '.join(string.splitlines())}\n")
        except (OSError, UnicodeError):
            pass


def keeps(line: str) -> bool:
    """Whether a line is kept: not one that begins with a space, nor what is presented to a server."""
    return bool(line) and not line[0].isspace() and not line.startswith(".auth")
