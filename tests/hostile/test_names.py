"""Events whose names mean something inside the server, sent by a client and by the program."""

from __future__ import annotations

import pytest

from madang import ReservedEventName
from tests.hostile.victim import WITHIN, attacked, joined, serves
from tests.hosts import Host

RESERVED = ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
INNER = ("error", "connection", "new_namespace", "message", "*", "", " ", "\\u0000", "constructor", "toString")
INNER += ("__proto__", "__class__", "__init__", "__dict__", "_emit", "emit", "close", "on_any", "packet", "\\ud800")


@pytest.mark.feature("L6", "G11")
async def test_reserved_from_a_client(host: Host) -> None:
    """A client that sends a reserved name is closed: plain, escaped, with an ack or with an attachment."""
    async with attacked(host) as victim:
        seen: list[object] = []
        victim.io.on_any(lambda socket, *args: seen.append(args))
        for name in RESERVED:
            escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
            packets = [f'42["{name}"]', f'4212["{name}",1]', f'42["{escaped}"]', f'42 ["{name}"]', f'42[ "{name}"]']
            packets.append(f'451-["{name}",{{"_placeholder":true,"num":0}}]')
            for packet in packets:
                async with joined(victim.url) as ws:
                    await ws.send(packet)
                    assert await ws.closed(WITHIN) == 1002, packet
        assert seen == []


@pytest.mark.feature("L6")
async def test_reserved_with_handlers_for_the_socket_s_end(host: Host) -> None:
    """A client cannot make a socket's own `disconnect` handlers run by sending such an event."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        await ws.send('42["disconnect","I am gone"]')
        assert await victim.ended() == "forced close"
        assert victim.ends.empty()


@pytest.mark.feature("L7", "L11")
async def test_inner_names_from_a_client(host: Host) -> None:
    """Names that mean something only inside are plain events: catch-alls hear them, nothing else happens."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        seen: list[str] = []
        victim.io.on_any(lambda socket, *args: seen.append(args[0]))
        connections = 0

        @victim.io.on("connection")
        def connected(socket: object) -> None:
            nonlocal connections
            connections += 1

        for name in INNER:
            await ws.send(f'42["{name}",{{"__proto__":1}}]')
        await serves(ws)
        assert len(seen) == len(INNER) + 1
        assert connections == 0
        assert victim.violations == []


@pytest.mark.feature("L8")
async def test_numbers_as_names(host: Host) -> None:
    """Whole numbers, fractions and numbers beyond 64 bits are names that nobody listens to."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        for name in ("1", "-1", "1.5", "1e3", "99999999999999999999999999", "1e400"):
            await ws.send(f"42[{name},1]")
        await serves(ws)


@pytest.mark.feature("L5")
async def test_reserved_from_the_program(host: Host) -> None:
    """No way of emitting takes a reserved name, and the refusal names it."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        io = victim.io
        (socket, *_) = io.sockets.values()
        ways = [io.emit, io.to("room").emit, socket.emit, socket.broadcast.emit, socket.volatile.emit]
        ways += [io.emit_with_ack, io.timeout(1).emit_with_ack, socket.emit_with_ack, socket.timeout(1).emit_with_ack]
        for name in RESERVED:
            for way in ways:
                with pytest.raises(ReservedEventName, match=f'"{name}" is a reserved event name'):
                    way(name, 1)
        await serves(ws)


@pytest.mark.feature("L7")
async def test_inner_names_from_the_program(host: Host) -> None:
    """`error`, `message` and `connection` may be emitted to clients."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        for name in ("error", "message", "connection", "new_namespace"):
            victim.io.emit(name, 1)
            assert await ws.text() == f'42["{name}",1]'
