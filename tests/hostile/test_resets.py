"""Connections that end at every possible moment, with and without a word."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.wire import DEADLINE, SOCKET, address, before
from tests.engine.clocks import ManualClock
from tests.hostile.raw import BINARY, CLOSE, TEXT, Raw, connection, frame, handshake, raw, text
from tests.hostile.victim import attacked, joined_polling
from tests.hosts import Host

PART = b'{"_placeholder":true,"num":0}'

STEPS = {
    "nothing said": b"",
    "part of a request line": b"GET /soc",
    "part of the head": b"<head part>",
    "the head": b"<head>",
    "half a frame's head": b"<head>" + b"\x81",
    "half a frame": b"<head>" + frame(TEXT, b"4", size=100),
    "before joining": b"<head>" + text("3"),
    "joining": b"<head>" + text("40"),
    "joining with half of another": b"<head>" + text("40") + text("40/other,")[:5],
    "an event": b"<head>" + text("40") + text('421["echo",1]'),
    "an event whose attachment is due": b"<head>" + text("40") + text(b'451-["echo",' + PART + b"]"),
    "half an attachment": b"<head>" + text("40") + text(b'451-["echo",' + PART + b"]") + frame(BINARY, b"x", size=9),
    "half a fragmented message": b"<head>" + text("40") + frame(TEXT, b"42[", fin=False),
    "a violation": b"<head>" + text("40") + text("42{}"),
    "a close frame": b"<head>" + text("40") + frame(CLOSE, (1000).to_bytes(2, "big")),
    "a bad close frame": b"<head>" + text("40") + frame(CLOSE, b"\x03"),
    "an engine close": b"<head>" + text("40") + text("1"),
}


@pytest.mark.feature("E12", "O9")
@pytest.mark.parametrize("how", ["reset", "closed", "half closed"])
async def test_a_websocket_ends_at_any_step(host: Host, how: str) -> None:
    """Wherever a WebSocket client stops, by a reset or an orderly end, nothing of it stays."""
    async with attacked(host) as victim:
        request = handshake(victim.url, address(SOCKET, "websocket"))
        for step in STEPS.values():
            sent = step.replace(b"<head part>", request[:60]).replace(b"<head>", request)
            for pause in (False, True):
                async with connection(victim.url) as client:
                    await client.send(sent)
                    if pause:
                        await asyncio.sleep(0.01)
                    await _end(client, how)


async def _end(client: Raw, how: str) -> None:
    if how == "reset":
        client.reset()
    elif how == "half closed":
        client.writer.write_eof()
        await before(DEADLINE, client.reader.read(), "the server's end")


@pytest.mark.feature("I5", "I6", "O9")
@pytest.mark.parametrize("step", ["", "2probe", "2probe|5", '2probe|5|42["echo"]', "5", "x"])
async def test_an_upgrade_ends_at_any_step(host: Host, step: str) -> None:
    """A reset during an upgrade ends the session if it had moved, and leaves it polling if it had not."""
    async with attacked(host) as victim, joined_polling(victim.url) as client:
        async with connection(victim.url) as upgrade:
            await upgrade.send(handshake(victim.url, address(SOCKET, "websocket", client.sid)))
            await before(DEADLINE, upgrade.reader.readuntil(b"\r\n\r\n"), "the response 101")
            await upgrade.send(*[text(packet) for packet in step.split("|") if packet])
            if "2probe" in step:
                assert await upgrade.receive() == (TEXT, b"3probe")
            if step == "x":
                assert await upgrade.closed() in (1000, 1002)
            await client.settle()
            upgrade.reset()
        if "|5" in step or step == "5":
            assert await victim.ended() in ("transport close", "transport error")
        else:
            await client.send('421["echo",1]')
            assert (await client.packets())[-1] == "431[1]"
            assert (await client.post("1")).status_code == 200
            assert await victim.ended() == "transport close"


@pytest.mark.feature("I7", "G5")
async def test_upgrades_that_cannot_be(host: Host) -> None:
    """A WebSocket for a session that is unknown, has moved, or is being moved by another, is refused or closed."""
    async with attacked(host) as victim, joined_polling(victim.url) as client:
        for sid in ("nobody", "__proto__", "", "%00"):
            async with connection(victim.url) as upgrade:
                await upgrade.send(handshake(victim.url, address(SOCKET, "websocket", sid)))
                line = await before(DEADLINE, upgrade.reader.readline(), "a refusal")
                assert line.split(b" ")[1] in (b"400", b"403")
        request = handshake(victim.url, address(SOCKET, "websocket", client.sid))
        async with connection(victim.url) as first, connection(victim.url) as second:
            for upgrade in (first, second):
                await upgrade.send(request)
                await before(DEADLINE, upgrade.reader.readuntil(b"\r\n\r\n"), "the response 101")
                await client.settle()
            assert await second.closed() == 1000
            await first.send(text("2probe"))
            assert await first.receive() == (TEXT, b"3probe")
            await first.send(text("5"))
            await first.served()


@pytest.mark.feature("E6", "E12")
async def test_handshakes_that_break_rfc_6455(host: Host) -> None:
    """A WebSocket handshake without its key or version is refused, and costs nothing."""
    async with attacked(host) as victim:
        whole = handshake(victim.url, address(SOCKET, "websocket"))
        for line in (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n"):
            async with connection(victim.url) as client:
                await client.send(whole.replace(line, b""))
                head = await before(DEADLINE, client.reader.readline(), "a refusal")
                assert head.split(b" ")[1] in (b"400", b"426"), line
        assert len(victim.io.engine.sessions) == 1


@pytest.mark.feature("K5")
async def test_gone_during_the_middleware(host: Host) -> None:
    """A client that ends while a middleware is deciding leaves nothing, whatever is decided later."""
    async with attacked(host) as victim:
        gate = asyncio.Event()
        asked = asyncio.Event()

        @victim.io.of("/other").use
        async def wait(socket: object) -> None:
            asked.set()
            await gate.wait()

        for how in ("reset", "closed"):
            asked.clear()
            async with raw(victim.url) as client:
                await client.send(text("40/other,"))
                await before(DEADLINE, asked.wait(), "the middleware")
                await _end(client, how)
        gate.set()


@pytest.mark.feature("C6", "E6")
async def test_gone_before_admission(host: Host) -> None:
    """A client that ends while `allow_request` is deciding leaves nothing."""
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def allow(request: object) -> bool:
        asked.set()
        await gate.wait()
        return True

    gate.set()
    async with attacked(host, allow_request=allow) as victim:
        clock = ManualClock()
        victim.io.engine.bind(clock)
        gate.clear()
        for kind in ("websocket", "polling"):
            for how in ("reset", "closed"):
                asked.clear()
                async with connection(victim.url) as client:
                    target = address(SOCKET, kind)
                    plain = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
                    await client.send(handshake(victim.url, target) if kind == "websocket" else plain)
                    await before(DEADLINE, asked.wait(), "allow_request")
                    await _end(client, how)
        gate.set()
        async with joined_polling(victim.url) as other:
            await other.settle()
        assert sum(session.transport_name == "websocket" for session in victim.io.engine.sessions.values()) == 1
        clock.advance(46)  # nobody joins in a polling session whose id nobody has learnt
