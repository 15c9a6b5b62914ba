"""What PostgreSQL asks of a cluster: the bytes beside Node's, its limits, and the table of attachments."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

import madang
from madang.adapters.postgres.arrivals import Arrivals, Cleaning
from madang.adapters.postgres.listen_notify import channel_of
from tests.cluster.brokers import PASSWORD, Postgres
from tests.cluster.conftest import Pair
from tests.cluster.peers import KEY, NodePeer
from tests.cluster.test_faults import members, talks
from tests.cluster.test_leased_faults import LeasedBroker
from tests.interop.ways import until
from tests.server.javascript import soon

TABLE = "socket_io_attachments"


class Tap:
    """Hears all that is notified in one namespace, heartbeats aside."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self, nsp: str) -> None:
        await self.connection.add_listener(f"{KEY}#{nsp}", lambda *told: self._heard.put_nowait(told[-1]))

    async def next(self) -> tuple[str, bytes | None]:
        """The next notification and its attachment, without what is drawn at random."""
        while True:
            payload = await soon(self._heard.get(), "a notification")
            if re.match(r'\{"type":(1|2|13),', payload) is None:
                break
        number = re.search(r'"attachmentId":"(\d+)"', payload)
        attachment: bytes | None = None
        if number is not None:
            query = f"SELECT payload FROM {TABLE} WHERE id = $1"
            attachment = masked(await self.connection.fetchval(query, int(number[1])))
            payload = payload.replace(number[0], '"attachmentId":"N"')
        return masked(payload.encode()).decode(), attachment


def masked(payload: bytes) -> bytes:
    payload = re.sub(rb'"(uid|requestId)":"[0-9a-zA-Z]+"', rb'"\1":"-"', payload)
    return re.sub(rb"(\xa3uid|\xa9requestId)(\xb0[0-9a-f]{16}|\xa6[0-9a-zA-Z]{6})", rb"\1-", payload)


@pytest.fixture
async def tap(pair: Pair, shared_postgres: Postgres) -> AsyncIterator[Tap]:
    connection = await asyncpg.connect(shared_postgres.url)
    tap = Tap(connection)
    await tap.listen(pair.here.url[pair.here.url.rindex("/") :])
    yield tap
    await connection.close()


mixed = pytest.mark.parametrize("pair", ["postgres:madang-node"], indirect=True)

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("emit", ("news",), {}),
    ("emit", ("news", 1, -1.5, True, None, "가나다", {"a": [1, {"b": "c"}]}), {}),
    ("emit", ("news",), {"rooms": ["a"]}),
    ("emit", ("news",), {"rooms": [42]}),
    ("emit", ("news",), {"except_": ["b"]}),
    ("emit", ("news",), {"flags": ["volatile"]}),
    ("emit", ("news", b"\x00\xff" * 200, {"a": b"\x01"}), {}),
    ("emit", ("news", "x" * 9000), {}),
    ("emit", ("news", "가" * 3000), {}),
    ("join", ("x", "y"), {"rooms": ["a"]}),
    ("leave", ("x",), {"rooms": ["a"]}),
    ("disconnect", (True,), {"rooms": ["a"]}),
    ("tell", ("notice", 1, {"a": "b"}), {}),
]


@mixed
@pytest.mark.feature("S12", "S19")
@pytest.mark.parametrize(("do", "args", "whom"), CALLS)
async def test_bytes(pair: Pair, tap: Tap, do: str, args: tuple[Any, ...], whom: dict[str, Any]):
    """A call has the notification and the attachment that Node gives it."""
    await getattr(pair.here, do)(*args, **whom)
    ours = await tap.next()
    await getattr(pair.there, do)(*args, **whom)
    assert ours == await tap.next()


@mixed
@pytest.mark.feature("S12", "S19", "T3")
async def test_text_of_many_bytes(pair: Pair):
    """What is long in bytes and short in characters arrives, both ways and from an emitter; so does what is huge."""
    assert pair.backing is not None
    name = pair.here.url[pair.here.url.rindex("/") :]
    for text in ("가" * 2650, "가" * 3000, "x" * 7800, "y" * 7990, "한글 😀" * 100_000):
        await pair.here.emit("news", text)
        assert await pair.second.next("news") == [text]
        await pair.first.next("news")
        await pair.there.emit("news", text)
        assert await pair.first.next("news") == [text]
        await pair.second.next("news")
        with madang.SyncEmitter(pair.backing.url, key=KEY) as emitter:
            emitter.of(name).emit("news", text)
        assert await pair.first.next("news") == [text]
        assert await pair.second.next("news") == [text]


@mixed
@pytest.mark.feature("T3")
async def test_node_emitter(pair: Pair):
    """What Node's emitter sends reaches the clients of madang's servers, although it names no namespace."""
    assert isinstance(pair.there, NodePeer)
    await pair.joined(first=["a"])
    for args in (["news", 1], ["news", "x" * 9000], ["news", {"$": "bytes", "is": "AP8="}]):
        await pair.there.call("emit", by="emitter", args=args, rooms=["a"])
        assert await pair.first.next("news") == [b"\x00\xff" if isinstance(args[1], dict) else args[1]]
    await pair.there.call("join", by="emitter", names=["b"], rooms=["a"])
    await pair.until_rooms(pair.second)
    await pair.there.call("tell", by="emitter", args=["notice", 1])
    assert await pair.here.heard.next() == [1]
    await pair.there.call("disconnect", by="emitter", close=True, rooms=["b"])
    await pair.first.disconnected()


@pytest.mark.feature("S12", "S5")
@pytest.mark.parametrize("pair", ["postgres:madang-madang"], indirect=True)
async def test_the_same_again_and_again(pair: Pair):
    """PostgreSQL merges what is the same within a transaction; events that are the same all arrive, and in order."""
    for number in range(300):
        await pair.here.emit("tick")
        if number % 50 == 0:
            await pair.here.emit("tick", "x" * 20_000)
            await pair.here.emit("tick", b"\x00")
    got = [await pair.second.next("tick") for _ in range(312)]
    expected: list[Any] = []
    for number in range(300):
        expected += [[], ["x" * 20_000], [b"\x00"]] if number % 50 == 0 else [[]]
    assert got == expected


@pytest.mark.feature("S12", "S20")
async def test_long_and_odd_names(shared_postgres: Postgres):
    """Namespaces whose channels have the same name, since PostgreSQL cuts it, are apart; odd names do no harm."""
    names = ["/" + "n" * 100, "/" + "n" * 101, "/" + "가" * 40, '/quo"te', "/; DROP TABLE x", "/nul\0"]
    assert channel_of("socket.io", names[0]) == channel_of("socket.io", names[1])
    servers = [madang.Server(adapter=madang.PostgresAdapter(shared_postgres.url, key="odd")) for _ in range(2)]
    heard: list[tuple[str, Any]] = []
    running = []
    for server in servers:
        for name in names:
            server.of(name).on_server_side("notice")(lambda what, name=name: heard.append((name, what)))
        running.append(await server.start(port=0))
    for server in servers:
        for name in names:
            await soon(server.of(name).adapter.settled(), "a settled adapter")
    with madang.SyncEmitter(shared_postgres.url, key="odd") as emitter:
        for name in names:
            servers[0].of(name).server_side_emit("notice", name)
            await until(lambda name=name: (name, name) in heard)
            emitter.of(name).server_side_emit("notice", f"{name} from an emitter")
            await until(lambda name=name: heard.count((name, f"{name} from an emitter")) == 2)
    assert len(heard) == 3 * len(names)
    assert all(what.startswith(name) for name, what in heard)
    for one in running:
        await one.stop()


@pytest.mark.feature("S12")
async def test_the_table(postgres: Postgres):
    """The table is made if it is not there, and old rows are deleted from it, whoever has put them there."""
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
    broker = LeasedBroker("postgres", postgres)
    async with members(broker, cleanup_interval=0.3) as (a, b):  # type: ignore[arg-type]
        await connection.execute(f"INSERT INTO {TABLE} (payload) VALUES ('x')")
        a.io.to("room").emit("tick", b"\x00" * 10_000)
        await until(lambda: b.got == [b"\x00" * 10_000])
        async with asyncio.timeout(10):
            while await connection.fetchval(f"SELECT count(*) FROM {TABLE}"):
                await asyncio.sleep(0.02)
        await talks(a, b)
    await connection.close()


@pytest.mark.feature("S12", "S18")
async def test_an_attachment_that_is_gone(postgres: Postgres):
    """A message whose attachment is not there any more, or is too large, is told as a gap; the next one arrives."""
    connection = await asyncpg.connect(postgres.url)
    async with members(LeasedBroker("postgres", postgres), max_message=50_000) as (a, b):  # type: ignore[arg-type]
        tell = "SELECT pg_notify('socket.io#/', $1)"
        await connection.execute(tell, '{"uid":"x","type":3,"attachmentId":"123456789"}')
        await until(lambda: len(b.gaps_of("in")) == 1)
        assert "could not be fetched" in b.gaps_of("in")[0].reason
        query = f"INSERT INTO {TABLE} (payload) VALUES ($1) RETURNING id"
        number = await connection.fetchval(query, b"x" * 60_000)
        await connection.execute(tell, f'{{"uid":"x","type":3,"attachmentId":"{number}"}}')
        await until(lambda: len(b.gaps_of("in")) == 2)
        assert "more than 50000 bytes" in b.gaps_of("in")[1].reason
        await talks(a, b)
    await connection.close()


@pytest.mark.feature("S12")
async def test_without_the_right_to_make_the_table(postgres: Postgres, caplog: pytest.LogCaptureFixture):
    """Who may not make the table is told what to do; short messages go, and others are told as lost."""
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
    await connection.execute(f"CREATE ROLE poor LOGIN PASSWORD '{PASSWORD}'")
    await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    broker = LeasedBroker("postgres", postgres)
    broker.url = postgres.url.replace("//tests:", "//poor:")
    with caplog.at_level(logging.WARNING, "madang.adapters"):
        async with members(broker) as (a, b):  # type: ignore[arg-type]
            assert f"CREATE TABLE IF NOT EXISTS {TABLE} (id bigserial UNIQUE" in caplog.text
            a.io.to("room").emit("tick", b"\x00")
            await until(lambda: a.health.lost == 1)
            assert f'"{TABLE}" does not exist' in a.gaps_of("out")[0].reason
            await talks(a, b)
            assert b.gaps == []
    await connection.execute("DROP ROLE poor")
    await connection.close()


@pytest.mark.feature("S12", "A16")
@pytest.mark.parametrize(
    ("option", "value"),
    [("table_name", "x; DROP TABLE y"), ("payload_threshold", 8000), ("heartbeat_timeout", 5.0), ("keys", "x"),
     ("cleanup_interval", 0)],
)  # fmt: skip
def test_options_that_cannot_be(option: str, value: Any):
    """What cannot be is refused when the adapter is made."""
    options: Any = {option: value}
    with pytest.raises(madang.OptionError, match=option):
        madang.PostgresAdapter("postgresql://localhost", **options)


@pytest.mark.feature("A16")
@pytest.mark.parametrize("url", ["mysql://localhost", "postgresql://localhost:port", "postgresql://x?timeout=soon"])
def test_urls_that_cannot_be(url: str):
    """A URL that cannot be understood is refused as well."""
    with pytest.raises(madang.OptionError):
        madang.PostgresAdapter(url)


async def test_what_waits_for_an_attachment():
    """All behind an attachment waits for it, a bounded number of messages; more than that is told as lost, once."""
    delivered: list[bytes] = []
    lost: list[str] = []
    wanted: list[bool] = []
    arrivals = Arrivals(
        lambda _, payload: delivered.append(payload),
        lambda uid: uid == "own",
        lambda _, reason: lost.append(reason),
        lambda: None,
        lambda: wanted.append(True),
        1000,
        3,
    )

    class Source:
        async def attachments(self, numbers: list[int], most: int) -> dict[int, bytes | None]:
            assert most == 1000
            return {number: b"attachment %d" % number for number in numbers}

    arrivals.take("c", '{"a":1} \n')
    arrivals.take("c", '{"uid":"own","type":3,"attachmentId":"1"}')
    for payload in (
        '{"uid":"x","type":3,"attachmentId":"7"}',
        '{"b":2}',
        '{"uid":"x","type":3,"attachmentId":8}',
        "{}",
    ):
        arrivals.take("c", payload)
    arrivals.take("c", "{}")
    assert (delivered, len(wanted)) == ([b'{"a":1}'], 2)
    assert lost == ["too much waits for attachments"]
    await arrivals.fetch(Source())
    assert delivered[1:] == [b"attachment 7", b'{"b":2}', b"attachment 8"]
    arrivals.take("c", '{"c":3}')
    assert delivered[-1] == b'{"c":3}'


def test_when_the_table_is_cleaned(monkeypatch: pytest.MonkeyPatch):
    """Once in an interval, as long as something that was put into the table may still be there."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    cleaning = Cleaning(30)
    assert not cleaning.due()
    now += 31
    assert cleaning.due()
    now += 31
    assert not cleaning.due()
    cleaning.attached()
    assert cleaning.due()
    now += 31
    assert cleaning.due()
    now += 31
    assert not cleaning.due()
