"""Real servers of PostgreSQL and NATS for the tests, each on a free port, and what can be done to them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.waiting import wait_until
from tests.hosts import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
PASSWORD: Final = "s3cret"
NOBODY: Final = "nobody"


def find_server(name: str) -> str:
    """The command of a server; a test that wants it fails where there is none."""
    command = [ROOT / "scripts" / "find_server.sh", name]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr, pytrace=False)
    return found.stdout.strip()


def _state(pid: int) -> str:
    """What a process does, in a letter, as Linux tells it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


class _Server:
    """A server of our own.

    Attributes:
        url: where it is; stays the same when it is started again.
    """

    url: str

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _ready(self) -> bool:
        raise NotImplementedError

    def _launch(self, command: list[Any], **options: Any) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        wait_until(self._ready, f"{command[0]} did not start")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        raise NotImplementedError

    def _pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid]

    def _signal(self, number: int) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        self._signal(signal.SIGSTOP)
        for pid in self._pids():
            wait_until(lambda pid=pid: _state(pid) in "TZX", "it did not stop")

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    ending = signal.SIGKILL

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self.thaw()
        self._process.send_signal(self.ending)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self.kill()


class Nats(_Server):
    """A NATS server."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"nats://127.0.0.1:{self.port}"

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                return probe.recv(4) == b"INFO"
        except OSError:
            return False

    def start(self, *options: str) -> None:
        self._launch([find_server("nats"), "-a", "127.0.0.1", "-p", str(self.port), *options])


class Postgres(_Server):
    """A PostgreSQL server. It does not run as root: if the tests do, it is somebody's who owns nothing else.

    Args:
        template: the folder of another one that does not run, to begin with the same data.
    """

    ending = signal.SIGQUIT  # as `pg_ctl stop -m immediate` does; SIGKILL would leave its processes behind

    def __init__(self, template: Path | None = None) -> None:
        super().__init__()
        self.url = f"postgresql://tests:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self._bin = Path(find_server("postgres")).resolve().parent
        self.folder = Path(tempfile.mkdtemp(prefix="madang-postgres-", dir="/tmp"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam(NOBODY)
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        if template is None:
            self._initialize()
        else:
            copying = ["cp", "-a", f"{template}/data", f"{self.folder}/data"]
            subprocess.run(copying, check=True, **self._user)

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        options = ["-U", "tests", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale", "C"]
        quick = ["--no-sync", "--wal-segsize", "1"]
        command = [self._bin / "initdb", "-D", self.folder / "data", *options, *quick]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **self._user)
        assert done.returncode == 0, done.stderr

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "PostgreSQL did not start"
        asking = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asking, check=False).returncode == 0

    @property
    def runs(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "max_connections": 60,
            "autovacuum": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._launch([self._bin / "postgres", "-D", self.folder / "data", *options], cwd="/", **self._user)

    def _pids(self) -> list[int]:
        """It has a process for each connection, and some more."""
        (first,) = super()._pids()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder)
