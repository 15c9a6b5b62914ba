"""A real Redis for the tests: on a free port, in a folder of its own, with nothing kept; and what can be done to it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import redis as redis_py
from redis.crc import key_slot

from tests.cluster.waiting import PATIENCE, wait_until
from tests.hosts import free_port

ROOT: Final = Path(__file__).resolve().parents[2]


def find_redis() -> str:
    """The command of redis-server or valkey-server; a test that wants it fails where there is none."""
    found = subprocess.run([ROOT / "scripts" / "find_server.sh", "redis"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr, pytrace=False)
    return found.stdout.strip()


class Redis:
    """A Redis of our own.

    Attributes:
        url: where it is; stays the same when it is started again.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [find_redis(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis_py.Redis.from_url(self.url, socket_timeout=PATIENCE, protocol=2)

    def start(self, *options: str, password: str | None = None) -> None:
        """Start it, perhaps with more options, and wait until it answers."""
        self._process = subprocess.Popen([*self._command, *options], stdout=subprocess.DEVNULL)
        if password is not None:
            self.client = redis_py.Redis.from_url(self.url, password=password, protocol=2)
        wait_until(self._answers, "Redis did not start")

    def _answers(self) -> bool:
        assert self._process is not None
        try:
            return bool(self.client.ping())
        except redis_py.ConnectionError:
            assert self._process.poll() is None, "Redis did not start, or not with these options"
            return False

    def kill(self) -> None:
        """End it without a word."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        self._process = None

    @property
    def runs(self) -> bool:
        """Whether it has been started, and not killed since."""
        return self._process is not None

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, if it runs."""
        self.client.close()
        if self._process is not None:
            self.kill()


class RedisNodes:
    """A Redis Cluster of our own: some masters, and perhaps a replica of each.

    Attributes:
        nodes: all of them, the masters first.
    """

    def __init__(self, folder: Path, masters: int = 3, replicas: bool = False) -> None:
        self._masters = masters
        self._bus = [free_port() for _ in range(masters * (2 if replicas else 1))]
        self.nodes: list[Redis] = []
        for number in range(len(self._bus)):
            (folder / str(number)).mkdir()
            self.nodes.append(Redis(folder / str(number)))

    def url(self, scheme: str = "redis+cluster") -> str:
        """Where it is."""
        return f"{scheme}://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[: self._masters])}"

    def start(self) -> None:
        """Start all, and wait until they are a cluster."""
        for node in self.nodes:
            self.start_node(node)
        for number, node in enumerate(self.nodes[: self._masters]):
            start, end = (16384 * each // self._masters for each in (number, number + 1))
            self.run(node, "ADDSLOTSRANGE", str(start), str(end - 1))
            self.run(node, "SET-CONFIG-EPOCH", str(number + 1))
        for node in self.nodes[1:]:
            self.run(node, "MEET", "127.0.0.1", str(self.nodes[0].port), str(self._bus[0]))
        self._until(lambda node: b"cluster_known_nodes:%d\r" % len(self.nodes) in self.run(node, "INFO"))
        for number, node in enumerate(self.nodes[self._masters :]):
            self.run(node, "REPLICATE", self.name(self.nodes[number]))
        self.heal()

    def heal(self) -> None:
        """Start those that were killed, and wait until all masters, and their replicas, are at work."""
        for node in self.nodes:
            if not node.runs:
                self.start_node(node)
        self._until(lambda node: b"cluster_state:ok" in self.run(node, "INFO"))
        places = 4 if len(self.nodes) > self._masters else 3
        self._until(lambda node: {len(slots) for slots in self.run(node, "SLOTS")} == {places})

    def replica(self, master: Redis) -> Redis:
        """The replica of one of the masters."""
        (port,) = {
            node[1] for _, _, first, *others in self.run(master, "SLOTS") for node in others if first[1] == master.port
        }
        return next(node for node in self.nodes if node.port == port)

    def start_node(self, node: Redis) -> None:
        """Start one of them."""
        bus = str(self._bus[self.nodes.index(node)])
        node.start(
            "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", bus,
            "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
        )  # fmt: skip

    def _until(self, ready: Callable[[Redis], bool]) -> None:
        wait_until(lambda: all(map(ready, self.nodes)), "the nodes are no cluster")

    def run(self, node: Redis, *command: str) -> Any:
        """What one of them answers to ``CLUSTER ...``."""
        return node.client.execute_command("CLUSTER", *command)

    def name(self, node: Redis) -> str:
        """Its name among the nodes."""
        return self.run(node, "MYID").decode()

    def masters(self) -> list[Redis]:
        """Those that are masters, as the first that lives sees it."""
        asked = next(node for node in self.nodes if node.runs)
        ports = {master[1] for _, _, master, *_ in self.run(asked, "SLOTS")}
        return [node for node in self.nodes if node.port in ports]

    def owner(self, channel: str, asked: Redis | None = None) -> Redis:
        """The master that has a channel, as one node sees it; the first that lives, unless it is said which."""
        slot = key_slot(channel.encode())
        asked = asked or next(node for node in self.nodes if node.runs)
        ports = [master[1] for first, last, master, *_ in self.run(asked, "SLOTS") if first <= slot <= last]
        return next(node for node in self.nodes if node.port in ports)

    def move(self, channel: str, to: Redis) -> None:
        """Move a channel's slot to another master."""
        slot = str(key_slot(channel.encode()))
        source, name = self.owner(channel), self.name(to)
        self.run(to, "SETSLOT", slot, "IMPORTING", self.name(source))
        self.run(source, "SETSLOT", slot, "MIGRATING", name)
        for node in (to, source, *self.masters()):
            self.run(node, "SETSLOT", slot, "NODE", name)

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()
