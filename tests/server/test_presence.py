"""Presence on one server: who is in a room, each user once; what handlers and watching clients are told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import madang
from madang.errors import EncodeError, OptionError, ReservedEventName, UsageError
from tests.server.javascript import Client, Heard, Js, soon


@pytest.fixture
def io() -> madang.Server:
    """A server that tells of changes soon."""
    return madang.Server(presence={"batch": 0.02})


@pytest.fixture
def diffs(io: madang.Server) -> Heard:
    """What `on_presence` of the main namespace hears."""
    heard = Heard()
    io.on_presence(heard)
    return heard


async def present(presence: madang.Presence) -> dict[str, list[Any]]:
    """Who is there, as a dict."""
    found = await presence.list()
    assert (found.missing, found.missing_nodes) == (0, frozenset())
    people = {one.user: one.metas for one in found}
    assert len(people) == len(found)
    return people


def names(users: list[madang.PresentUser]) -> list[str]:
    return sorted(one.user for one in users)


async def test_two_tabs_are_one_user(js: Js, io: madang.Server, diffs: Heard):
    """A user comes with the first connection, changes with the second, and goes with the last."""
    room = io.presence("room")
    first, second = [await js.connect(io) for _ in range(2)]
    room.track(io.sockets[first.id], "minji", {"tab": 1})
    assert await present(room) == {"minji": [{"tab": 1}]}
    diff = await diffs.next()
    assert isinstance(diff, madang.PresenceDiff)
    assert (diff.namespace, diff.room) == ("/", "room")
    assert diff.joined == [madang.PresentUser("minji", [{"tab": 1}])]
    assert diff.changed == diff.left == []
    room.track(io.sockets[second.id], "minji", {"tab": 2})
    diff = await diffs.next()
    assert diff.joined == diff.left == []
    ((user, metas),) = [(one.user, one.metas) for one in diff.changed]
    assert (user, sorted(meta["tab"] for meta in metas)) == ("minji", [1, 2])
    first.disconnect()
    diff = await diffs.next()
    assert diff.changed == [madang.PresentUser("minji", [{"tab": 2}])]
    second.disconnect()
    diff = await diffs.next()
    assert diff.left == [madang.PresentUser("minji", [{"tab": 2}])]
    assert diff.joined == diff.changed == []
    assert await present(room) == {}


async def test_it_follows_the_room(js: Js, io: madang.Server, diffs: Heard):
    """Tracking joins the room; whoever leaves it, or is made to, is not present there any more."""
    room, other = io.presence("room"), io.presence(7)
    clients = [await js.connect(io) for _ in range(3)]
    sockets = [io.sockets[client.id] for client in clients]
    for number, socket in enumerate(sockets):
        room.track(socket, f"user{number}")
        other.track(socket, f"user{number}")
    assert all(socket.rooms >= {"room", 7} for socket in sockets)
    sockets[0].leave("room")
    io.in_(sockets[1].id).sockets_leave("room")
    assert await present(room) == {"user2": [{}]}
    io.in_(sockets[2].id).disconnect_sockets()
    assert await present(room) == {}
    assert names(await other.list()) == ["user0", "user1"]
    sockets[0].join("room")
    assert await present(room) == {}
    sockets[1].leave_all()
    assert await present(other) == {"user0": [{}]}


async def test_a_meta_changes_and_is_copied(js: Js, io: madang.Server, diffs: Heard):
    """Tracking again changes meta or user; what the program does with its dict, or with the list, changes nothing."""
    room = io.presence("room")
    client = await js.connect(io)
    socket = io.sockets[client.id]
    meta = {"state": ["here"]}
    room.track(socket, "minji", meta)
    meta["state"].append("mutated")
    (await room.list())[0].metas[0]["state"].append("mutated")
    assert await present(room) == {"minji": [{"state": ["here"]}]}
    assert names((await diffs.next()).joined) == ["minji"]
    room.track(socket, "minji", {"state": ["away"]})
    assert (await diffs.next()).changed == [madang.PresentUser("minji", [{"state": ["away"]}])]
    room.track(socket, "joon")
    diff = await diffs.next()
    assert (names(diff.joined), names(diff.left)) == (["joon"], ["minji"])
    room.untrack(socket)
    assert names((await diffs.next()).left) == ["joon"]
    assert "room" in socket.rooms
    room.untrack(socket)
    assert await present(room) == {}


async def test_a_moment_is_not_told(js: Js, io: madang.Server, diffs: Heard):
    """Who comes and goes, or goes and comes, within a batch is not told of."""
    room = io.presence("room")
    stays, passes = [io.sockets[(await js.connect(io)).id] for _ in range(2)]
    room.track(stays, "stays", {"n": 1})
    await diffs.next()
    room.untrack(stays)
    room.track(stays, "stays", {"n": 1})
    room.track(passes, "passes")
    room.untrack(passes)
    room.track(passes, "last")
    assert names((await diffs.next()).joined) == ["last"]
    assert len(diffs.all) == 2


@pytest.mark.usefixtures("mode")
async def test_a_client_watches(js: Js, io: madang.Server):
    """The stock client gets the state, then what changes, and nothing of other rooms; until it is told no longer."""
    room = io.presence("room")
    watcher, other = [await js.connect(io) for _ in range(2)]
    here, there = io.sockets[watcher.id], io.sockets[other.id]
    room.track(here, "minji", {"name": "민지"})
    room.watch(here)
    minji = {"user": "minji", "metas": [{"name": "민지"}]}
    assert await watcher.next("presence_state") == ["room", [minji]]
    io.presence("elsewhere").track(there, "joon")
    room.track(there, "__proto__", {"n": 1})
    user = {"user": "__proto__", "metas": [{"n": 1}]}
    assert await watcher.next("presence_diff") == ["room", {"joined": [user], "changed": [], "left": []}]
    there.leave("room")
    assert await watcher.next("presence_diff") == ["room", {"joined": [], "changed": [], "left": [user]}]
    room.watch(here)
    assert await watcher.next("presence_state") == ["room", [minji]]
    room.unwatch(here)
    room.track(there, "joon")
    room.watch(there)
    _, users = await other.next("presence_state")
    assert sorted(one["user"] for one in users) == ["joon", "minji"]
    await js.settled(io)
    assert watcher.received == []


async def test_watching_ends(js: Js, io: madang.Server, diffs: Heard):
    """A client may watch from outside; who leaves the room, or goes, watches no longer, and nothing is kept of it."""
    room = io.presence("room")
    outside, inside, actor = [await js.connect(io) for _ in range(3)]
    for client in (outside, inside):
        room.watch(io.sockets[client.id])
    io.sockets[inside.id].join("room")
    for client in (outside, inside):
        assert await client.next("presence_state") == ["room", []]
    io.sockets[inside.id].leave("room")
    room.track(io.sockets[actor.id], "minji")
    await outside.next("presence_diff")
    await js.settled(io)
    assert inside.received == []
    gone = io.sockets[outside.id]
    outside.disconnect()
    await soon(_gone(gone))
    room.untrack(io.sockets[actor.id])
    while names((await diffs.next()).left) != ["minji"]:
        pass
    actor.disconnect()
    inside.disconnect()
    await soon(_empty(io))
    cluster = io.presences
    assert cluster is not None
    assert not cluster._rooms
    assert not cluster._watchers
    assert not cluster._fresh


async def _gone(socket: madang.Socket) -> None:
    while socket.connected:
        await asyncio.sleep(0.001)


async def _empty(io: madang.Server) -> None:
    while io.sockets:
        await asyncio.sleep(0.001)


async def test_after_the_end(js: Js, io: madang.Server):
    """A handler that is late does no harm: what has gone does not become present."""
    room = io.presence("room")
    client = await js.connect(io)
    socket = io.sockets[client.id]
    client.disconnect()
    await soon(_gone(socket))
    room.track(socket, "minji")
    room.watch(socket)
    room.untrack(socket)
    room.unwatch(socket)
    assert await present(room) == {}


class Odd:
    """Nothing that JSON knows."""


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (42, None, UsageError, r"named by text, not by 42; give str"),
    (None, None, UsageError, "named by text"),
    ("", None, UsageError, "between 1 and 256 characters"),
    ("x" * 257, None, UsageError, "not 257"),
    ("\ud800", None, EncodeError, "cannot be present"),
    ("minji", Odd(), EncodeError, "Odd"),
    ("minji", {"odd": Odd()}, EncodeError, "Odd"),
    ("minji", {"picture": b"..."}, EncodeError, "cannot hold bytes"),
    ("minji", ["a", "list"], EncodeError, "a meta is a dict"),
    ("minji", {"long": "x" * 65_536}, EncodeError, "too large"),
]


@pytest.mark.parametrize(("user", "meta", "error", "word"), BAD, ids=lambda value: repr(value)[:20])
async def test_what_is_refused(js: Js, io: madang.Server, user: Any, meta: Any, error: type[Exception], word: str):
    """A user who is no text, and a meta that cannot be sent, are refused by `track`, which then does nothing."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    with pytest.raises(error, match=word):
        io.presence("room").track(socket, user, meta)
    assert socket.rooms == {socket.id}
    assert await present(io.presence("room")) == {}


async def test_sockets_and_rooms_that_are_refused(js: Js, io: madang.Server):
    """A socket that is none of this namespace, or has not connected, and a room without a name are refused."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    with pytest.raises(UsageError, match="a room is named by"):
        io.presence(None)  # type: ignore[arg-type]  # pyright: ignore
    with pytest.raises(UsageError, match="too large a number"):
        io.presence(2**60)
    with pytest.raises(EncodeError, match="cannot be present"):
        io.presence("\ud800").track(socket, "minji")
    with pytest.raises(UsageError, match="a socket of / cannot be present in /chat"):
        io.of("/chat").presence("room").track(socket, "minji")
    with pytest.raises(UsageError, match="only a socket of this server"):
        io.presence("room").track(client.id, "minji")  # type: ignore[arg-type]  # pyright: ignore
    refused = Heard()

    @io.of("/early").use
    def early(socket: madang.Socket) -> None:
        with pytest.raises(UsageError, match="before it has connected") as error:
            socket.namespace.presence("room").watch(socket)
        refused(error)

    await js.connect(io, "/early")
    await refused.next()


@pytest.mark.parametrize(
    "options",
    [True, {"lease": 3}, {"lease": 0}, {"heartbeat": -1}, {"batch": "1"}, {"nothing": 1}, {"heartbeat": 8}],
    ids=str,
)
def test_options_that_are_refused(options: Any):
    """Options that cannot be, or a lease that would end between two heartbeats, are refused when the server is made."""
    with pytest.raises(OptionError):
        madang.Server(presence=options)


class Silent:
    """An adapter of somebody's own that tells of nothing."""

    def __init__(self) -> None:
        self._memory = madang.MemoryAdapter()

    def __getattr__(self, name: str) -> Any:
        if name in ("on", "off", "EVENTS"):
            raise AttributeError(name)
        return getattr(self._memory, name)


async def test_an_adapter_that_tells_of_nothing(js: Js):
    """Where it could not be known who leaves a room, presence is refused."""
    io = madang.Server(adapter=lambda _: Silent())
    client = await js.connect(io)
    with pytest.raises(OptionError, match="leave_room"):
        io.presence("room").track(io.sockets[client.id], "minji")


async def test_namespaces_are_apart(js: Js, io: madang.Server, diffs: Heard):
    """The same room in another namespace is another room; a dynamic namespace hears of those of all its children."""
    teams = io.of("/team/{name}")
    heard = Heard()
    teams.on_presence(heard)
    client = await js.connect(io)
    red, blue = [await client.beside(f"/team/{color}") for color in ("red", "blue")]
    for each, name in ((red, "red"), (blue, "blue")):
        namespace = io.of(f"/team/{name}")
        namespace.presence("room").track(namespace.sockets[each.id], name)
    io.presence("room").track(io.sockets[client.id], "minji")
    told = [await heard.next() for _ in range(2)]
    assert {(diff.namespace, *names(diff.joined)) for diff in told} == {("/team/red", "red"), ("/team/blue", "blue")}
    assert names((await diffs.next()).joined) == ["minji"]
    assert await present(io.of("/team/red").presence("room")) == {"red": [{}]}
    io.remove("/team/red")
    assert await present(io.of("/team/red").presence("room")) == {}
    again = await js.connect(io, "/team/red")
    io.of("/team/red").presence("room").track(io.of("/team/red").sockets[again.id], "again")
    io.of("/team/red").sockets[again.id].leave("room")
    assert await present(io.of("/team/red").presence("room")) == {}


async def test_back_by_recovery(js: Js):
    """Who comes back to his session is present as before, and watches as before."""
    io = madang.Server(connection_state_recovery=True, presence={"batch": 0.02})
    diffs = Heard()
    io.on_presence(diffs)

    @io.on("connection")
    def connected(socket: madang.Socket) -> None:
        if not socket.recovered:
            io.presence("room").track(socket, "minji", {"n": 1})
            io.presence("room").watch(socket)
            io.presence("outside").watch(socket)

    client = await js.connect(io)
    minji = madang.PresentUser("minji", [{"n": 1}])
    for _ in range(2):
        await client.next("presence_state")
    assert (await diffs.next()).joined == [minji]
    client.drop()
    await client.disconnected()
    assert (await diffs.next()).left == [minji]
    client.connect()
    await client.connected()
    assert (await client.state())["recovered"]
    assert (await diffs.next()).joined == [minji]
    states = dict([list(await client.next("presence_state")) for _ in range(2)])
    assert states == {"room": [{"user": "minji", "metas": [{"n": 1}]}], "outside": []}


async def test_from_another_thread(js: Js, io: madang.Server, diffs: Heard):
    """Tracking works in a thread; the list is asked for in the loop."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    raised: list[Exception] = []

    def work() -> None:
        io.presence("room").track(socket, "minji")
        try:
            asyncio.run(io.presence("room").list())  # type: ignore[arg-type]
        except UsageError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert names((await diffs.next()).joined) == ["minji"]
    thread.join()
    assert "another thread" in str(raised[0])


async def test_a_handler_that_fails(js: Js, io: madang.Server, caplog: pytest.LogCaptureFixture):
    """It is told to `on_error`, and the others hear all the same; coroutines may hear as well."""
    errors, heard = Heard(), Heard()
    io.on_error(errors)

    @io.on_presence
    def fails(diff: madang.PresenceDiff) -> None:
        raise ValueError("mine")

    @io.on_presence
    async def hears(diff: madang.PresenceDiff) -> None:
        await asyncio.sleep(0)
        heard(diff)

    client = await js.connect(io)
    io.presence("room").track(io.sockets[client.id], "minji")
    assert names((await heard.next()).joined) == ["minji"]
    error, socket, event = await errors.next()
    assert (str(error), socket, event) == ("mine", None, "presence")


async def test_its_name_is_kept_from_programs(js: Js, io: madang.Server):
    """Programs cannot speak under the name that servers use for presence, and what clients send under it is theirs."""
    for refused in (
        lambda: io.on_server_side("madang:presence"),
        lambda: io.server_side_emit("madang:presence", "..."),
    ):
        with pytest.raises(ReservedEventName):
            refused()
    with pytest.raises(ReservedEventName):
        await io.server_side_emit_with_ack("madang:presence")
    heard = Heard()
    io.on("madang:presence", lambda socket, text: heard(text))
    client = await js.connect(io)
    io.presence("room").track(io.sockets[client.id], "minji")
    client.emit("madang:presence", '[1,"state","forged","",99,9,"",0,1,[["/","room","s","liar",{}]]]')
    assert "forged" in await heard.next()
    assert await present(io.presence("room")) == {"minji": [{}]}


async def test_served_again(js: Js, io: madang.Server, diffs: Heard):
    """A server that has ended and serves again begins with nobody."""
    room = io.presence("room")
    for user in ("minji", "joon"):
        running = await io.start(port=0)
        client: Client = await js.connect(running.url)
        room.track(io.sockets[client.id], user)
        assert names((await diffs.next()).joined) == [user]
        assert await present(room) == {user: [{}]}
        await running.stop()
        assert names((await diffs.next()).left) == [user]
        assert await present(room) == {}


async def test_who_does_not_use_it_pays_nothing(js: Js, io: madang.Server):
    """Without presence there is no timer and nothing is kept; `presence(room)` alone changes nothing."""
    client = await js.connect(io)
    io.sockets[client.id].join("room")
    assert repr(io.presence("room")) == "<Presence in 'room' of />"
    assert io.presences is None
