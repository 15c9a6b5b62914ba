"""``madang run``: it serves, says where, and ends cleanly."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from madang.cli.main import main
from tests.conformance.wire import DEADLINE, SOCKET, Polling, before, browser
from tests.hostile.victim import joined
from tests.hosts import ROOT

START_WITHIN = 15.0


@dataclass
class Command:
    """A running ``madang run``."""

    process: asyncio.subprocess.Process
    url: str

    async def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send it a signal; its exit status and what it wrote to stderr."""
        self.process.send_signal(number)
        _, errors = await before(START_WITHIN, self.process.communicate(), "the end of the command")
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "madang", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def command(target: str, *arguments: str) -> AsyncIterator[Command]:
    """The command, when it listens."""
    process = await start("run", target, "--port", "0", *arguments)
    try:
        assert process.stdout is not None
        line = (await before(START_WITHIN, process.stdout.readline(), "its address")).decode()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield Command(process, found.group())
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.feature("B1", "A23")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals(number: int) -> None:
    """SIGTERM and Ctrl-C end it with status 0 and no traceback; clients on both transports see a proper close."""
    async with command("tests.cli.served:io") as served:
        async with joined(served.url) as ws, browser(served.url) as http:
            client = await Polling.open(http, SOCKET)
            poll = await client.hold()
            status, errors = await served.end(number)
            assert await ws.closed(DEADLINE) in (1000, 1001)
            assert (await before(DEADLINE, poll, "the end of the poll")).text.endswith("1")
        assert status == 0, errors
        assert "Traceback" not in errors


@pytest.mark.feature("A23", "B1")
async def test_running_handler_may_end() -> None:
    """A handler that still runs has its time to end before the process does."""
    async with command("tests.cli.served:io") as served, joined(served.url) as ws:
        await ws.send('42["slow",0.3]', '421["echo"]')
        status, errors = await served.end()
        assert status == 0
        assert "handler ended" in errors


@pytest.mark.feature("A23", "B1")
async def test_running_handler_is_bounded() -> None:
    """A handler that does not end is cancelled after `shutdown_timeout`."""
    async with command("tests.cli.served:io") as served, joined(served.url) as ws:
        await ws.send('42["slow",3600]')
        await ws.connection.ping()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        status, errors = await served.end()
        assert status == 0
        assert "handler cancelled" in errors
        assert 1.5 < loop.time() - begun < 8


@pytest.mark.feature("B1", "B2", "A1")
@pytest.mark.parametrize("target", ["tests.cli.served:around", "tests.cli.served:io", "tests.cli.served:engine"])
async def test_targets(target: str) -> None:
    """A server, an engine, and a server around another application can be run."""
    async with command(target) as served, browser(served.url) as http:
        path = "/engine.io/" if target.endswith("engine") else SOCKET
        assert (await http.get(f"{path}?EIO=4&transport=polling")).text.startswith("0{")
        other = await http.get("/")
        assert other.text == "the other application" if target.endswith("around") else other.status_code == 404
        status, _ = await served.end()
        assert status == 0


@pytest.mark.feature("B1")
async def test_port_in_use() -> None:
    """A port that is taken is one clear line and status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start("run", "tests.cli.served:io", "--port", str(port))
        _, errors = await before(START_WITHIN, process.communicate(), "the end of the command")
    assert process.returncode == 1
    text = errors.decode().strip()
    assert "Traceback" not in text
    assert f"127.0.0.1:{port}" in text
    assert "in use" in text.lower()
    assert len(text.splitlines()) == 1


@pytest.mark.feature("B1")
@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("tests.cli.served:nothing", "nothing"),
        ("tests.cli.nowhere:io", "nowhere"),
        ("tests.cli.served:something_else", "madang.Server"),
        ("tests.cli.served", ":"),
    ],
)
def test_wrong_target(target: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A target that cannot be served is one clear line and status 1."""
    assert main(["run", target, "--port", "0"]) == 1
    errors = capsys.readouterr().err
    assert told in errors
    assert "Traceback" not in errors


@pytest.mark.feature("B1")
@pytest.mark.parametrize(
    "arguments", [[], ["walk"], ["run"], ["run", "a:b", "--port", "x"], ["run", "a:b", "--nothing"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage shows how it is used and ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: madang" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``madang --version`` says which version this is, and whether it is compiled."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert re.fullmatch(r"madang \d+\.\d+\.\d+ \((compiled|pure Python)\)\n", capsys.readouterr().out)
