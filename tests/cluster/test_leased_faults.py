"""What may happen to PostgreSQL, to NATS, and to servers that know each other by heartbeats; with real ones of all."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import madang
from madang.adapters.nats.connection import NatsConnection
from madang.adapters.postgres.connection import ListeningLine, PublishingLine
from madang.adapters.relay import Relay
from madang.adapters.requests import Question
from tests.cluster.brokers import Nats, Postgres
from tests.cluster.peers import NodePeer, NodeServer
from tests.cluster.test_faults import (
    Member,
    members,
    talks,
    test_asked_without_redis,
    test_bytes_that_may_wait,
    test_closed_without_redis,
    test_frozen,
    test_killed_and_started_again,
    test_many_in_flight,
    test_more_than_may_wait,
    test_started_before_redis,
    test_too_large_to_send,
    test_what_waits_leaves_before_the_end,
)
from tests.conftest import Leaks
from tests.interop.ways import until
from tests.server.javascript import soon

__all__ = [  # the same tests with the fixture `broker` of this module
    "test_asked_without_redis",
    "test_bytes_that_may_wait",
    "test_closed_without_redis",
    "test_frozen",
    "test_killed_and_started_again",
    "test_many_in_flight",
    "test_more_than_may_wait",
    "test_started_before_redis",
    "test_too_large_to_send",
    "test_what_waits_leaves_before_the_end",
]

QUICK: dict[str, Any] = {"heartbeat_interval": 0.2, "heartbeat_timeout": 1.2}


class LeasedBroker:
    """A PostgreSQL or a NATS, as `test_faults.Broker` is a Redis."""

    def __init__(self, way: str, server: Postgres | Nats) -> None:
        self.way = way
        self.url = server.url
        self.kill, self.start, self.freeze, self.thaw = server.kill, server.start, server.freeze, server.thaw

    def adapter(self, **options: Any) -> Any:
        return (madang.PostgresAdapter if self.way == "postgres" else madang.NatsAdapter)(self.url, **options)

    async def together(self, cluster: list[Member]) -> None:
        async with asyncio.timeout(10):
            for member in cluster:
                while await member.io.server_count() < len(cluster):
                    await asyncio.sleep(0.01)


async def count_is(member: Member, count: int) -> None:
    """Wait until a server knows of so many, itself among them."""
    async with asyncio.timeout(10):
        while await member.io.server_count() != count:
            await asyncio.sleep(0.01)


@pytest.fixture(params=["postgres", "nats"])
def broker(request: pytest.FixtureRequest) -> LeasedBroker:
    """Each broker in turn, which may be killed."""
    return LeasedBroker(request.param, request.getfixturevalue(request.param))


class MadangServer:
    """A server of madang's in a process of its own, which may be frozen and killed."""

    program = """
import asyncio, json, sys, madang
name, url, options = json.loads(sys.argv[1])
io = madang.Server(adapter=getattr(madang, name)(url, **options))
io.on_server_side("sum")(lambda a, b: a + b)
async def main():
    await io.start(port=0)
    await io.adapter.settled()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""

    def __init__(self, broker: LeasedBroker) -> None:
        name = "PostgresAdapter" if broker.way == "postgres" else "NatsAdapter"
        command = [sys.executable, "-c", self.program, json.dumps([name, broker.url, QUICK])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def open(self) -> None:
        assert self._process.stdout is not None
        assert await asyncio.to_thread(self._process.stdout.readline) == b"ready\n"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self.thaw()
        self._process.kill()
        self._process.communicate()


class OtherNode(NodeServer):
    """One of Node's."""

    def __init__(self, node: str, broker: LeasedBroker) -> None:
        super().__init__(node, broker.way, broker.url, "socket.io")

    async def open(self) -> None:
        await NodePeer(self, "/").open()


others = pytest.mark.parametrize(
    ("broker", "other"), [("postgres", "madang"), ("postgres", "node"), ("nats", "madang")], indirect=True
)
"""Each kind of server that there is for a broker: Node has no adapter for NATS."""


@pytest.fixture
def other(request: pytest.FixtureRequest, broker: LeasedBroker) -> Iterator[Any]:
    """A third server, in a process of its own, for ``/``."""
    server: Any = (
        MadangServer(broker) if request.param == "madang" else OtherNode(request.getfixturevalue("node"), broker)
    )
    yield server
    server.close()


@others
@pytest.mark.feature("S4", "S24", "P1")
async def test_a_server_freezes_while_it_is_asked(broker: LeasedBroker, other: Any):
    """A frozen server is named as missing until its lease has run out, then it does not count; it may come back."""
    async with members(broker, requests_timeout=0.6, **QUICK) as (a, b):
        await other.open()
        await count_is(a, 3)
        loop = asyncio.get_running_loop()
        found = await a.io.fetch_sockets()
        assert (len(found), found.missing) == (2, 0)
        other.freeze()
        found = await a.io.fetch_sockets()
        assert (len(found), found.missing, len(found.missing_nodes)) == (2, 1, 1)
        await count_is(a, 2)
        started = loop.time()
        assert (await a.io.fetch_sockets()).missing == 0
        assert await a.io.server_side_emit_with_ack("anything") == [None]
        assert loop.time() - started < 0.5
        other.thaw()
        await count_is(a, 3)
        assert (await a.io.fetch_sockets()).missing == 0
        assert set(await a.io.server_side_emit_with_ack("sum", 1, 2)) == {None, 3}
        await talks(a, b)


@others
@pytest.mark.feature("S4", "S24")
async def test_a_server_dies_while_it_is_asked(broker: LeasedBroker, other: Any):
    """A question waits for a server that has died no longer than its lease, and nobody is missing then."""
    async with members(broker, requests_timeout=20.0, **QUICK) as (a, _):
        await other.open()
        await count_is(a, 3)
        other.freeze()
        asked = asyncio.ensure_future(a.io.fetch_sockets())
        await asyncio.sleep(0)
        other.kill()
        found = await soon(asked, "an answer without the dead server")
        assert (len(found), found.missing) == (2, 0)


@pytest.mark.feature("S4", "S18")
async def test_served_again(broker: LeasedBroker):
    """A server that closes says so, and is part of the cluster again when it is started again."""
    async with members(broker) as (a, b):
        await a.running.stop()  # type: ignore[attr-defined]
        assert not a.health.connected
        await count_is(b, 1)
        a.running = await a.io.start(port=0)  # type: ignore[attr-defined]
        await a.client.close()  # type: ignore[attr-defined]
        a.client = madang.Client(a.running.url, transports=["websocket"])  # type: ignore[attr-defined]
        a.client.on("tick", a.ticks)  # type: ignore[attr-defined]
        await a.client.connect()  # type: ignore[attr-defined]
        await a.well()
        await count_is(b, 2)
        await count_is(a, 2)
        await talks(a, b)
        assert a.gaps == b.gaps == []


@pytest.mark.feature("S4")
async def test_away_for_longer_than_a_lease(broker: LeasedBroker):
    """While the broker is away for longer than a lease the others are missing, not forgotten; then all is as before."""
    async with members(broker, requests_timeout=0.2, heartbeat_interval=0.1, heartbeat_timeout=0.5) as (a, b):
        broker.kill()
        await until(lambda: not a.health.receiving and not b.health.receiving)
        gone = time.monotonic()
        for member in (a, b):
            beats = member.io.adapter._backend.heartbeats
            await until(lambda beats=beats: beats._looked > gone + 0.5)  # it has looked at a lease that was over
        assert (await a.io.fetch_sockets()).missing == 1
        broker.start()
        await a.well()
        await b.well()
        await count_is(a, 2)
        await talks(a, b)


POISON = [
    "",
    "nonsense",
    "{",
    "{}",
    "[]",
    '{"uid":1,"type":"x"}',
    '{"uid":"a","nsp":"/","type":3}',
    '{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["connect"]},"opts":{}}}',
    '{"uid":"a","type":9,"data":{"packet":[1]}}',
    "[" * 7000,
    '{"uid":"a","type":' + "[" * 7000,
]


@pytest.mark.feature("S23")
async def test_poison(broker: LeasedBroker, caplog: pytest.LogCaptureFixture):
    """Messages that are garbage or of the wrong shape are counted, logged once, and do no harm."""
    async with members(broker) as (a, b):
        with caplog.at_level(logging.WARNING, "madang.adapters"):
            await publish(broker, [poison.encode() for poison in POISON])
            await talks(a, b)
        assert a.health.poison == b.health.poison == len(POISON)
        assert len(caplog.records) == 2
        assert caplog.records[0].exc_info is None
        assert a.gaps == b.gaps == []


async def publish(broker: LeasedBroker, payloads: list[bytes]) -> None:
    """Send anything to the main namespace."""
    if broker.way == "postgres":
        connection = await asyncpg.connect(broker.url)
        for payload in payloads:
            await connection.execute("SELECT pg_notify('socket.io#/', $1)", payload.decode())
        await connection.close()
        return
    reader, writer = await asyncio.open_connection("127.0.0.1", int(broker.url.rpartition(":")[2]))
    writer.write(b'CONNECT {"verbose":false}\r\n')
    for payload in payloads:
        writer.write(b"PUB socket.io.%%2F.all %d\r\n%b\r\n" % (len(payload), payload))
    writer.write(b"PING\r\n")
    assert await reader.readuntil(b"PONG\r\n")
    writer.close()


async def test_nothing_is_left(broker: LeasedBroker, leaks: Leaks):
    """A cluster that has talked, asked and been interrupted leaves no task, no timer and no connection behind."""
    async with (
        leaks(Question, Relay, NatsConnection, PublishingLine, ListeningLine),
        members(broker, requests_timeout=0.3, **QUICK) as (a, b),
    ):
        await talks(a, b)
        with pytest.raises(madang.AckTimeout):  # the clients do not answer
            await a.io.emit_with_ack("ask", timeout=0.1)
        await a.io.fetch_sockets()
        broker.kill()
        await until(lambda: not a.health.receiving)
        await a.io.fetch_sockets()
        broker.start()
        await a.well()
        await b.well()
        await talks(a, b)


@pytest.mark.feature("S18")
async def test_connections_terminated(postgres: Postgres):
    """Connections that PostgreSQL ends are made anew, and a gap is told."""
    async with members(LeasedBroker("postgres", postgres)) as (a, b):  # type: ignore[arg-type]
        connection = await asyncpg.connect(postgres.url)
        end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'madang'"
        assert await connection.fetchval(end) == 4
        await connection.close()
        await until(lambda: a.health.gaps == b.health.gaps == 1)
        await a.well()
        await b.well()
        await talks(a, b)
        assert a.gaps_of("out") == b.gaps_of("out") == []
        assert [gap.over for gap in b.gaps_of("in")] == [True]


@pytest.mark.feature("S18")
async def test_slow_consumer(nats: Nats, tmp_path: Path):
    """If NATS cuts a server off that does not read in time, that is a gap, and the server listens again."""
    nats.kill()
    settings = tmp_path / "nats.conf"
    settings.write_text('max_pending: 1000000\nwrite_deadline: "100ms"\nmax_payload: 900000\n')
    nats.start("-c", str(settings))
    broker = LeasedBroker("nats", nats)
    async with members(broker) as (a, b):  # type: ignore[arg-type]
        flood = f"""
import socket
with socket.create_connection(("127.0.0.1", {nats.port})) as connection:
    connection.sendall(b'CONNECT {{"verbose":false}}\\r\\n')
    for _ in range(100):
        connection.sendall(b"PUB socket.io.%2F.all 800000\\r\\n" + b"x" * 800000 + b"\\r\\n")
    connection.sendall(b"PING\\r\\n")
    while b"PONG" not in connection.recv(65536): pass
"""
        subprocess.run([sys.executable, "-c", flood], check=True)  # nobody reads meanwhile: this call keeps the loop
        await until(lambda: b.gaps_of("in"))
        await a.well()
        await b.well()
        await talks(a, b)


@pytest.mark.feature("S18")
async def test_larger_than_nats_takes(nats: Nats, tmp_path: Path):
    """A message that NATS itself would not take is counted as lost, and the connection stays."""
    nats.kill()
    settings = tmp_path / "nats.conf"
    settings.write_text("max_payload: 2000\n")
    nats.start("-c", str(settings))
    async with members(LeasedBroker("nats", nats)) as (a, b):  # type: ignore[arg-type]
        a.io.to("room").emit("tick", "x" * 3000)
        await until(lambda: a.health.lost == 1)
        assert "max_payload" in a.gaps_of("out")[0].reason
        await talks(a, b)
        assert a.gaps_of("in") == b.gaps == []


@pytest.mark.feature("S17")
async def test_users_and_permissions(nats: Nats, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A NATS may want a password, and forbid what it likes; that is told as lost."""
    nats.kill()
    settings = tmp_path / "nats.conf"
    settings.write_text(
        'authorization { users = [ { user: "u", password: "p", '
        'permissions: { publish: { deny: "socket.io.*.room.secret" }, subscribe: ">" } } ] }'
    )
    nats.start("-c", str(settings))
    nats.url = f"nats://u:p@127.0.0.1:{nats.port}"
    async with members(LeasedBroker("nats", nats)) as (a, b):  # type: ignore[arg-type]
        await talks(a, b)
        a.io.to("secret").emit("tick", 1)
        await until(lambda: a.health.lost == 1)
        assert "Permissions Violation" in a.gaps_of("out")[0].reason
        await talks(a, b)
    with madang.SyncEmitter(nats.url) as emitter, pytest.raises(madang.AdapterUnavailable, match="Permissions"):
        emitter.to("secret").emit("tick", 1)
    with (
        madang.SyncEmitter(nats.url.replace("u:p", "u:wrong")) as emitter,
        pytest.raises(madang.AdapterUnavailable, match=r"NATS did not take the message: .*[Aa]uthorization"),
    ):
        emitter.emit("tick", 1)
