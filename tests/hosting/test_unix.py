"""Unix sockets: the native host at a path of the file system."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

import madang
from madang.errors import OptionError
from tests.conformance.wire import before
from tests.hosts import ROOT
from tests.workers.crew import crew, until

pytestmark = pytest.mark.feature("B1")

POLL = "http://app/socket.io/?EIO=4&transport=polling"


def _http(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)))


@asynccontextmanager
async def _websocket(path: Path) -> AsyncIterator[Any]:
    """A WebSocket that has joined the main namespace."""
    uri = "ws://app/socket.io/?EIO=4&transport=websocket"
    async with websockets.unix_connect(str(path), uri, compression=None) as client:
        await client.recv()
        await client.send("40")
        assert str(await client.recv()).startswith("40{")
        yield client


async def test_polling_and_websocket(tmp_path: Path):
    """Both transports work over a path; such a client has no address, and no socket is left behind."""
    path = tmp_path / "io.sock"
    io = madang.Server()
    io.on("who", lambda socket: [socket.handshake.address])
    running = await io.start(uds=path)
    try:
        assert (running.url, running.port) == (f"unix:{path}", 0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        async with _http(path) as http:
            assert (await http.get(POLL)).text.startswith("0{")
        async with _websocket(path) as client:
            await client.send('420["who"]')
            assert await client.recv() == "430[[null]]"
    finally:
        await running.stop()
    assert list(tmp_path.iterdir()) == []


async def test_compressed(tmp_path: Path):
    """Compression works over a path as well, which the compiled transport does not do."""
    path = tmp_path / "io.sock"
    running = await madang.Server(per_message_deflate=True).start(uds=path)
    uri = "ws://app/socket.io/?EIO=4&transport=websocket"
    try:
        async with websockets.unix_connect(str(path), uri, compression="deflate") as client:
            assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
            assert str(await client.recv()).startswith("0{")
    finally:
        await running.stop()


async def test_what_is_left_of_one_that_was_killed(tmp_path: Path):
    """The socket of a server that has died is replaced."""
    path = tmp_path / "io.sock"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(path))
    dead.close()
    running = await madang.Server().start(uds=str(path))
    async with _http(path) as http:
        assert (await http.get(POLL)).status_code == 200
    await running.stop()


async def test_a_path_that_is_taken(tmp_path: Path):
    """A server that lives keeps its path, and so does a file; the error says which it is."""
    path = tmp_path / "io.sock"
    running = await madang.Server().start(uds=path)
    try:
        with pytest.raises(OSError, match=r"io\.sock: another server listens there"):
            await madang.Server().start(uds=path)
        async with _http(path) as http:
            assert (await http.get(POLL)).status_code == 200
    finally:
        await running.stop()
    path.write_text("precious")
    with pytest.raises(OSError, match="there is a file, which is no socket"):
        await madang.Server().start(uds=path)
    assert path.read_text() == "precious"
    with pytest.raises(OSError, match=r"cannot listen at .*/x+: AF_UNIX path too long"):
        await madang.Server().start(uds=tmp_path / ("x" * 200))
    with pytest.raises(OSError, match=r"cannot listen at .*/none/io: No such file"):
        await madang.Server().start(uds=tmp_path / "none" / "io")


async def test_the_path_of_a_successor(tmp_path: Path):
    """A server that ends leaves alone what another one has put in its place."""
    path = tmp_path / "io.sock"
    first = await madang.Server().start(uds=path)
    path.unlink()
    second = await madang.Server().start(uds=path)
    await first.stop()
    try:
        async with _http(path) as http:
            assert (await http.get(POLL)).status_code == 200
    finally:
        await second.stop()


@pytest.mark.parametrize("given", [3, "", b"x"])
async def test_bad_options(given: Any):
    """What is no path is refused, and so is a descriptor."""
    with pytest.raises(OptionError, match="uds must be the path"):
        await madang.Server().start(uds=given)
    with pytest.raises(OptionError, match="fd: the native host opens its socket itself"):
        await madang.Server().start(fd=3)


async def test_workers(tmp_path: Path):
    """Several workers accept from one path; any of them may get any poll of a session."""
    path = tmp_path / "io.sock"
    async with crew(uds=str(path), workers=2) as workers:
        assert workers.url == f"unix:{path}"
        async with _http(path) as http:
            sid = (await http.get(POLL)).text.partition('"sid":"')[2].partition('"')[0]
        for sent in ("40", '420["echo",1]', '420["echo",2]', '420["echo",3]', '420["echo",4]'):
            async with _http(path) as http:  # a connection of its own, which either worker may accept
                assert (await http.post(f"{POLL}&sid={sid}", content=sent)).text == "ok"
                assert (await http.get(f"{POLL}&sid={sid}")).text.startswith("43" if "echo" in sent else "40{")
        async with _websocket(path) as client:
            await client.send('421["who"]')
            pid = int(str(await client.recv()).removeprefix("431[[").partition(",")[0])
            assert pid in workers.workers()
            os.kill(pid, signal.SIGKILL)
            await until(lambda: len(workers.workers() - {pid}) == 2, "the replacement")
        async with _websocket(path):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_the_command(tmp_path: Path):
    """`madang run --uds PATH` listens there, and says so."""
    (tmp_path / "app.py").write_text("import madang\nio = madang.Server()\n")
    path = tmp_path / "io.sock"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "madang", "run", "app:io", "--app-dir", str(tmp_path), "--uds", str(path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = await before(30, process.stdout.readline(), "its address")
        assert said == f"madang on unix:{path} (Ctrl-C ends it)\n".encode()
        async with _websocket(path):
            pass
    finally:
        process.send_signal(signal.SIGTERM)
        assert await before(20, process.wait(), "its end") == 0
    assert not path.exists()
