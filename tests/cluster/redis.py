"""A real Redis for the tests: on a free port, in a folder of its own, with nothing kept; and what can be done to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import pytest
import redis as redis_py

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 10.0


def find_redis() -> str:
    """The command of redis-server or valkey-server; a test that wants it fails where there is none."""
    found = subprocess.run([ROOT / "scripts" / "find_redis.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr, pytrace=False)
    return found.stdout.strip()


class Redis:
    """A Redis of our own.

    Attributes:
        url: where it is; stays the same when it is started again.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [find_redis(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis_py.Redis.from_url(self.url, socket_timeout=PATIENCE, protocol=2)

    def start(self, *options: str, password: str | None = None) -> None:
        """Start it, perhaps with more options, and wait until it answers."""
        self._process = subprocess.Popen([*self._command, *options], stdout=subprocess.DEVNULL)
        if password is not None:
            self.client = redis_py.Redis.from_url(self.url, password=password, protocol=2)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.client.ping()
                return
            except redis_py.ConnectionError:
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.01)

    def kill(self) -> None:
        """End it without a word."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        self._process = None

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, if it runs."""
        self.client.close()
        if self._process is not None:
            self.kill()
