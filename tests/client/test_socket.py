"""The life of a client's socket, with either server: connecting, what it is then, refusals, and every way to end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

import madang
from madang import ConnectError, ConnectionFailed, ReservedEventName, SocketClosed, UsageError
from madang.engine import Engine
from tests.client.servers import MadangBackend
from tests.client.tools import QUICK, SOON, WEBSOCKET, Heard, pipe, port_of, tcp, until, upgraded
from tests.interop.ways import ARGUMENTS


def lives(client: Any) -> Heard:
    """What a socket says of its own life."""
    heard = Heard()
    client.on("connect", lambda: heard("connect"))
    client.on("disconnect", lambda reason, description: heard("disconnect", reason))
    client.on("connect_error", lambda error: heard("connect_error", str(error)))
    return heard


# --------------------------------------------------------------------------------------------------------- connecting


@pytest.mark.feature("V1", "V31", "W1", "W2", "W3")
async def test_the_life_of_a_client(make_client, backend):
    """A client made in a loop connects by itself; it then has the server's id, which it loses with the connection."""
    client = make_client()
    assert (client.active, client.is_connected, client.disconnected, client.id) == (True, False, True, None)
    heard = lives(client)
    await client.connected
    assert (client.active, client.is_connected, client.disconnected) == (True, True, False)
    assert client.connected == True  # noqa: E712
    assert client.id == (await backend.state(client.who))["id"]
    client.disconnect()
    assert (client.active, client.is_connected, client.disconnected, client.id) == (False, False, True, None)
    assert await backend.heard(client.who, 2) == [["/", "connect"], ["/", "disconnect", "client namespace disconnect"]]
    assert heard.all == [("connect",), ("disconnect", "io client disconnect")]
    assert client.manager.engine is None or client.manager.engine.state != "open"


@pytest.mark.feature("L10", "W7")
async def test_dates(make_client):
    """A datetime, alone or within, goes out as a Date of JavaScript does."""
    client = await make_client.joined()
    date = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
    assert await client.emit_with_ack("echo", date, {"at": [date]}) == (
        "2026-01-02T03:04:05.678Z",
        {"at": ["2026-01-02T03:04:05.678Z"]},
    )


@pytest.mark.feature("W7")
@pytest.mark.parametrize("value", [False, None, 0, "", [], {}, b""], ids=repr)
async def test_answers_that_are_false(anyhow, backend, value):
    """An answer that counts as false is an answer, both ways."""
    client = await anyhow.joined()
    client.on("tell", lambda given: given)
    assert await client.emit_with_ack("echo", value) == value
    assert await backend.ask(client.who, "tell", value) == ([] if value is None else [value])


@pytest.mark.feature("R4")
async def test_bytes_keep_their_place(make_client):
    """Events with and without bytes arrive in the order in which they were emitted."""
    client = await make_client.joined()
    heard = Heard()
    client.on("echo", heard)
    sent: list[tuple[object, ...]] = [(b"1",), ("2",), ({"three": [b"3", "4", b"\x05" * 3000]},), (6,), (b"",), (8,)]
    for args in sent * 5:
        client.emit("echo", *args)
    assert await heard.count(30) == sent * 5


@pytest.mark.feature("W26", "W7")
@pytest.mark.parametrize("args", ARGUMENTS, ids=repr)
async def test_arguments(make_client, args):
    """An event's arguments come back as they went, on each transport, with bytes at any depth."""
    client = await make_client.joined()
    if len(make_client.transports) == 2:
        await upgraded(client)
    heard = Heard()
    client.on("echo", heard)
    client.emit("echo", *args)
    assert await heard.count(1) == [args]
    assert await client.emit_with_ack("echo", *args) == (None if not args else args[0] if len(args) == 1 else args)


@pytest.mark.feature("W26")
async def test_send(anyhow, backend):
    """`send` is the event ``message``."""
    client = await anyhow.joined()
    client.send("hello", 1)
    await client.drained()
    client.volatile.send("volatile")
    assert (await backend.heard(client.who, 3))[1:] == [["/", "message", "hello", 1], ["/", "message", "volatile"]]
    assert await client.emit_with_ack("echo", "and then") == "and then"


@pytest.mark.feature("W1")
async def test_connect_again(make_client, backend):
    """A client that has disconnected can connect again: as another, with a new id."""
    client = await make_client.joined()
    first = client.id
    client.disconnect()
    await client.connect()
    assert client.id not in (None, first)
    assert await client.emit_with_ack("echo", 1) == 1
    heard = await backend.heard(client.who, 3)
    assert sorted(entry[1] for entry in heard[:3]) == ["connect", "connect", "disconnect"]


@pytest.mark.feature("W1")
async def test_connect_is_open_and_disconnect_may_be_repeated(anyhow, backend):
    """`open` is `connect`; both do nothing more once done, and a second `disconnect` tells nobody."""
    client = anyhow(auto_connect=False)
    heard = lives(client)
    assert not client.active
    client.open()
    client.connect()
    await client.connected
    client.connect()
    assert await client.emit_with_ack("echo", 1) == 1
    client.disconnect()
    client.disconnect()
    await client.close()
    assert heard.all == [("connect",), ("disconnect", "io client disconnect")]
    assert [entry[1] for entry in await backend.heard(client.who, 3)] == ["connect", "echo", "disconnect"]


async def test_concurrent_connects_send_one_connect(anyhow, backend):
    """However often `connect` is called while it is under way, the server is asked once."""
    client = anyhow(auto_connect=False)
    sent = Heard()
    client.manager.on("open", lambda: client.manager.engine.on("packet_create", sent))
    for _ in range(3):
        client.connect()
    async with asyncio.timeout(SOON):
        await asyncio.gather(*(client.joined_or_failed() for _ in range(3)))
    assert await client.emit_with_ack("echo", 1) == 1
    assert [entry[1] for entry in await backend.heard(client.who)] == ["connect", "echo"]


@pytest.mark.feature("V31")
async def test_connect_is_asked_for(anyhow, backend):
    """Without `auto_connect` nothing is sent until `connect`."""
    client = anyhow(auto_connect=False)
    await asyncio.sleep(0.03)
    assert client.manager.state == "closed"
    assert await backend.heard(client.who) == []
    await client.connect()
    assert client.is_connected


async def test_a_client_made_outside_a_loop_begins_in_one(madang_only):
    """Made where no loop runs, a client waits for `connect`, which says so outside a loop."""
    client = await asyncio.to_thread(lambda: madang.Client(madang_only.url, **QUICK))
    assert not client.active
    with pytest.raises(UsageError, match="running event loop"):
        await asyncio.to_thread(client.connect)
    async with client:
        assert client.is_connected
    await client.close()


@pytest.mark.feature("V1", "W1")
async def test_with_and_await(anyhow, backend, own):
    """``async with`` and ``await`` give a connected client; the former closes it."""
    async with madang.connect(f"{backend.url}?who=with", **QUICK, transports=WEBSOCKET) as client:
        assert client.is_connected
        assert await client.emit_with_ack("echo", "hi") == "hi"
    assert not client.active
    assert client.manager.state == "closed"
    awaited = await own(backend.url, **QUICK, transports=WEBSOCKET)
    assert awaited.is_connected


async def test_nobody_there(own, free_port):
    """Who waits for a connection that is not retried learns why."""
    client = own(f"http://127.0.0.1:{free_port}", reconnection=False, force_new=True)
    with pytest.raises(ConnectionFailed):
        await client.connected
    with pytest.raises(ConnectionFailed):
        async with madang.connect(f"http://127.0.0.1:{free_port}", reconnection=False, force_new=True):
            pass


# --------------------------------------------------------------------------------------------------- the URL, sharing


@pytest.mark.feature("V4")
@pytest.mark.parametrize("namespace", ["", "/", "/chat", "/late"])
async def test_the_path_names_the_namespace(make_client, backend, namespace):
    """The URL's path is the namespace that is joined; one that takes its time to let in is waited for."""
    client = await make_client.joined(namespace)
    name = namespace or "/"
    assert client.nsp == name
    assert await backend.heard(client.who, 1) == [[name, "connect"]]
    assert await client.emit_with_ack("echo", 1) == 1


@pytest.mark.feature("V5")
async def test_the_query_goes_to_the_handshake(own, backend):
    """The URL's query is what the server sees, unless the option `query` is given, which then is all there is."""
    options = {"transports": WEBSOCKET, "force_new": True}
    await own(f"{backend.url}/chat?who=by+url&x=%EB%A7%88%EB%8B%B9&y=", **options).connected
    query = (await backend.state("by url", "/chat"))["query"]
    assert (query["x"], query["y"], query["EIO"]) == ("마당", "", "4")
    await own(f"{backend.url}/chat?who=by+url&x=1", query={"who": "by option"}, **options).connected
    query = (await backend.state("by option", "/chat"))["query"]
    assert "x" not in query


@pytest.mark.feature("V6")
async def test_clients_share_a_connection(own, backend):
    """Clients of several namespaces of one server share a connection; a second one of a namespace has its own."""
    options = {"transports": WEBSOCKET}
    main = own(f"{backend.url}/?who=shared", **options)
    chat = own(f"{backend.url}/chat?who=shared", **options)
    again = own(f"{backend.url}/chat?who=shared", **options)
    other = own(f"{backend.url}/chat?who=other", **options)
    assert main.manager is chat.manager
    assert len({main.manager, again.manager, other.manager}) == 3
    async with asyncio.timeout(SOON):
        for client in (main, chat, again, other):
            await client.connected
    assert main.manager.engine.id == chat.manager.engine.id != again.manager.engine.id


@pytest.mark.feature("V7")
@pytest.mark.parametrize("option", [{"force_new": True}, {"multiplex": False}])
async def test_a_connection_of_its_own(own, backend, option):
    """`force_new` and `multiplex=False` each make a connection of their own."""
    one = own(backend.url, transports=WEBSOCKET, **option)
    two = own(f"{backend.url}/chat", transports=WEBSOCKET, **option)
    assert one.manager is not two.manager
    await one.connected
    await two.connected
    assert one.manager.engine.id != two.manager.engine.id


@pytest.mark.feature("V6", "W1")
async def test_namespaces_on_one_connection(make_client, backend):
    """`of` joins another namespace on the same connection; each has its id, its handlers and its acks."""
    client = await make_client.joined()
    chat = client.of("/chat")
    assert client.of("chat") is chat
    assert client.of("/chat") is chat
    heard, others = Heard(), Heard()
    chat.on("echo", heard)
    client.on("echo", others)
    await chat.connected
    assert chat.id != client.id
    chat.emit("echo", 1)
    await heard.count(1)
    assert await asyncio.gather(chat.emit_with_ack("echo", "c"), client.emit_with_ack("echo", "m")) == ["c", "m"]
    assert others.all == []
    assert [entry[:2] for entry in await backend.heard(client.who, 5)][:3] == [
        ["/", "connect"],
        ["/chat", "connect"],
        ["/chat", "echo"],
    ]


@pytest.mark.feature("V40")
async def test_the_connection_closes_with_its_last_namespace(anyhow, backend):
    """Leaving one of two namespaces leaves the other alone; with the last one the connection is closed."""
    client = await anyhow.joined()
    chat = client.of("/chat")
    await chat.connected
    closed = Heard()
    client.manager.on("close", closed)
    client.disconnect()
    assert not closed.all
    assert await chat.emit_with_ack("echo", 1) == 1
    chat.disconnect()
    assert [entry[0] for entry in await closed.count(1)] == ["forced close"]
    assert [entry[:2] for entry in await backend.heard(client.who, 5)][-1] == ["/chat", "disconnect"]
    assert client.manager.state == "closed"


@pytest.mark.feature("V6", "W1", "V40")
async def test_a_namespace_from_the_handler_of_a_disconnect(anyhow):
    """When the last namespace has been left, a handler that hears of it may join another one."""
    client = await anyhow.joined()
    joined = Heard()

    def gone(reason: str) -> None:
        chat = client.of("/chat")
        chat.on("connect", lambda: joined(chat.id))

    client.on("disconnect", gone)
    client.disconnect()
    await joined.count(1)
    client.off("disconnect")
    assert await client.of("/chat").emit_with_ack("echo", 1) == 1
    assert not client.active


@pytest.mark.feature("V6", "V40")
async def test_joining_one_namespace_while_leaving_another(anyhow, backend):
    """A namespace that is asked for in the turn in which the only joined one is left keeps the connection open."""
    client = await anyhow.joined("/chat")
    engine = client.manager.engine
    late = client.of("/late")
    client.disconnect()
    async with asyncio.timeout(SOON):
        await late.connected
    assert client.manager.engine is engine
    assert [entry[:2] for entry in await backend.heard(client.who, 3)] == [
        ["/chat", "connect"],
        ["/chat", "disconnect"],
        ["/late", "connect"],
    ]


@pytest.mark.feature("W1", "V40")
async def test_what_is_sent_to_join_and_to_leave(anyhow):
    """Asking for a namespace again sends nothing; leaving all of them sends one packet for each, in order."""
    client = anyhow()
    sent: list[bytes] = []
    manager = client.manager
    assert manager.engine is not None
    manager.engine.on("packet_create", lambda encoded: sent.append(encoded.text))
    chat = client.of("/chat")
    assert client.of("/chat") is chat
    async with asyncio.timeout(SOON):
        await client.connected
        await chat.connected
    client.connect()
    chat.connect()
    client.of("/chat").connect()
    client.disconnect()
    chat.disconnect()
    client.disconnect()
    assert sent == [b"40", b"40/chat,", b"41", b"41/chat,"]


@pytest.mark.feature("W20", "V33")
async def test_leaving_one_namespace_while_another_comes_back(anyhow, backend):
    """Who leaves one namespace while the connection is being made again does not come back there; the others do."""
    client = await anyhow.joined()
    chat = client.of("/chat")
    await chat.connected
    main = lives(client)
    client.manager.on("reconnect_attempt", lambda number: client.disconnect())
    await backend.cut(client.who)
    async with asyncio.timeout(SOON):
        await chat.wait_for("connect", timeout=SOON)
    assert await chat.emit_with_ack("echo", 1) == 1
    assert (client.active, client.is_connected) == (False, False)
    assert main.all == [("disconnect", "transport close")]


# ----------------------------------------------------------------------------------------------------- auth, refusals


@pytest.mark.feature("W5")
async def test_auth(make_client, backend):
    """What is given as `auth` is what the server sees; it is read at each attempt, so it may be changed between."""
    client = await make_client.joined("/chat", auth={"token": "first", "list": [1, "둘"]})
    assert (await backend.state(client.who, "/chat"))["auth"] == {"token": "first", "list": [1, "둘"]}
    client.disconnect()
    client.auth = {"token": "second"}
    await client.connect()
    await backend.heard(client.who, 3)
    assert (await backend.state(client.who, "/chat"))["auth"] == {"token": "second"}


@pytest.mark.feature("W6")
async def test_auth_functions(anyhow, backend):
    """A function, or a coroutine function, gives what is presented, and is called for each attempt."""
    calls = 0

    def plain() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return {"call": calls}

    async def slow() -> dict[str, Any]:
        await asyncio.sleep(0)
        return plain()

    for number, auth in enumerate((plain, slow)):
        client = await anyhow.joined(auth=auth)
        assert (await backend.state(client.who))["auth"] == {"call": 2 * number + 1}
        await backend.cut(client.who)
        await backend.heard(client.who, 3)
        await client.connected
        assert (await backend.state(client.who))["auth"] == {"call": 2 * number + 2}


@pytest.mark.feature("W18", "W3")
async def test_refused(make_client, backend):
    """A refusal carries the server's message and data, is not tried again, and leaves the client inactive."""
    client = make_client("/auth", auth={"token": "bad"})
    heard = lives(client)
    errors: list[Any] = []
    client.on("connect_error", errors.append)
    with pytest.raises(ConnectError, match="not allowed") as refusal:
        await client.connected
    assert refusal.value.data == {"code": 401}
    assert (str(errors[0]), errors[0].data) == ("not allowed", {"code": 401})
    assert isinstance(errors[0], ConnectError)
    assert (client.active, client.is_connected, client.id) == (False, False, None)
    await asyncio.sleep(0.04)
    assert heard.all == [("connect_error", "not allowed")]
    assert [entry[1] for entry in await backend.heard(client.who)] == ["asks"]


@pytest.mark.feature("W5", "W18")
async def test_refused_and_then_let_in(anyhow):
    """Who has been refused may present something else, from the handler of the refusal as well."""
    client = anyhow("/auth", auth={"token": "bad"})
    refused = Heard()

    @client.on("connect_error")
    def again(error: Exception) -> None:
        refused(str(error))
        client.auth = {"token": "good"}
        client.connect()

    await client.wait_for("connect", timeout=SOON)
    assert client.is_connected
    assert refused.all == [("not allowed",)]
    assert await client.emit_with_ack("echo", 1) == 1


@pytest.mark.feature("W18", "W3")
async def test_a_refusal_is_for_its_namespace(anyhow):
    """One namespace's refusal leaves the others of the connection alone."""
    client = await anyhow.joined()
    auth = client.of("/auth", auth={"token": "bad"})
    with pytest.raises(ConnectError):
        await auth.connected
    assert not auth.active
    assert await client.emit_with_ack("echo", 1) == 1


@pytest.mark.feature("W18")
async def test_unknown_namespace(make_client):
    """A namespace that the server does not have is a refusal."""
    with pytest.raises(ConnectError, match="Invalid namespace"):
        await make_client("/nowhere").connected


@pytest.mark.feature("W18", "W3")
async def test_a_transport_failure_is_tried_again(anyhow, free_port):
    """While nobody answers, the client tells of each failure and stays active."""
    client = madang.Client(f"http://127.0.0.1:{free_port}", **QUICK)
    anyhow.clients.append(client)
    heard: list[Any] = []
    client.on("connect_error", heard.append)
    await until(lambda: len(heard) == 3)
    assert {type(error) for error in heard} == {ConnectionFailed}
    assert (client.active, client.is_connected) == (True, False)
    client.disconnect()
    assert (client.active, client.manager.state) == (False, "closed")


@pytest.mark.feature("W27")
@pytest.mark.parametrize("answer", ["0", '0{"pid":"x"}'])
async def test_a_server_of_the_old_protocol(own, answer):
    """A CONNECT without an id is what a server of Socket.IO 2 sends: it is refused with words that say so."""
    engine = Engine(path="/socket.io/")
    engine.on("connection", lambda session: session.on("message", lambda data: session.send(answer)))
    running = await engine.start(port=0, host="127.0.0.1")
    try:
        client = own(running.url, **QUICK)
        with pytest.raises(ConnectError, match=r"Socket\.IO 2"):
            await client.connected
        assert not client.active
        await client.close()
    finally:
        await running.stop()


# ---------------------------------------------------------------------------------------------------------- endings


@pytest.mark.feature("W19", "W20", "W3")
@pytest.mark.parametrize("close", [False, True])
async def test_disconnected_by_the_server(make_client, backend, close):
    """When the server ends the namespace, the client knows the reason and does not come back by itself."""
    client = await make_client.joined()
    heard = lives(client)
    await backend.leave(client.who, close)
    assert await heard.count(1) == [("disconnect", "io server disconnect")]
    assert (client.active, client.is_connected, client.id) == (False, False, None)
    await asyncio.sleep(0.04)
    assert len(heard.all) == 1
    await client.connect()
    assert await client.emit_with_ack("echo", 1) == 1


@pytest.mark.feature("W19", "W20", "W21")
async def test_the_connection_is_cut(make_client, backend):
    """When the connection is lost, the client says why, stays active, and comes back with another id."""
    client = await make_client.joined()
    first = client.id
    heard = lives(client)
    described: list[Any] = []
    client.on("disconnect", lambda reason, description: described.append(description))
    seen: list[Any] = []
    client.on("disconnect", lambda reason, description: seen.append((client.active, client.is_connected, client.id)))
    await backend.cut(client.who)
    assert await heard.count(2) == [("disconnect", "transport close"), ("connect",)]
    assert seen == [(True, False, None)]
    assert client.id not in (None, first)
    assert await client.emit_with_ack("echo", 1) == 1
    assert len(described) == 1


@pytest.mark.feature("W19", "W20")
@pytest.mark.parametrize(
    ("message", "reason"),
    [("9", "parse error"), ('2["x"', "parse error"), ("5", "parse error"), ("2{}", "parse error")],
)
async def test_a_server_that_breaks_the_protocol(anyhow, backend, message, reason):
    """What cannot be a packet ends the connection as a parse error, after which the client comes back."""
    client = await anyhow.joined()
    heard = lives(client)
    await backend.raw(client.who, message)
    assert await heard.count(2) == [("disconnect", reason), ("connect",)]


@pytest.mark.feature("W19", "W20")
async def test_ping_timeout(of_node, node_backend):
    """A server that falls silent is given up as a ping timeout, after which the client comes back."""
    client = await of_node.joined(path="/quick.socket.io/")
    heard = lives(client)
    await node_backend.mute(client.who)
    assert await heard.count(2) == [("disconnect", "ping timeout"), ("connect",)]


@pytest.mark.feature("W19", "W20", "W21")
async def test_the_network_is_gone(madang_only, own):
    """When the network drops the connection without a word, the client says so with a description, and comes back."""
    lines: list[asyncio.StreamWriter] = []

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)
        await pipe(reader, writer, "127.0.0.1", port_of(madang_only.url))

    async with tcp(line) as port:
        client = own(f"http://127.0.0.1:{port}", **QUICK, transports=WEBSOCKET)
        await client.connected
        ends: list[Any] = []
        client.on("disconnect", lambda reason, description: ends.append((reason, description)))
        lines[0].transport.abort()
        await until(lambda: ends and client.is_connected)
        assert ends[0][0] in ("transport close", "transport error")
        assert ends[0][1]
        await client.close()


# ------------------------------------------------------------------------------------------------- ends from handlers


async def test_disconnect_in_the_connect_handler(make_client, backend):
    """A client may leave as soon as it has come: it is told so, and stays away."""
    client = make_client()
    heard = lives(client)
    client.on("connect", client.disconnect)
    assert await heard.count(2) == [("connect",), ("disconnect", "io client disconnect")]
    assert not client.active
    assert [entry[1] for entry in await backend.heard(client.who, 2)] == ["connect", "disconnect"]


async def test_close_in_a_handler(anyhow):
    """A handler may close its client and wait for that: it ends in time, and the handler goes on."""
    client = await anyhow.joined()
    done = Heard()

    @client.on("echo")
    async def echo() -> None:
        await client.close(0.05)
        done("closed")

    client.emit("echo")
    await until(lambda: not client.active)
    await until(lambda: client.manager.state == "closed")
    await client.close()
    assert not client.is_connected


async def test_disconnect_while_connecting(make_client):
    """Leaving before the connection is there calls it off: whoever waits for it learns so, and no event fires."""
    client = make_client()
    heard = lives(client)
    waiting = asyncio.ensure_future(client.joined_or_failed())
    await asyncio.sleep(0)
    client.disconnect()
    with pytest.raises(SocketClosed):
        await waiting
    assert not client.active
    await client.close()
    assert heard.all == []


async def test_disconnect_and_connect_at_once(make_client):
    """Leaving and coming back in one turn ends in a connection that works."""
    client = await make_client.joined()
    for _ in range(3):
        client.disconnect()
        client.connect()
    await client.connected
    assert await client.emit_with_ack("echo", 1) == 1


async def test_connect_in_the_disconnect_handler(anyhow, backend):
    """A client that the server has disconnected may come back from the handler that tells of it."""
    client = await anyhow.joined()
    client.on("disconnect", lambda reason: client.connect())
    await backend.leave(client.who, close=True)
    await client.wait_for("connect", timeout=SOON)
    client.off("disconnect")
    assert await client.emit_with_ack("echo", 1) == 1


async def test_close_twice_and_use_after(anyhow):
    """Closing twice is harmless; what is sent afterwards waits, and a closed client may connect again."""
    client = await anyhow.joined()
    await client.close()
    await client.close()
    assert (client.active, client.manager.state) == (False, "closed")
    with pytest.raises(SocketClosed):
        await client.connected
    await client.connect()
    assert await client.emit_with_ack("echo", "again") == "again"


@pytest.mark.feature("W6")
async def test_auth_that_is_slower_than_the_connection(anyhow, backend):
    """What an auth function gives for a connection that is gone is not sent on the next one."""
    gates: list[asyncio.Future[dict[str, Any]]] = []

    async def auth() -> dict[str, Any]:
        gates.append(asyncio.get_running_loop().create_future())
        return await gates[-1]

    client = anyhow(auth=auth)
    await until(lambda: len(gates) == 1)
    await backend.cut(client.who)
    await until(lambda: len(gates) == 2)
    gates[0].set_result({"attempt": "old"})
    await asyncio.sleep(0.02)
    assert not client.is_connected
    gates[1].set_result({"attempt": "new"})
    await client.connected
    assert (await backend.state(client.who))["auth"] == {"attempt": "new"}
    assert [entry[1] for entry in await backend.heard(client.who)] == ["connect"]


@pytest.mark.feature("W6", "W18")
async def test_auth_that_raises(anyhow):
    """An auth function that fails is a connect_error, and is asked again later; a ConnectError is for good."""
    tries = 0

    def auth() -> dict[str, Any]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("no token yet")
        raise ConnectError("logged out", data=1)

    client = anyhow(auth=auth, auto_connect=False)
    client._auth_backoff.first = 0.01
    failed, heard = Heard(), lives(client)
    client.on_error(lambda error, socket, event: failed(str(error), event))
    with pytest.raises(ConnectError, match="logged out"):
        await client.connect()
    assert heard.all == [("connect_error", "auth error: ValueError: no token yet"), ("connect_error", "logged out")]
    assert failed.all == [("no token yet", "auth")]
    assert not client.active


async def test_auth_that_cannot_be_sent(anyhow):
    """An auth that is no dict is told as a failure of the function; one that JSON has no form for is a refusal."""
    client = anyhow(auth=lambda: {"x": object()})
    client.on_error(lambda *_: None)
    with pytest.raises(ConnectError, match="cannot be sent"):
        await client.connected


def test_two_loops_one_after_the_other(node_backend):
    """A client that was closed in one loop may be used in the next."""
    client = madang.Client(node_backend.url, **QUICK, transports=WEBSOCKET)
    for number in range(2):

        async def use(number: int = number) -> object:
            async with asyncio.timeout(SOON), client:
                return await client.emit_with_ack("echo", number)

        assert asyncio.run(use()) == number


def test_each_loop_has_its_own_connections(node_backend):
    """Clients of two loops never share a connection, even if the first loop has left one behind unclosed."""

    async def use() -> str | None:
        client = madang.Client(f"{node_backend.url}/chat", transports=WEBSOCKET)
        async with asyncio.timeout(SOON), client:
            return client.id

    assert asyncio.run(use()) != asyncio.run(use())


# ------------------------------------------------------------------------------------------------------------- events


@pytest.mark.feature("W24")
@pytest.mark.parametrize(
    "name", ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
)
async def test_reserved_names(own, name):
    """The six names of the protocol cannot be emitted, in any way of emitting."""
    client = own("http://127.0.0.1:1", auto_connect=False)
    for emit in (client.emit, client.volatile.emit, client.emit_with_ack, client.timeout(1).emit_with_ack):
        with pytest.raises(ReservedEventName):
            emit(name, 1)


@pytest.mark.feature("W16")
async def test_on_any(anyhow):
    """Listeners for any event come before its handlers, in their order, with its name; they can be taken away."""
    client = await anyhow.joined()
    order: list[Any] = []
    heard = Heard()
    client.on_any(lambda event, *args: order.append(("any", event, *args)))
    first = client.prepend_any(lambda event, *args: order.append(("first", event, *args)))
    client.on("x", lambda *args: order.append(("handler", *args)))
    client.on("end", heard)
    client.emit("please", "x", 1, 2)
    client.emit("please", "end")
    await heard.count(1)
    assert order == [("first", "x", 1, 2), ("any", "x", 1, 2), ("handler", 1, 2), ("first", "end"), ("any", "end")]
    client.off_any(first)
    client.emit("please", "end")
    await heard.count(2)
    assert order[5:] == [("any", "end")]
    client.off_any()
    client.emit("please", "end")
    await heard.count(3)
    assert len(order) == 6
    assert client.listeners_any() == []


@pytest.mark.feature("W17")
async def test_on_any_outgoing(anyhow):
    """Listeners for what is sent see name and arguments; for a buffered event when it is really sent."""
    client = anyhow(auto_connect=False)
    seen: list[Any] = []
    listener = client.on_any_outgoing(lambda event, *args: seen.append((event, *args, client.is_connected)))
    client.emit("early", b"bytes")
    client.emit_with_ack("echo", 1).cancel()
    assert seen == []
    await client.connect()
    client.volatile.emit("later")
    assert await client.emit_with_ack("echo", 2) == 2
    assert seen == [("early", b"bytes", True), ("later", True), ("echo", 2, True)]
    client.off_any_outgoing(listener)
    client.emit("unseen")
    assert len(seen) == 3
    assert client.listeners_any_outgoing() == []


async def test_handlers_run_in_order(make_client):
    """Coroutine handlers run one at a time, in the order of the events, however long each takes."""
    client = await make_client.joined()
    order: list[Any] = []
    done = Heard()

    @client.on("x")
    async def x(number: int) -> None:
        order.append(("begin", number))
        await asyncio.sleep(0.01 if number == 0 else 0)
        order.append(("end", number))
        done(number)

    for number in range(3):
        client.emit("please", "x", number)
    await done.count(3)
    assert order == [(what, number) for number in range(3) for what in ("begin", "end")]


async def test_once_and_off(anyhow):
    """`once` hears one event; `off` takes a handler away, or all of an event."""
    client = await anyhow.joined()
    once, always, end = Heard(), Heard(), Heard()
    client.once("x", once)
    client.on("x", always)
    client.on("end", end)
    for _ in range(2):
        client.emit("please", "x")
    client.emit("please", "end")
    await end.count(1)
    assert (len(once.all), len(always.all)) == (1, 2)
    client.off("x", always)
    client.emit("please", "x")
    client.emit("please", "end")
    await end.count(2)
    assert len(always.all) == 2


async def test_a_handler_that_fails(anyhow):
    """An exception in a handler goes to `on_error`, and hurts neither the connection nor the next handler."""
    client = await anyhow.joined()
    failed, heard = Heard(), Heard()
    client.on_error(lambda error, socket, event: failed(str(error), socket, event))

    @client.on("x")
    def broken() -> None:
        raise ValueError("broken")

    client.on("x", heard)
    client.emit("please", "x")
    await heard.count(1)
    assert await failed.count(1) == [("broken", client, "x")]
    assert await client.emit_with_ack("echo", 1) == 1


async def test_emit_from_another_thread(make_client):
    """`emit` and `disconnect` may be called from any thread; events keep their order there."""
    client = await make_client.joined()
    heard = Heard()
    client.on("echo", heard)

    def work() -> None:
        for number in range(20):
            client.emit("echo", number)

    await asyncio.to_thread(work)
    assert await heard.count(20) == [(number,) for number in range(20)]
    await asyncio.to_thread(client.disconnect)
    await until(lambda: not client.active)


@pytest.mark.feature("W15")
@pytest.mark.parametrize("compress", [True, False])
async def test_compress(make_client, compress):
    """What is compressed, and what is not, arrives the same."""
    client = await make_client.joined(per_message_deflate=True)
    text = "마당 " * 2000
    assert await client.compress(compress).emit_with_ack("echo", text) == text


# -------------------------------------------------------------------------------------------------------- own parsers


class JsonParser(madang.Parser):
    """Each packet as a JSON object, without attachments; as the parser of tests/js/client_server.mjs."""

    @staticmethod
    def _text(**packet: Any) -> Any:
        import json

        from madang.protocol.encoded import Encoded

        said = {name: value for name, value in packet.items() if value is not None}
        return Encoded(b"4" + json.dumps(said, separators=(",", ":")).encode(), ())

    def encode_event(self, namespace: str, args: Any, ack_id: int | None = None, compress: bool = True) -> Any:
        return self._text(type=2, nsp=namespace, data=list(args), id=ack_id)

    def encode_ack(self, namespace: str, args: Any, ack_id: int) -> Any:
        return self._text(type=3, nsp=namespace, data=list(args), id=ack_id)

    def encode_control(self, packet_type: int, namespace: str, data: Any = None) -> Any:
        return self._text(type=packet_type, nsp=namespace, data=data)

    def decode(self, text: bytes) -> Any:
        import json

        from madang.protocol.parser import Packet

        said = json.loads(text[1:])
        return Packet(said["type"], said["nsp"], said.get("id"), args=said.get("data"))

    def decode_args(self, packet: Any) -> Any:
        return packet.args


@pytest.mark.feature("V44", "R3")
@pytest.mark.parametrize("server", ["node", "madang"])
async def test_parser(request, own, server):
    """A parser of one's own serves events, acks and namespaces, if the server has the same."""
    options = {**QUICK, "transports": WEBSOCKET, "parser": JsonParser()}
    if server == "node":
        url = request.getfixturevalue("node_backend").url
        await parsed(own(url, path="/parsed.socket.io/", **options))
        return
    backend = MadangBackend(parser=JsonParser())
    running = await backend.io.start(port=0, host="127.0.0.1")
    try:
        await parsed(own(running.url, **options))
    finally:
        await running.stop()


async def parsed(client: madang.Client) -> None:
    await client.connected
    assert await client.emit_with_ack("echo", {"deep": [1, None]}, "둘") == ({"deep": [1, None]}, "둘")
    chat = client.of("/chat")
    await chat.connected
    assert await chat.emit_with_ack("echo", 1) == 1
    with pytest.raises(ConnectError, match="not allowed"):
        await client.of("/auth", auth={"token": "bad"}).connected
    await client.close()
