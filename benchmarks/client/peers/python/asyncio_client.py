"""python-socketio's client for asyncio, on asyncio's own loop or, with the argument ``uvloop``, on that."""

import asyncio
import sys

import socketio
from shared import Count, Task


async def main() -> None:
    """Do the task."""
    task, count = Task.given(), Count()
    clients = [await connected(task, count) for _ in range(task.connections)]
    running = []
    for client in clients:
        for _ in range(task.inflight):
            if task.kind == "ack":
                running.append(asyncio.create_task(ask(client, task.payload, count)))
            else:
                await client.emit("echo", task.payload)
    await asyncio.sleep(task.warm)
    count.begin()
    await asyncio.sleep(task.seconds)
    count.end()
    await asyncio.gather(*running)
    for client in clients:
        await client.disconnect()


async def connected(task: Task, count: Count) -> socketio.AsyncClient:
    """One more client, with a handler that emits what has come."""
    client = socketio.AsyncClient()

    @client.on("echo")
    async def echo(payload: str) -> None:
        count.echoes += 1
        if not count.over:
            await client.emit("echo", payload)

    await client.connect(task.url, transports=["websocket"])
    return client


async def ask(client: socketio.AsyncClient, payload: str, count: Count) -> None:
    """Ask and wait for the answer, over and over."""
    while not count.over:
        await client.call("echo", payload)
        count.echoes += 1


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
