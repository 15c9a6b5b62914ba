"""madang's client, on asyncio's own loop or, with the argument ``uvloop``, on that."""

import asyncio
import sys

from shared import Count, Task

import madang


async def main() -> None:
    """Do the task."""
    task, count = Task.given(), Count()
    clients = [await connected(task) for _ in range(task.connections)]
    begin = asking if task.kind == "ack" else echoing
    running = [piece for client in clients for piece in begin(client, task, count)]
    await asyncio.sleep(task.warm)
    count.begin()
    await asyncio.sleep(task.seconds)
    count.end()
    await asyncio.gather(*running)
    for client in clients:
        await client.close()


async def connected(task: Task) -> madang.Client:
    """One more client."""
    return await madang.connect(task.url, transports=["websocket"], force_new=True)


def asking(client: madang.Client, task: Task, count: Count) -> list[asyncio.Task[None]]:
    """Coroutines that ask and wait for the answer, over and over."""
    payload = task.payload

    async def ask() -> None:
        while not count.over:
            await client.emit_with_ack("echo", payload)
            count.echoes += 1

    return [asyncio.create_task(ask()) for _ in range(task.inflight)]


def echoing(client: madang.Client, task: Task, count: Count) -> list[asyncio.Task[None]]:
    """A handler that emits what has come."""

    @client.on("echo")
    def echo(payload: str) -> None:
        count.echoes += 1
        if not count.over:
            client.emit("echo", payload)

    for _ in range(task.inflight):
        client.emit("echo", task.payload)
    return []


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
