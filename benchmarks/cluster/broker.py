"""The Redis of a measurement."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import processes
from processes import Failed

FIND_REDIS: Final = (str(Path(__file__).resolve().parents[2] / "scripts" / "find_server.sh"), "redis")
PATIENCE: Final = 30.0


class Redis:
    """A Redis that keeps nothing, on one core; a context manager.

    Attributes:
        url: where it is.
        pid: its process.
    """

    def __init__(self, core: int) -> None:
        self._core = core
        self._exits = ExitStack()
        self._port = processes.free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.pid = 0

    def __enter__(self) -> Self:
        found = subprocess.run(FIND_REDIS, capture_output=True, text=True, check=False)
        if found.returncode:
            raise Failed(found.stderr.strip())
        folder = self._exits.enter_context(tempfile.TemporaryDirectory())
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        with processes.on_core(self._core):
            redis = subprocess.Popen(
                [found.stdout.strip(), *options], stdout=subprocess.DEVNULL, start_new_session=True
            )
        self._exits.callback(redis.wait)
        self._exits.callback(redis.terminate)
        self.pid = redis.pid
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("PING")
                return self
            except OSError:
                if time.monotonic() > deadline:
                    self._exits.close()
                    raise Failed("Redis did not start") from None
                time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)

    def ask(self, command: str) -> str:
        """What it answers to a command, as it comes."""
        with self.connect() as connection:
            connection.sendall(command.encode() + b"\r\nQUIT\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def used_memory(self) -> int:
        """Bytes that it has allocated."""
        found = re.search(r"^used_memory:(\d+)", self.ask("INFO memory"), re.MULTILINE)
        assert found is not None
        return int(found.group(1))

    def channels(self) -> int:
        """To how many channels somebody has subscribed."""
        found = re.search(r"^pubsub_channels:(\d+)", self.ask("INFO stats"), re.MULTILINE)
        assert found is not None
        return int(found.group(1))
