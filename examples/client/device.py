"""A sensor whose readings arrive, even if the server is away for a while.

Start ``python examples/client/server.py``, then ``python examples/client/device.py``; URL in the environment names
another server, READINGS how many are sent, EVERY the seconds between them.

Each reading is sent again until it is answered (``retries``, ``ack_timeout``), so it may arrive twice: it carries a key
by which the server knows it again. While there is no connection, readings wait, up to ``outbound_limit`` bytes.
"""

import asyncio
import os
import random
from uuid import uuid4

import madang

READINGS = int(os.environ.get("READINGS", "20"))
EVERY = float(os.environ.get("EVERY", "1"))


async def main():
    server = os.environ.get("URL", "http://localhost:3000")
    client = madang.Client(
        f"{server}/sensors",
        auth={"token": os.environ.get("TOKEN", "secret")},
        transports=["websocket"],
        reconnection_delay=0.5,
        retries=10,
        ack_timeout=5,
        outbound_limit=1_000_000,
    )

    @client.on("connect_error")
    def failed(error: madang.ConnectError | madang.ConnectionFailed):
        print("cannot connect:", error, flush=True)

    waiting: list[asyncio.Future[object]] = []
    lost = 0
    for _ in range(READINGS):
        client.volatile.emit("alive")  # of no use later: gone if there is no connection
        try:
            waiting.append(client.emit_with_ack("reading", str(uuid4()), round(random.gauss(20, 2), 1)))
        except madang.BufferFull:
            lost += 1
        await asyncio.sleep(EVERY)
        if client.manager.state != "waiting" and not client.active:
            break  # refused

    results: list[object] = []
    if client.active:
        results = await asyncio.gather(*waiting, return_exceptions=True)
    arrived = sum(not isinstance(result, Exception) for result in results)
    print(f"{arrived} arrived, {len(waiting) - arrived + lost} did not", flush=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
