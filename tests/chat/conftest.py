"""A chat server in a process of its own, and a browser to use it with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat.browser import Browser

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "only for tests"


class ChatServer:
    """The chat as `make chat` runs it, on one port and one database however often it is started again."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"http://localhost:{port}"
        self.database = folder / "chat.db"
        self._log = folder / "server.log"
        self._env = {
            **os.environ,
            "PORT": str(port),
            "CHAT_DB": str(self.database),
            "CHAT_SECRET": SECRET,
            "PYTHONUNBUFFERED": "1",
        }
        self._process: subprocess.Popen[str] | None = None

    def start(self, *, package: str = "examples.chat", cwd: Path = ROOT) -> None:
        """Start it and wait until it says where it is."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{package}.server"],
                cwd=cwd,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout
        said = self._process.stdout.readline()
        assert said == f"마당 chat on {self.url}\n", self.log

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process
        self._process.kill()
        self._wait()

    def stop(self) -> int:
        """End it as `kill` and service managers do; returns its exit status."""
        assert self._process
        self._process.terminate()
        return self._wait()

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def _wait(self) -> int:
        assert self._process
        assert self._process.stdout
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def chat(free_port, tmp_path):
    """A chat of its own for each test; it must have had nothing to complain about."""
    server = ChatServer(free_port, tmp_path)
    server.start()
    yield server
    if server.is_running:
        server.stop()
    assert server.log == ""


@pytest.fixture(scope="module")
def chromium_driver(node, chromium):
    """One Chromium for all tests of a module."""
    with Browser(node, chromium) as browser:
        yield browser


@pytest.fixture
def browser(chromium_driver, chat):
    """A Chromium in which nobody is logged in yet."""
    yield chromium_driver
    # The server ends with people in it, as servers do; it has more to wait for when they leave just before.
    if chat.is_running:
        assert chat.stop() == 0
    chromium_driver.close_all()
