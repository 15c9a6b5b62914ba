"""What madang logs, and that it says nothing secret."""

from __future__ import annotations

import logging
import re

import httpx
import pytest
import websockets

import madang
from tests.hosts import ROOT, listening

pytestmark = pytest.mark.feature("Y1")


def test_the_page_names_them_all():
    """docs/debugging.md has each logger that the source makes, and no other."""
    source = "".join(path.read_text() for path in (ROOT / "src" / "madang").rglob("*.py"))
    page = (ROOT / "docs" / "debugging.md").read_text()
    made = set(re.findall(r'getLogger\("(madang\.\w+)"', source))
    assert made == set(re.findall(r"^\| `(madang\.\w+)` \|", page, re.MULTILINE))


async def test_who_comes_and_goes(caplog: pytest.LogCaptureFixture):
    """DEBUG tells of sessions and sockets as they come and go, of refusals and violations; not of secrets."""
    caplog.set_level(logging.DEBUG, "madang")
    io = madang.Server()
    async with listening(io) as url:
        async with madang.connect(url, transports=["websocket"], auth={"token": "hush"}) as client:
            (session,) = io.engine.sessions
            socket_id = client.id
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{url}/socket.io/?EIO=4&transport=polling&sid=none")).status_code == 400
        address = url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        async with websockets.connect(address, compression=None) as raw:
            await raw.recv()
            await raw.send("4x")
            with pytest.raises(websockets.ConnectionClosed):
                await raw.recv()
    lines = [f"{record.name}: {record.getMessage()}" for record in caplog.records]
    for wanted in (
        "madang.engine: a session has begun over websocket, from 127.0.0.1",
        f"madang.server: {socket_id} has joined /",
        "madang.engine: a session has ended, from 127.0.0.1: transport close",
        "madang.server: protocol violation: unknown packet type b'x'",
    ):
        assert wanted in lines
    assert any(line.startswith("madang.engine: refused GET /socket.io/: Session ID unknown") for line in lines)
    told = "".join(lines)
    assert session not in told
    assert "hush" not in told


async def test_quiet(caplog: pytest.LogCaptureFixture):
    """At INFO a server says nothing of clients that come, are refused, and go."""
    caplog.set_level(logging.INFO, "madang")
    io = madang.Server()
    io.use(lambda socket: None)
    async with listening(io) as url, madang.connect(url), httpx.AsyncClient() as http:
        await http.get(f"{url}/socket.io/?EIO=3&transport=polling")
    assert [
        record for record in caplog.records if record.name.startswith("madang") and "hosting" not in record.name
    ] == []


def test_logs_of_a_file() -> None:
    """The page's own lines set the levels as they say."""
    program = re.findall(r"```python\n(import logging.*?)```", (ROOT / "docs" / "debugging.md").read_text(), re.DOTALL)
    levels = {name: logging.getLogger(name).level for name in ("madang", "madang.adapters")}
    try:
        exec(program[0].replace("logging.basicConfig", "dict"), {})
        assert logging.getLogger("madang.engine").getEffectiveLevel() == logging.DEBUG
        assert logging.getLogger("madang.adapters").getEffectiveLevel() == logging.WARNING
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
