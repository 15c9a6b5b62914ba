"""The orderly end: what waits is sent, a running upgrade is let to its end, and an interrupt ends a program well."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import madang
from tests.client.tools import BOTH, HANG, POLLING, QUICK, SOON, WAYS, Asked, Heard, echo_server, gated, joined, until
from tests.conftest import Leaks
from tests.hosts import ROOT, listening


@pytest.mark.feature("V42")
@pytest.mark.parametrize("way", WAYS)
async def test_what_waits_is_sent(way: str):
    """All that was emitted before `disconnect` arrives, in order, and then the server hears that the client left."""
    io = echo_server()
    heard = Heard()
    io.on("note", lambda socket, number, data: heard(number, len(data)))
    io.on("disconnect", lambda socket, reason: heard(reason))
    async with listening(io) as url, joined(url, transports=WAYS[way]) as client:
        for number in range(300):
            client.emit("note", number, b"x" * 1000)
        client.disconnect()
        client.emit("note", 1000, b"")
        assert await heard.count(301) == [*((number, 1000) for number in range(300)), ("client namespace disconnect",)]


@pytest.mark.feature("V42")
@pytest.mark.parametrize("when", range(8))
async def test_closing_during_the_upgrade(when: int, leaks: Leaks):
    """Whenever during the upgrade a client closes, what it had emitted arrives, once, and nothing is left behind."""
    io = echo_server()
    heard = Heard()
    io.on("note", lambda socket, number: heard(number))
    async with listening(io) as url, leaks(within=3):
        async with asyncio.timeout(SOON):
            client = madang.Client(url, transports=BOTH, **QUICK)
            await client.connected
            for number in range(when):
                client.emit("note", number)
                await asyncio.sleep(0.001)
            client.emit("note", "last")
            await client.close()
        assert await heard.count(when + 1) == [*((number,) for number in range(when)), ("last",)]
        await until(lambda: io.engine.clients_count == 0)


@pytest.mark.feature("V42")
@pytest.mark.parametrize("way", WAYS)
async def test_closing_while_connecting(way: str):
    """A client that is closed before it is connected leaves nothing behind, at once."""
    async with listening(echo_server()) as url:
        for turns in range(12):
            client = madang.Client(url, transports=WAYS[way], **QUICK)
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(1):
                await client.close()
            assert client.manager.state == "closed"
            assert (client.manager._dialer.live, client.manager._dialer.http) == (set(), None)


@pytest.mark.feature("V42")
async def test_a_server_that_does_not_take_it():
    """A close ends in time even if the server never takes the last request."""
    async with gated() as gate, joined(gate.url, transports=POLLING) as client:
        gate.decide = _never
        client.emit("note", "nobody hears")
        await asyncio.sleep(0.05)
        begun = asyncio.get_running_loop().time()
        await client.close()
        assert asyncio.get_running_loop().time() - begun < 4


def _never(asked: Asked) -> Any:
    return HANG if asked.method == "POST" else None


SYNC = """
import sys, madang
with madang.SyncClient(sys.argv[1], transports=sys.argv[2].split(",")) as client:
    events = client.events()
    try:
        client.emit("here", client.id)
        for event in events:
            pass
    finally:
        print("cleaned up", flush=True)
"""

ASYNC = """
import asyncio, sys, madang
async def main():
    async with madang.connect(sys.argv[1], transports=sys.argv[2].split(",")) as client:
        events = client.events()
        try:
            client.emit("here", client.id)
            async for event in events:
                pass
        finally:
            print("cleaned up", flush=True)
asyncio.run(main())
"""


@pytest.mark.feature("V43")
@pytest.mark.parametrize("transports", ["websocket", "polling"])
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_interrupted(kind: str, transports: str, tmp_path: Path):
    """SIGINT ends a program promptly with its KeyboardInterrupt alone, and the server hears that the client left."""
    io = echo_server()
    here, gone = Heard(), Heard()
    io.on("here", lambda socket, who: here(who))
    io.on("disconnect", lambda socket, reason: gone(reason))
    program = tmp_path / "program.py"
    program.write_text(SYNC if kind == "sync" else ASYNC)
    async with listening(io) as url:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(program), url, transports), stdout=pipe, stderr=pipe, cwd=ROOT
        )
        try:
            async with asyncio.timeout(10):
                while not here.all:
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(SOON):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = err.decode()
        assert out.decode() == "cleaned up\n"
        assert process.returncode in (-signal.SIGINT, 130)
        assert text.rstrip().splitlines()[-1] == "KeyboardInterrupt"
        others = [line for line in text.splitlines() if "Error" in line and "CancelledError" not in line]
        assert others == []
        assert "Task was destroyed" not in text
        assert await gone.count(1) == [("client namespace disconnect",)]


@pytest.mark.parametrize("turns", range(4))
async def test_connecting_when_the_last_transport_has_just_gone(anyhow, turns: int):
    """A client that connects again in the very turns in which its old connection ends is not aborted with that."""
    client = await anyhow.joined()
    client.disconnect()
    while client.manager._dialer.live:
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await client.connect()
