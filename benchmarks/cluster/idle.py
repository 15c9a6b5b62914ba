"""What a connection costs that says nothing: memory here, in the kernel and in Redis, and heartbeats.

python benchmarks/cluster/idle.py
python benchmarks/cluster/idle.py redis heartbeats       # these anew, the others as they are

It writes benchmarks/results/idle.json, from which docs/planning.md is worked.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from broker import Redis  # noqa: E402

import machine  # noqa: E402 (they lie in this folder, and in the one above)
import processes  # noqa: E402
from processes import Load, Server  # noqa: E402
from run import MADANG, RESULTS, contender  # noqa: E402

CLIENTS: Final = 8_000
POLLING_CLIENTS: Final = 2_000
REST: Final = 4.0
ROUNDS: Final = 3
CONNECT_LIMIT: Final = 120.0
BEAT: Final = 2.0
"""Seconds between heartbeats where they are measured."""

Figures = dict[str, float]


@contextmanager
def websockets(server: Server, core: int) -> Iterator[int]:
    """Clients over WebSocket, as many as are measured."""
    with Load(server, ("idle", "--clients", str(CLIENTS)), core) as load:
        load.line(CONNECT_LIMIT)
        yield CLIENTS
        load.finish()


@contextmanager
def polls(server: Server, core: int) -> Iterator[int]:
    """Clients over long-polling, each with a poll that waits."""
    with processes.on_core(core), asyncio.Runner() as runner:
        writers = runner.run(_poll_all(server.port))
        yield POLLING_CLIENTS
        for writer in writers:
            writer.close()


async def _poll_all(port: int) -> list[asyncio.StreamWriter]:
    return [await _poll(port) for _ in range(POLLING_CLIENTS)]


async def _poll(port: int) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = "/socket.io/?EIO=4&transport=polling"
    session = json.loads((await _request(reader, writer, "GET", path))[1:])["sid"]
    path += f"&sid={session}"
    await _request(reader, writer, "POST", path, "40")
    await _request(reader, writer, "GET", path)  # it has joined
    writer.write(_head("GET", path))
    return writer


def _head(method: str, path: str, body: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: str = ""
) -> str:
    writer.write(_head(method, path, body))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return (await reader.readexactly(length)).decode()


def kernel_bytes() -> int:
    """What the kernel holds for itself, and in the buffers of sockets."""
    slab = next(
        line for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines() if line.startswith("Slab:")
    )
    tcp = next(
        line for line in Path("/proc/net/sockstat").read_text(encoding="ascii").splitlines() if line.startswith("TCP:")
    )
    return int(slab.split()[1]) * 1024 + int(tcp.rpartition("mem ")[2]) * 4096


def memory(arguments: Sequence[str], connected: Any, redis: Redis | None = None) -> Figures:
    """Bytes for each client: resident in the server, in the kernel for one end, in Redis."""
    server_core, load_core = machine.cores()
    with Server(contender("madang", *MADANG, *arguments), server_core) as server:
        time.sleep(1)
        before, kernel = server.resident(), kernel_bytes()
        kept = redis.used_memory() if redis is not None else 0
        with connected(server, load_core) as clients:
            time.sleep(REST)
            figures = {
                "server": (server.resident() - before) / clients,
                "kernel": (kernel_bytes() - kernel) / clients / 2,
            }
            if redis is not None:
                figures["redis"] = (redis.used_memory() - kept) / clients
                figures["channels"] = redis.channels() / clients
    return figures


def heartbeats() -> Figures:
    """Seconds of CPU time for each heartbeat of a client over WebSocket."""
    server_core, load_core = machine.cores()
    with (
        Server(contender("madang", *MADANG, "--ping", str(BEAT)), server_core) as server,
        websockets(server, load_core) as clients,
    ):
        time.sleep(BEAT)
        spent, begun = processes.exact_cpu_seconds(server.pids), time.monotonic()
        time.sleep(5 * BEAT)
        beats = clients * (time.monotonic() - begun) / BEAT
        return {"heartbeat": (processes.exact_cpu_seconds(server.pids) - spent) / beats}


PUBLICATIONS: Final = 20_000
SUBSCRIBERS: Final = 16
PIPELINE: Final = 10


def redis_costs(redis: Redis) -> Figures:
    """Seconds of CPU time of Redis for a message of 150 bytes that is published, and for each server that gets it."""
    nobody, many = _published(redis, 0), _published(redis, SUBSCRIBERS)
    return {"publish": nobody, "delivery": (many - nobody) / SUBSCRIBERS}


def _published(redis: Redis, subscribers: int) -> float:
    done, reading = threading.Event(), []
    for _ in range(subscribers):
        connection = redis.connect()
        connection.sendall(b"SUBSCRIBE room\r\n")
        connection.recv(1024)
        reading.append(connection)
    reader = threading.Thread(target=_read_all, args=(reading, done))
    reader.start()
    try:
        with redis.connect() as publishing:
            batch = (b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$150\r\n" + b"x" * 150 + b"\r\n") * PIPELINE
            answer = len(b":%d\r\n" % subscribers) * PIPELINE
            spent = processes.exact_cpu_seconds([redis.pid])
            for _ in range(PUBLICATIONS // PIPELINE):
                publishing.sendall(batch)
                left = answer
                while left:
                    left -= len(publishing.recv(left))
            return (processes.exact_cpu_seconds([redis.pid]) - spent) / PUBLICATIONS
    finally:
        done.set()
        reader.join()
        for connection in reading:
            connection.close()


def _read_all(connections: list[socket.socket], done: threading.Event) -> None:
    while not done.is_set():
        for connection in select.select(connections, [], [], 0.05)[0] if connections else ():
            connection.recv(1 << 20)
        if not connections:
            done.wait()


PARTS: Final[dict[str, Callable[[Redis], Figures]]] = {
    "websocket": lambda _: memory((), websockets),
    "websocket_cluster": lambda redis: memory(("--redis", redis.url), websockets, redis),
    "polling": lambda _: memory((), polls),
    "heartbeats": lambda _: heartbeats(),
    "redis": redis_costs,
}


def measure(part: str) -> Figures:
    """One part, in rounds; of each figure the median."""
    rounds: list[Figures] = []
    for _ in range(ROUNDS):
        with Redis(machine.cores()[1]) as redis:
            rounds.append(PARTS[part](redis))
        print(part, rounds[-1], file=sys.stderr, flush=True)
    return {figure: median(one[figure] for one in rounds) for figure in rounds[0]}


def main() -> int:
    """Measure all parts, or those that the command line names, and keep the figures."""
    wanted = sys.argv[1:] or list(PARTS)
    path = RESULTS / "idle.json"
    known = json.loads(path.read_text(encoding="utf-8")) if sys.argv[1:] else {}
    machine.require_descriptors(CLIENTS)
    processes.build()
    about = {
        "machine": machine.describe(),
        "date": machine.today(),
        "commit": machine.commit(),
        "clients": {"websocket": CLIENTS, "polling": POLLING_CLIENTS},
    }
    document = known | about | {part: measure(part) for part in wanted}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
