"""Redis behind sentinels: a real master, a replica and sentinels, and what happens when the master changes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import madang
from tests.cluster.redis import Redis, find_redis, free_port
from tests.cluster.test_faults import Member, Tells, members, talks
from tests.cluster.waiting import wait_until
from tests.hosts import listening
from tests.interop.ways import until
from tests.server.javascript import soon

NAME = "mymaster"


class Sentinels:
    """A master, a replica, and sentinels that watch them.

    Attributes:
        nodes: both of them.
    """

    def __init__(self, folder: Path, count: int = 2) -> None:
        self._folder = folder
        self.nodes = [self._node(name) for name in ("first", "second")]
        self.ports = [free_port() for _ in range(count)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.clients: list[Any] = [redis_py.Redis(port=port, protocol=2) for port in self.ports]

    def _node(self, name: str) -> Redis:
        (self._folder / name).mkdir()
        return Redis(self._folder / name)

    def start(self) -> None:
        """Start all, and wait until the sentinels know the replica and each other."""
        master, replica = self.nodes
        master.start("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        replica.start("--replicaof", "127.0.0.1", str(master.port))
        for number, port in enumerate(self.ports):
            self._start_sentinel(port, master, patience=500 if number == 0 else 60_000)
        wait_until(lambda: all(map(self._knows, self.clients)), "the sentinels do not find the replica")

    def _start_sentinel(self, port: int, master: Redis, patience: int) -> None:
        """Start one. Only the first is quick to miss the master: two that miss it at once may each vote for itself."""
        file = self._folder / f"{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {NAME} {patience}\nsentinel failover-timeout {NAME} 3000\n"
        )
        self._processes.append(subprocess.Popen([find_redis(), file, "--sentinel"], stdout=subprocess.DEVNULL))

    def _knows(self, client: Any) -> bool:
        try:
            facts = client.execute_command("SENTINEL", "MASTER", NAME)
        except redis_py.ConnectionError:
            return False
        said = dict(zip(facts[::2], facts[1::2], strict=True)) if isinstance(facts, list) else facts
        said = {(key if isinstance(key, str) else key.decode()): value for key, value in said.items()}
        replicas, others = int(said["num-slaves"]), int(said["num-other-sentinels"])
        return replicas == 1 and others == len(self.ports) - 1

    def url(self, scheme: str = "redis+sentinel", *before: int) -> str:
        """Where they are; `before` are ports of sentinels that do not live."""
        return f"{scheme}://{','.join(f'127.0.0.1:{port}' for port in (*before, *self.ports))}/{NAME}/0"

    def master(self) -> int:
        """The port of the master, as the first sentinel knows it."""
        return int(self.clients[0].execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def close(self) -> None:
        """End all."""
        for process in self._processes:
            process.kill()
            process.wait()
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.close()


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    sentinels = Sentinels(tmp_path)
    try:
        sentinels.start()
        yield sentinels
    finally:
        sentinels.close()


class Behind(Tells):
    """A Redis behind sentinels, as `Member` wants it."""

    def __init__(self, sentinels: Sentinels, settings: Any) -> None:
        self.url = sentinels.url("redis+sentinel", 1)
        self._settings = settings

    def adapter(self, **options: Any) -> Any:
        return self._settings(self.url, **options)


async def _changes_over(sentinels: Sentinels, a: Member, b: Member) -> None:
    """What is the same whichever way the master has changed."""
    for number in range(50):
        a.io.to("room").emit("tick", number)
    await until(lambda: a.got[-50:] == list(range(50)))
    await until(lambda: sentinels.master() == sentinels.nodes[1].port)
    await until(lambda: bool(a.gaps_of("in") and b.gaps_of("in")))
    await a.well()
    await b.well()
    await talks(a, b)
    await a.well()
    assert a.health.queued == a.health.lost == 0
    arrived = [tick for tick in b.got if isinstance(tick, int)]
    assert arrived == sorted(set(arrived))
    assert await a.io.server_count() == 2


@pytest.mark.feature("S25", "S18")
async def test_the_master_dies(sentinels: Sentinels):
    """When the master dies, servers find the new one by the sentinels, and go on there; the gaps are told."""
    async with members(Behind(sentinels, madang.RedisAdapter)) as (a, b):  # type: ignore[arg-type]
        await talks(a, b)
        sentinels.nodes[0].kill()
        await until(lambda: not a.health.receiving and not b.health.receiving)
        await _changes_over(sentinels, a, b)


@pytest.mark.feature("S25", "S9")
async def test_the_master_hands_over(sentinels: Sentinels):
    """So do they when the sentinels are told to make the replica the master, sharded as well."""
    async with members(Behind(sentinels, madang.ShardedRedisAdapter)) as (a, b):  # type: ignore[arg-type]
        await talks(a, b)
        sentinels.clients[0].execute_command("SENTINEL", "FAILOVER", NAME)
        await _changes_over(sentinels, a, b)
        assert "have made" in a.gaps_of("in")[0].reason
        url = sentinels.url("redis+sharded+sentinel")
        async with madang.Emitter(url) as emitter:
            emitter.to("room").emit("tick", "emitted")
        await until(lambda: b.got[-1] == "emitted")

        def blocking() -> int | None:
            with madang.SyncEmitter(url) as sync:
                sync.to("room").emit("tick", "blocking")
                return sync.receivers

        assert await asyncio.to_thread(blocking) == 2
        await until(lambda: b.got[-1] == "blocking")


@pytest.mark.feature("S25")
async def test_a_master_that_nobody_knows(sentinels: Sentinels, caplog: pytest.LogCaptureFixture):
    """A name that the sentinels do not know is said in the log, with what each of them says."""
    url = sentinels.url("redis+sentinel", 1).replace(NAME, "nobody")
    async with listening(madang.Server(adapter=url)):
        await until(lambda: "knows no master named 'nobody'" in caplog.text)
        assert "127.0.0.1:1: Error" in caplog.text
    with pytest.raises(madang.AdapterUnavailable, match="did not take"), madang.SyncEmitter(url) as emitter:
        await soon(asyncio.to_thread(emitter.emit, "news"), "a refusal")
