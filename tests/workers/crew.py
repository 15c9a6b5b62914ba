"""A supervisor with its workers, as a test sees them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import madang
from tests.conformance.wire import before
from tests.hosts import ROOT

APP: Final = ROOT / "tests" / "workers" / "app.py"

START_WITHIN: Final = 30.0
STOP_WITHIN: Final = 40.0


@dataclass
class Place:
    """Where a supervisor is: its process, and where its workers listen."""

    pid: int
    url: str

    def workers(self) -> set[int]:
        """The processes of its workers that live."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {int(pid) for pid in children if is_alive(int(pid))}


@dataclass
class Crew(Place):
    """A supervisor that the test may do anything with."""

    process: asyncio.subprocess.Process

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its end; its exit status."""
        with suppress(ProcessLookupError):
            self.tell(number)
        return await before(STOP_WITHIN, self.process.wait(), "the end of the supervisor")


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(holds: Callable[[], Any], what: str, within: float = START_WITHIN) -> Any:
    """Look until something holds; what it gives."""

    async def look() -> Any:
        while not (found := holds()):
            await asyncio.sleep(0.02)
        return found

    return await before(within, look(), what)


@asynccontextmanager
async def crew(program: Path = APP, *, env: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Crew]:
    """The program, when it serves."""
    process = await start(program, env=env, **options)
    running = Crew(process.pid, "", process)
    try:
        assert process.stdout is not None
        running.url = (await before(START_WITHIN, process.stdout.readline(), "its address")).decode().strip()
        assert running.url.startswith(("http", "unix")), await before(
            START_WITHIN, process.communicate(), "what it says"
        )
        yield running
    finally:
        if process.returncode is None:
            await running.end()


async def start(
    program: Path = APP, *, env: dict[str, str] | None = None, **options: Any
) -> asyncio.subprocess.Process:
    """The program, from the beginning."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(program), json.dumps({"port": 0, "workers": 3} | options)),
        cwd=ROOT,
        env=os.environ | (env or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def process_of(client: madang.Client) -> int:
    """The worker that a client is with."""
    pid, _ = await client.emit_with_ack("who", timeout=10)
    return pid
