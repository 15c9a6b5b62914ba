"""What `per_message_deflate` costs and saves: bytes and CPU time of a broadcast, and memory for each connection.

The server is this process, with its clients in another one. The figures stand in docs/options.md::

    python benchmarks/compression.py
"""

from __future__ import annotations

import asyncio
import json
import random
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

import madang

CLIENTS = 200
BROADCASTS = 200
IDLE = 1000
SIZE = 10_000
PAUSE = 0.2

WAYS: dict[str, Any] = {
    "off": False,
    "on": True,
    "on, contexts kept": {"server_no_context_takeover": False, "client_no_context_takeover": False},
    "on, contexts kept, small": {
        "server_no_context_takeover": False,
        "client_no_context_takeover": False,
        "server_max_window_bits": 11,
        "mem_level": 4,
    },
}


def rows(seed: int) -> list[dict[str, Any]]:
    """Some 10 kB as JSON, as a table of messages is."""
    some = random.Random(seed)
    words = (
        "the",
        "train",
        "to",
        "coast",
        "leaves",
        "at",
        "seven",
        "from",
        "platform",
        "nine",
        "have",
        "your",
        "ticket",
    )
    found: list[dict[str, Any]] = []
    while len(json.dumps(found)) < SIZE:
        found.append(
            {
                "id": some.randrange(10**9),
                "user": f"user{some.randrange(500)}",
                "text": " ".join(some.choices(words, k=12)),
                "at": some.randrange(10**12),
                "read": some.random() < 0.5,
            }
        )
    return found


def be_clients(port: int, count: int) -> None:
    """Join so many times, then read and count; a line of standard input asks for the count of bytes."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        plain = socket.create_connection(("127.0.0.1", port))
        plain.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        )
        while b'"maxPayload"' not in plain.recv(65536):
            pass
        plain.sendall(b"\x81\x82\0\0\0\0" + b"40")
        while b'40{"sid"' not in plain.recv(65536):
            pass
        plain.setblocking(False)
        selector.register(plain, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    received = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(received, flush=True)
                continue
            try:
                received += len(key.fileobj.recv(1 << 20))  # type: ignore[union-attr]
            except BlockingIOError:
                pass


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def measured(option: Any, count: int, broadcasts: int) -> tuple[float, float, float]:
    """Bytes of a broadcast for each client, milliseconds of CPU time for all, bytes of memory for each connection."""
    io = madang.Server(per_message_deflate=option, ping_interval=1000)
    running = await io.start(port=0)
    before = resident()
    clients = await asyncio.create_subprocess_exec(
        sys.executable,
        *(__file__, str(running.port), str(count)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert clients.stdin is not None
    assert clients.stdout is not None
    await clients.stdout.readline()
    messages = [rows(seed) for seed in range(20)]
    for message in messages[:3]:
        io.emit("rows", message)
        await asyncio.sleep(PAUSE)
    memory = (resident() - before) / count
    begun = time.process_time()
    await asyncio.sleep(PAUSE)
    idle = (time.process_time() - begun) / PAUSE

    async def received() -> int:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(b"\n")
        return int(await clients.stdout.readline())

    first, begun, wall = await received(), time.process_time(), time.monotonic()
    for number in range(broadcasts):
        io.emit("rows", messages[number % len(messages)])
        await asyncio.sleep(0)
        while any(session.buffered for session in io.engine.sessions.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    used = time.process_time() - begun - idle * (time.monotonic() - wall)
    await asyncio.sleep(PAUSE)
    sent = await received() - first
    clients.stdin.close()
    await clients.wait()
    await running.stop()
    return sent / max(1, broadcasts) / count, used / max(1, broadcasts) * 1000, memory


async def main() -> None:
    """Print a table."""
    size = len(json.dumps(["rows", rows(0)], separators=(",", ":")))
    print(f"{size} bytes of JSON to {CLIENTS} clients; memory for each of {IDLE} connections after three of them\n")
    print("| | bytes for each client | CPU, ms a broadcast | memory, kB a connection |\n|---|---|---|---|")
    for name, option in WAYS.items():
        if len(sys.argv) == 2 and sys.argv[1] not in name:
            continue
        sent, used, _ = await measured(option, CLIENTS, BROADCASTS)
        alone = await asyncio.create_subprocess_exec(sys.executable, __file__, "memory", name, stdout=subprocess.PIPE)
        memory = float((await alone.communicate())[0])
        print(f"| {name} | {sent:.0f} | {used:.2f} | {memory / 1000:.1f} |")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "memory":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(runner.run(measured(WAYS[sys.argv[2]], IDLE, 0))[2])
    elif len(sys.argv) == 3:
        be_clients(int(sys.argv[1]), int(sys.argv[2]))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
