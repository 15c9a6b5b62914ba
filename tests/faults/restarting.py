"""A server that is killed and comes back on its port: ``python -m tests.faults.restarting FILE PORT``.

It notes what it hears in the file before it answers. The program itself only forks a child that serves, so that coming
back takes no longer than a fork: each line on standard input kills the child (SIGKILL) and makes the next one after as
many seconds as the line says, and each line on standard output is the port, once that listens.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time

import madang


def serve(path: str, port: int) -> None:
    io = madang.Server()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @io.on("connection")
    def connected(socket: madang.Socket) -> None:
        @socket.on("note")
        def note(number: int) -> int:
            os.write(file, f"{number}\n".encode())
            return number

    io.run(host="127.0.0.1", port=port, on_start=lambda running: print(running.port, flush=True))


async def warm_up() -> None:
    """Load what a server needs, so that no child has to."""
    running = await madang.Server().start(host="127.0.0.1", port=0)
    await running.stop()


def main(path: str, port: int) -> None:
    asyncio.run(warm_up())
    gc.freeze()
    while True:
        child = os.fork()
        if not child:
            serve(path, port)
            os._exit(0)
        line = sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not line:
            return
        time.sleep(float(line))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
