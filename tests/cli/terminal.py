"""A terminal, as far as a test needs one: a pseudo-terminal, what was written to it, and keys."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import termios
from pathlib import Path

from tests.cli.running import COMMAND
from tests.hosts import ROOT

SHOWN_WITHIN = 15.0

_SEQUENCES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])|[\r\x07]|\x1b\]2;[^\x07]*\x07")

TAB, ENTER, CTRL_C, CTRL_D, UP = "\t", "\r", "\x03", "\x04", "\x1b[A"


class Terminal:
    """A pseudo-terminal with a command in it.

    Args:
        home: where the command keeps its history, and where it runs.

    Attributes:
        written: all that the command has written, as it is.
        home: the folder.
        size: rows and columns.
    """

    def __init__(self, home: Path) -> None:
        self.written = ""
        self.home = home
        self.size = (40, 100)
        self._seen = 0
        self._bytes = b""
        self._master = -1
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()

    async def start(self, *arguments: str, **env: str) -> None:
        """Start ``madang connect`` with these arguments."""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *self.size, 0, 0))
        own = {
            "TERM": "xterm-256color",
            "XDG_STATE_HOME": str(self.home),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "NO_COLOR": "1",
        }
        path = os.pathsep.join((str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))
        self._process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            cwd=self.home,
            env=os.environ | own | {"PYTHONPATH": path} | env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._bytes = b""
        self.written = ""
        self._seen = 0
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the other end any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self._bytes += data
        self.written = self._bytes.decode("utf-8", "replace")
        self._changed.set()

    @property
    def text(self) -> str:
        """What was written, without what only moves the cursor and colours."""
        return _SEQUENCES.sub("", self.written)

    async def shows(self, text: str) -> str:
        """Wait until a text is there, after the last one that was waited for; what came before it."""
        try:
            async with asyncio.timeout(SHOWN_WITHIN):
                while (found := self.text.find(text, self._seen)) < 0:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown, but:\n{self.text[self._seen :]}") from None
        passed = self.text[self._seen : found]
        self._seen = found + len(text)
        return passed

    def type(self, *keys: str) -> None:
        """Press keys."""
        os.write(self._master, "".join(keys).encode())

    def enter(self, line: str) -> None:
        """Write a line, and Enter."""
        self.type(line, ENTER)

    async def ended(self) -> int:
        """Wait for the command's end; its exit status."""
        assert self._process is not None
        async with asyncio.timeout(SHOWN_WITHIN):
            return await self._process.wait()

    def signal(self, number: int) -> None:
        """Send the command a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def close(self) -> None:
        """End what runs, and close the terminal."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
