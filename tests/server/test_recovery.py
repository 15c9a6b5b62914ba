"""Connection state recovery: stock clients that lose their connection and come back to the same session."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import madang
from madang.adapters.memory_recovery import MemoryRecovery
from madang.errors import ConnectError, OptionError
from tests.conformance.wire import SOCKET, session
from tests.server.javascript import Client, Heard, Js, soon


@pytest.fixture
def io() -> madang.Server:
    """A server that recovers."""
    return madang.Server(connection_state_recovery=True)


@pytest.fixture
def sockets(io: madang.Server) -> Heard:
    """The sockets that connect."""
    heard = Heard()
    io.on("connection", heard)
    return heard


async def back(client: Client) -> dict[str, Any]:
    """Connect again, and the state then."""
    client.connect()
    await client.connected()
    return await client.state()


@pytest.mark.node("recovery.2")
@pytest.mark.feature("A19", "Q1", "Q5", "Q6", "Q7", "Q10", "W4", "W25")
@pytest.mark.usefixtures("mode")
async def test_a_session_is_taken_up(js: Js, io: madang.Server, sockets: Heard):
    """A client that comes back has its id, rooms and data, and got what it missed, in order and once."""
    client = await js.connect(io)
    first = await sockets.next()
    first.join("room")
    first.data["name"] = "Minji"
    first.emit("seen", 1)
    await client.next("seen")
    known = client.id
    client.drop()
    await client.disconnected()
    await soon(gone(first))
    io.emit("missed", 1)
    io.to("room").emit("missed", 2, b"\x00")
    io.to("elsewhere").emit("missed", "not for this one")
    io.to(known).emit("missed", 3)
    first.emit("missed", 4)
    io.except_("room").emit("missed", "not for this one either")
    state = await back(client)
    second = await sockets.next()
    assert state["recovered"]
    assert state["id"] == known == second.id
    assert second is not first
    assert second.recovered
    assert second.not_recovered is None
    assert second.rooms == {known, "room"}
    assert second.data == {"name": "Minji"}
    second.emit("missed", 5)
    got = [list(await client.next("missed")) for _ in range(5)]
    assert [args[0] for args in got] == [1, 2, 3, 4, 5]
    assert got[1][1] == b"\x00"
    assert client.received == []


def kept(io: madang.Server) -> MemoryRecovery:
    """What the main namespace keeps."""
    assert io.main.recovery is not None
    backend = io.main.recovery.backend
    assert isinstance(backend, MemoryRecovery)
    return backend


async def gone(socket: madang.Socket) -> None:
    while socket.connected:
        await asyncio.sleep(0.001)


@pytest.mark.node("recovery.1")
@pytest.mark.feature("Q2", "Q3", "Q7", "Q8")
async def test_on_the_wire(js: Js, io: madang.Server):
    """Events carry an offset, but for those with an answer and volatile ones; missed ones precede CONNECT."""
    url = await js.serve(io)
    async with session(url, SOCKET) as ws:
        await ws.send("40")
        joined = json.loads((await ws.text())[2:])
        assert set(joined) == {"sid", "pid"}
        socket = io.sockets[joined["sid"]]
        socket.emit("a", 1)
        event = json.loads((await ws.text())[2:])
        assert event[:2] == ["a", 1]
        assert len(event) == 3
        offset = event[2]
        assert isinstance(offset, str)
        io.emit("b", b"x")
        assert (await ws.text()).startswith('451-["b",{"_placeholder":true,"num":0},"')
        assert await ws.receive() == b"x"
        socket.volatile.emit("c")
        assert await ws.text() == '42["c"]'
        asking = socket.emit_with_ack("d")
        assert await ws.text() == '420["d"]'
        await ws.send("430[]")
        await asking
        io.timeout(1).emit_with_ack("e").cancel()
        assert (await ws.text()).endswith('["e"]')
    await soon(gone(socket))
    io.emit("f")
    async with session(url, SOCKET) as ws:
        await ws.send(f"40{json.dumps({'pid': joined['pid'], 'offset': offset, 'token': 'x'})}")
        assert (await ws.text()).startswith('451-["b",')
        await ws.receive()
        assert (await ws.text()).startswith('42["f",')
        assert json.loads((await ws.text())[2:]) == joined
        assert io.sockets[joined["sid"]].handshake.auth["token"] == "x"


@pytest.mark.feature("Q5")
async def test_nothing_was_received_yet(js: Js, io: madang.Server, sockets: Heard):
    """A client that had got no event at all is recovered from the beginning of its session."""
    io.emit("before", 1)
    client = await js.connect(io)
    first = await sockets.next()
    client.drop()
    await client.disconnected()
    await soon(gone(first))
    io.emit("missed", 1)
    state = await back(client)
    assert state["recovered"]
    assert (await client.next("missed"))[0] == 1
    assert client.received == []


@pytest.mark.feature("Q12")
async def test_a_session_is_given_once(js: Js, io: madang.Server):
    """Who presents a private id a second time, or one that another client has taken, gets a new session."""
    url = await js.serve(io)
    async with session(url, SOCKET) as ws:
        await ws.send("40")
        joined = json.loads((await ws.text())[2:])
    presented = f"40{json.dumps({'pid': joined['pid']})}"
    async with session(url, SOCKET) as ws:
        await ws.send(presented)
        assert json.loads((await ws.text())[2:]) == joined
        await ws.send("41")
        await soon(gone(next(iter(io.sockets.values())))) if io.sockets else None
    async with session(url, SOCKET) as ws:
        await ws.send(presented)
        again = json.loads((await ws.text())[2:])
        assert again["sid"] != joined["sid"]
        assert again["pid"] != joined["pid"]
        assert "no such session" in io.sockets[again["sid"]].not_recovered


@pytest.mark.feature("Q4", "Q5")
async def test_the_old_connection_is_not_known_to_be_dead(js: Js, io: madang.Server, sockets: Heard):
    """A client that comes back before the server has missed its old connection takes its session over."""
    reasons = Heard()
    io.on("disconnect", lambda socket, reason: reasons(reason))
    url = await js.serve(io)
    async with session(url, SOCKET) as old, session(url, SOCKET) as new:
        await old.send("40")
        joined = json.loads((await old.text())[2:])
        first = await sockets.next()
        first.join("room")
        await new.send(f"40{json.dumps({'pid': joined['pid']})}")
        assert json.loads((await new.text())[2:]) == joined
        assert await reasons.next() == "transport close"
        assert (await sockets.next()).rooms == {joined["sid"], "room"}
        assert list(io.sockets) == [joined["sid"]]
        io.emit("x")
        assert (await new.text()).startswith('42["x"')


@pytest.mark.feature("Q4")
@pytest.mark.parametrize("who", ["client", "server"])
async def test_who_leaves_does_not_come_back(js: Js, io: madang.Server, sockets: Heard, who: str):
    """A disconnect that was meant, by either side, ends the session."""
    client = await js.connect(io)
    first = await sockets.next()
    first.emit("x")
    await client.next("x")
    (client if who == "client" else first).disconnect()
    await client.disconnected()
    await soon(gone(first))
    state = await back(client)
    assert not state["recovered"]
    assert state["id"] != first.id
    assert "no such session" in (await sockets.next()).not_recovered


@pytest.mark.feature("Q9")
async def test_it_is_over_after_a_while(js: Js):
    """After `max_disconnection_duration` the session is over, and so are the events that were kept."""
    io = madang.Server(connection_state_recovery={"max_disconnection_duration": 0.15})
    sockets = Heard()
    io.on("connection", sockets)
    client = await js.connect(io)
    first = await sockets.next()
    first.emit("x")
    await client.next("x")
    client.drop()
    await soon(gone(first))
    recovery = kept(io)
    assert recovery.needed

    async def over() -> None:
        while recovery.needed or recovery.bytes:
            await asyncio.sleep(0.01)

    await soon(over())
    assert not (await back(client))["recovered"]
    assert "no such session" in (await sockets.next()).not_recovered


@pytest.mark.feature("Q9")
async def test_what_is_kept_is_bounded(js: Js):
    """Beyond `max_bytes` the oldest events make room; who missed one of those is told that it is not recovered."""
    io = madang.Server(connection_state_recovery={"max_bytes": 10_000})
    sockets = Heard()
    io.on("connection", sockets)
    client = await js.connect(io)
    first = await sockets.next()
    first.emit("x")
    await client.next("x")
    client.drop()
    await soon(gone(first))
    recovery = kept(io)
    for _ in range(50):
        io.emit("much", "x" * 1000)
        assert recovery.bytes <= 10_000
    assert not (await back(client))["recovered"]
    assert "too much has been sent" in (await sockets.next()).not_recovered


@pytest.mark.node("recovery.3", "recovery.4")
@pytest.mark.feature("Q11")
@pytest.mark.parametrize("skipped", [True, False])
async def test_middlewares(js: Js, skipped: bool):
    """Middlewares are not asked about one that comes back, unless `skip_middlewares` is off; they see that it does."""
    io = madang.Server(connection_state_recovery={"skip_middlewares": skipped})
    sockets, asked = Heard(), Heard()
    io.on("connection", sockets)

    @io.use
    async def middleware(socket: madang.Socket) -> None:
        await asyncio.sleep(0)
        asked(socket.recovered)
        io.emit("meanwhile")

    client = await js.connect(io)
    first = await sockets.next()
    first.emit("x")
    await client.next("x")
    client.drop()
    await soon(gone(first))
    assert (await back(client))["recovered"]
    assert asked.all == ([False] if skipped else [False, True])
    if not skipped:
        await client.next("meanwhile")
        assert client.received == []


@pytest.mark.feature("Q11")
async def test_a_refusal_leaves_the_session(js: Js):
    """A client that a middleware refuses while it comes back may come back later, for as long as it could before."""
    io = madang.Server(connection_state_recovery={"skip_middlewares": False})
    sockets = Heard()
    io.on("connection", sockets)
    wanted = True

    @io.use
    def middleware(socket: madang.Socket) -> None:
        if not wanted:
            raise ConnectError("later")

    client = await js.connect(io)
    first = await sockets.next()
    client.drop()
    await soon(gone(first))
    wanted = False
    (before,) = kept(io)._gone.values()
    for _ in range(3):
        client.connect()
        assert (await client.refused()).message == "later"
    (after,) = kept(io)._gone.values()
    assert after.until == before.until
    wanted = True
    assert (await back(client))["recovered"]


@pytest.mark.node("recovery.5")
@pytest.mark.feature("Q5")
@pytest.mark.parametrize(
    "auth", [{"pid": 1, "offset": "x"}, {"pid": "x", "offset": 1}, {"pid": None}, {"pid": "x" * 9999}]
)
async def test_wrong_presentations(js: Js, io: madang.Server, auth: Any):
    """Whatever is presented that is no session of ours gets a new one, quietly."""
    client = await js.connect(io, auth=auth)
    assert (await client.state())["connected"]
    assert not io.sockets[client.id].recovered


@pytest.mark.node("recovery.6")
async def test_the_parsers_of_others_are_not_disturbed(js: Js):
    """Without the option nothing is added to events, and no private id is given."""
    io = madang.Server()
    url = await js.serve(io)
    async with session(url, SOCKET) as ws:
        await ws.send('40{"pid":"x","offset":"y"}')
        assert set(json.loads((await ws.text())[2:])) == {"sid"}
        io.emit("a", 1)
        assert await ws.text() == '42["a",1]'


@pytest.mark.parametrize("given", [1, "yes", {"seconds": 1}, {"max_bytes": 0}, {"max_disconnection_duration": -1}])
def test_wrong_options(given: Any):
    """What the option does not take is refused, and the error says what it takes."""
    with pytest.raises(OptionError):
        madang.Server(connection_state_recovery=given)


async def test_from_another_thread(js: Js, io: madang.Server, sockets: Heard):
    """Events that another thread emits have their place among the others."""
    client = await js.connect(io)
    first = await sockets.next()
    await asyncio.to_thread(io.emit, "seen", 1)
    await client.next("seen")
    client.drop()
    await soon(gone(first))
    await asyncio.to_thread(io.emit, "missed", 1)
    await asyncio.to_thread(first.emit, "missed", 2)
    io.emit("missed", 3)
    assert (await back(client))["recovered"]
    assert [(await client.next("missed"))[0] for _ in range(3)] == [1, 2, 3]


async def test_pythons_client(io: madang.Server):
    """madang's client is recovered as the stock one is, and its handlers do not see the offsets."""
    running = await io.start(port=0)
    sockets, heard = Heard(), Heard()
    io.on("connection", sockets)
    async with madang.connect(running.url, transports=["websocket"], reconnection_delay=0.05) as client:
        client.on("x", lambda *args: heard(args))
        first = await sockets.next()
        io.emit("x", 1)
        assert await heard.next() == (1,)
        again = asyncio.ensure_future(client.wait_for("connect"))
        first.conn.transport.abort()
        first.conn.transport_closed(first.conn.transport, "transport close", "the network has gone")
        io.emit("x", 2)
        await again
        assert client.recovered
        io.emit("x", 3)
        assert [await heard.next(), await heard.next()] == [(2,), (3,)]
    await running.stop()


async def test_an_offset_is_given_once(js: Js, io: madang.Server, sockets: Heard):
    """Offsets differ, and who comes back gets what it has missed, once."""
    client = await js.connect(io)
    first = await sockets.next()
    for number in range(6):
        first.emit("seen", number)
    offsets = [(await client.next("seen"))[1] for _ in range(6)]
    assert len(set(offsets)) == 6
    client.drop()
    await soon(gone(first))
    io.emit("missed", 1)
    assert (await back(client))["recovered"]
    assert (await client.next("missed"))[0] == 1
    assert client.received == []


async def test_who_is_told_of_the_return_may_emit(js: Js, io: madang.Server, sockets: Heard):
    """What a listener of the adapter emits while a client comes back into its room reaches it once, after the rest."""
    client = await js.connect(io)
    first = await sockets.next()
    first.join("room")
    client.drop()
    await soon(gone(first))
    io.emit("missed", 1)
    io.adapter.on("join_room", lambda room, _: io.to("room").emit("joined") if room == "room" else None)
    assert (await back(client))["recovered"]
    assert (await client.next("missed"))[0] == 1
    await client.next("joined")
    io.emit("the end")
    await client.next("the end")
    assert client.received == []


async def test_a_session_ends_although_the_server_was_started_again(js: Js):
    """Sessions that a server has kept when it stopped end in time once it serves again."""
    io = madang.Server(connection_state_recovery={"max_disconnection_duration": 0.15})
    running = await io.start(port=0)
    async with session(running.url, SOCKET) as ws:
        await ws.send("40")
        await ws.text()
        io.emit("x")
        await running.stop()
    recovery = kept(io)
    assert recovery.needed
    running = await io.start(port=0)

    async def over() -> None:
        while recovery.needed or recovery.bytes:
            await asyncio.sleep(0.01)

    try:
        await soon(over())
    finally:
        await running.stop()


async def test_more_was_missed_than_may_wait_for_a_client(js: Js):
    """Who has missed more than `outbound_limit` begins anew, rather than being sent away as slow again and again."""
    io = madang.Server(connection_state_recovery=True, outbound_limit=10_000)
    sockets = Heard()
    io.on("connection", sockets)
    client = await js.connect(io)
    first = await sockets.next()
    client.drop()
    await soon(gone(first))
    for _ in range(30):
        io.emit("much", "x" * 1000)
    assert not (await back(client))["recovered"]
    assert "outbound_limit" in (await sockets.next()).not_recovered


async def test_dynamic_namespaces(js: Js):
    """A dynamic namespace that goes with its last socket stays as long as one may come back, and leaves nothing."""
    recovering: Any = {"max_disconnection_duration": 0.3}
    io = madang.Server(connection_state_recovery=recovering, cleanup_empty_child_namespaces=True)
    sockets = Heard()
    io.of("/room/{id}").on("connection", sockets)
    client = await js.connect(io, "/room/1")
    first = await sockets.next()
    first.join("x")
    client.drop()
    await soon(gone(first))
    io.of("/room/1").emit("missed")
    assert (await back(client))["recovered"]
    assert (await sockets.next()).rooms == {first.id, "x"}
    client.drop()

    async def removed() -> None:
        while "/room/1" in io.namespaces:
            await asyncio.sleep(0.01)

    await soon(removed())


def test_namespaces_that_come_and_go():
    """A namespace that is removed leaves no deadlines of its own in the engine's timetable."""
    io = madang.Server(connection_state_recovery=True)
    before = len(io.engine.timetable._lanes)
    for number in range(20):
        io.of(f"/{number}")
        io.remove(f"/{number}")
    assert len(io.engine.timetable._lanes) == before


async def test_a_socket_whose_client_does_not_come_back(js: Js):
    """What is emitted to a socket that has gone is kept as long as its client may come back, and no longer."""
    io = madang.Server(connection_state_recovery={"max_disconnection_duration": 0.15})
    sockets = Heard()
    io.on("connection", sockets)
    client = await js.connect(io)
    first = await sockets.next()
    client.drop()
    await soon(gone(first))
    recovery = kept(io)
    first.emit("x")
    assert recovery.bytes

    async def over() -> None:
        while recovery.needed or recovery.bytes:
            await asyncio.sleep(0.01)

    await soon(over())
    first.emit("x")
    assert not recovery.bytes


async def test_who_had_left_its_own_room(js: Js, io: madang.Server, sockets: Heard):
    """A socket that had left all rooms, its own as well, comes back into none."""
    client = await js.connect(io)
    first = await sockets.next()
    first.leave_all()
    client.drop()
    await soon(gone(first))
    assert (await back(client))["recovered"]
    assert (await sockets.next()).rooms == set()


async def test_values_are_not_kept(js: Js, io: madang.Server):
    """What is kept of an event is what `max_bytes` counts: its bytes, without the values it was made of."""
    client = await js.connect(io)
    io.emit("x", {"large": "value"})
    await client.next("x")
    recovery = kept(io)
    (entry,) = recovery.log
    assert (entry.encoded.event, entry.encoded.frame, entry.encoded.payload) == (None, None, None)


def test_adapters_that_cannot():
    """With an adapter that does not keep what clients miss the option is refused, and the error says what can."""
    for adapter in ("redis://localhost", lambda namespace: madang.MemoryAdapter()):
        with pytest.raises(OptionError, match="between the workers of one machine"):
            madang.Server(adapter=adapter, connection_state_recovery=True)


@pytest.mark.feature("Q11")
async def test_too_much_while_the_middlewares_are_asked(js: Js):
    """If more is sent meanwhile than is kept the client is a new one, in all respects, and they are asked about it."""
    recovering: Any = {"skip_middlewares": False, "max_bytes": 10_000}
    io = madang.Server(connection_state_recovery=recovering)
    sockets, asked = Heard(), Heard()
    io.on("connection", sockets)

    @io.use
    def middleware(socket: madang.Socket) -> None:
        asked((socket.id, socket.recovered))
        socket.join("middleware")
        if socket.recovered:
            for _ in range(50):
                io.emit("much", "x" * 1000)

    client = await js.connect(io)
    first = await sockets.next()
    first.join("room")
    first.data["x"] = 1
    client.drop()
    await soon(gone(first))
    state = await back(client)
    second = await sockets.next()
    assert not state["recovered"]
    assert not second.recovered
    assert "too much has been sent" in second.not_recovered
    assert second.rooms == {second.id, "middleware"}
    assert second.data == {}
    assert asked.all == [(first.id, False), (first.id, True), (second.id, False)]
    assert list(io.sockets) == [second.id] != [first.id]
    assert not kept(io)._returning


async def test_sessions_are_bounded(js: Js):
    """Of the clients that have gone only so many are remembered: those that have gone last."""
    io = madang.Server(connection_state_recovery={"max_sessions": 2})
    sockets = Heard()
    io.on("connection", sockets)
    clients = [await js.connect(io) for _ in range(3)]
    for client in clients:
        client.drop()
        await soon(gone(await sockets.next()))
    assert len(kept(io)._gone) == 2
    assert [(await back(client))["recovered"] for client in clients] == [False, True, True]


async def test_a_quiet_client(js: Js):
    """Who had got its last event long ago, and was there since, is recovered, although that event is not kept."""
    recovering: Any = {"max_disconnection_duration": 0.3}
    io = madang.Server(connection_state_recovery=recovering, ping_interval=0.2, ping_timeout=0.2)
    sockets = Heard()
    io.on("connection", sockets)
    client = await js.connect(io)
    first = await sockets.next()
    io.emit("seen")
    await client.next("seen")

    async def forgotten() -> None:
        while kept(io).bytes:
            await asyncio.sleep(0.01)

    await soon(forgotten())
    io.emit("missed", 1)
    await client.next("missed")
    client.drop()
    await soon(gone(first))
    io.emit("missed", 2)
    assert (await back(client))["recovered"]
    assert (await client.next("missed"))[0] == 2
    assert client.received == []
