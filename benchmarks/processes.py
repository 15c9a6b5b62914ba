"""The processes of a measurement: a server on one core, the load on another, and what the kernel says of both.

Everything here is bounded in time and ends with its block: a server or a load that was started is ended, by its own
id, whatever happened meanwhile.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Self

import contenders
from contenders import HERE, SERVERS, Contender

LOAD: Final = HERE / "build" / "load"
KERNEL_SERVER: Final = HERE / "build" / "kernel"

START_LIMIT: Final = 30.0
"""Seconds in which a server must say that it is ready."""

STOP_LIMIT: Final = 5.0
"""Seconds that a server has after SIGTERM before it is killed."""

SETTLE_LIMIT: Final = 5.0
"""Seconds that a server has to get over its last clients before the next case begins all the same."""

SAMPLE_INTERVAL: Final = 0.05
TICKS: Final = os.sysconf("SC_CLK_TCK")

Figures = dict[str, Any]


class Failed(Exception):
    """A server or the load did not do what it should have; the text says what."""


# ---------------------------------------------------------------- building


def build() -> None:
    """Compile the load generator and the bare server if their sources have changed."""
    sources = sorted((HERE / "load").glob("*.c"))
    headers = sorted((HERE / "load").glob("*.h"))
    _compile(LOAD, sources, headers)
    _compile(KERNEL_SERVER, [SERVERS / "kernel" / "kernel.c"], [])


def _compile(target: Path, sources: Sequence[Path], headers: Sequence[Path]) -> None:
    changed = max(path.stat().st_mtime for path in (*sources, *headers))
    if target.exists() and target.stat().st_mtime > changed:
        return
    target.parent.mkdir(exist_ok=True)
    command = ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-o", str(target), *map(str, sources), "-lm"]
    subprocess.run(command, check=True)


# ---------------------------------------------------------------- cores


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """Have what the block starts run on one core, or on several: children inherit where their parent may run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# ---------------------------------------------------------------- what the kernel says


def process_tree(root: int) -> list[int]:
    """A process and all that it has started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def cpu_seconds(pids: Sequence[int]) -> float:
    """The time that processes have spent on a core, in themselves and in the kernel."""
    stats = [fields for pid in pids if (fields := _stat(pid)) is not None]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS


def exact_cpu_seconds(pids: Sequence[int]) -> float:
    """The same to the nanosecond, of threads that live; for what is not busy enough to be counted in ticks."""
    spent = 0
    for pid in pids:
        for counted in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has ended in between
                spent += int(counted.read_text(encoding="ascii").split()[0])
    return spent * 1e-9


def resident_bytes(pids: Sequence[int]) -> int:
    """The memory of processes that is in RAM."""
    return sum(_resident(pid) for pid in pids)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat that follow the name, which may hold anything; None if the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _resident(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")  # exact, unlike VmRSS
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Rss:")), 0)


class BusyMeter:
    """How much of a core processes took in the last seconds; `sample` is to be called often.

    Args:
        pids: the processes.
        span: how many seconds.
        spent: gives the time that they have spent.
    """

    def __init__(self, pids: Sequence[int], span: float, spent: Callable[[Sequence[int]], float] = cpu_seconds) -> None:
        self.pids = pids
        self.span = span
        self._spent = spent
        self._samples: deque[tuple[float, float]] = deque()

    def sample(self) -> None:
        """Note the time spent so far, and forget what lies too far back."""
        now = time.monotonic()
        self._samples.append((now, self._spent(self.pids)))
        while len(self._samples) > 2 and self._samples[1][0] < now - self.span:
            self._samples.popleft()

    @property
    def share(self) -> float:
        """The share of one core: 1 is all of it."""
        (first, spent_first), (last, spent_last) = self._samples[0], self._samples[-1]
        return (spent_last - spent_first) / (last - first) if last > first else 0.0


# ---------------------------------------------------------------- servers

_ports = itertools.cycle(random.sample(range(18_000, 32_000), 14_000))  # below those that clients are given


def free_port() -> int:
    """A port that nobody listens on, and that no client has just had."""
    for port in itertools.islice(_ports, 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no port is free")


class Server:
    """One life of a server, on a core or several; a context manager.

    Attributes:
        port: where it listens.
        pids: its processes.
    """

    def __init__(self, contender: Contender, *cores: int) -> None:
        self.contender = contender
        self.cores = cores
        self.port = 0
        self.pids: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        self.port = free_port()
        command = [*contenders.program(self.contender.command), str(self.port)]
        try:
            with on_core(*self.cores):
                self._process = subprocess.Popen(
                    command,
                    cwd=SERVERS,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    start_new_session=True,  # Ctrl-C is for us; we end it
                )
        except OSError as error:
            raise Failed(f"cannot be started: {error.strerror} (see servers/setup.sh)") from None
        assert self._process.stdout is not None
        line = _read_line(self._process.stdout, START_LIMIT)
        if line != b"ready":
            raise Failed(f"did not say that it is ready{self._said()}")
        self.pids = process_tree(self._process.pid)

    def _stop(self) -> None:
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _kill_session(process)
            if process.stdout is not None:
                process.stdout.close()
        self._errors.close()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def resident(self) -> int:
        """Its memory in RAM, in bytes."""
        return resident_bytes(self.pids)

    def require_alive(self) -> None:
        """See that it still runs.

        Raises:
            Failed: it has ended.
        """
        if not self.alive:
            assert self._process is not None
            raise Failed(f"the server has ended with status {self._process.returncode}{self._said()}")

    def settle(self) -> None:
        """Wait until it has nothing more to do, for a bounded time."""
        deadline = time.monotonic() + SETTLE_LIMIT
        while self.alive and time.monotonic() < deadline:
            before = cpu_seconds(self.pids)
            time.sleep(0.1)
            if cpu_seconds(self.pids) - before <= 0.02:
                return

    def _said(self) -> str:
        """The end of what it wrote to stderr."""
        self._errors.seek(0)
        return _quoted(self._errors.read())


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and its children: the group that was made for them."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _quoted(said: bytes) -> str:
    lines = said.decode(errors="replace").replace(str(HERE.parent), ".").strip().splitlines()
    return f": {lines[-1][-300:]}" if lines else ""


def _read_line(stream: IO[bytes], limit: float) -> bytes | None:
    """One line from a pipe, stripped; None if it does not come in `limit` seconds."""
    deadline = time.monotonic() + limit
    line = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([stream], [], [], left)[0]:
            byte = os.read(stream.fileno(), 1)
            if byte in (b"", b"\n"):
                return line.strip() if byte else None
            line += byte
    return None


# ---------------------------------------------------------------- the load


class Load:
    """One run of the load generator against a server; a context manager.

    Args:
        server: whom it drives.
        arguments: the case and its options.
        cores: where it runs.
    """

    def __init__(self, server: Server, arguments: Sequence[str], *cores: int) -> None:
        self.server = server
        self.cores = cores
        self._command = [str(LOAD), *arguments, "--port", str(server.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Self:
        with on_core(*self.cores):
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        _kill_session(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._errors.close()

    def line(self, limit: float, *meters: BusyMeter) -> Figures:
        """Its next line of JSON; the meters are kept up to date while it is waited for.

        Raises:
            Failed: it ended, or said nothing in `limit` seconds.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit
        while not select.select([self._process.stdout], [], [], SAMPLE_INTERVAL)[0]:
            for meter in meters:
                meter.sample()
            if time.monotonic() > deadline:
                raise Failed(f"the load was not done in {limit:.0f} s")
        for meter in meters:
            meter.sample()
        text = _read_line(self._process.stdout, 1.0)
        if text is None:
            self._process.wait(1.0)
            self.server.require_alive()
            self._errors.seek(0)
            raise Failed(f"the load gave up{_quoted(self._errors.read())}")
        return dict(json.loads(text))

    def finish(self, limit: float = 10.0) -> None:
        """Let idle clients go, and wait for the end.

        Raises:
            Failed: it did not end in time.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed("the load did not end") from None
