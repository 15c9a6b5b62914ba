"""A bot that answers what is said, and says on its console what becomes of its connection.

Start ``python examples/client/server.py``, then ``python examples/client/bot.py``; URL in the environment names another
server. ``!add 1 2`` is answered, and ``!bye`` ends it. Stop the server and start it again: the bot comes back.
"""

import asyncio
import os
from typing import TypedDict

import madang

# made outside a loop it does not connect yet, so that all handlers are there in time
client = madang.Client(os.environ.get("URL", "http://localhost:3000"), reconnection_delay=0.2, ack_timeout=5)
over = asyncio.Event()


class Said(TypedDict):
    by: str
    text: str


@client.on("said")
async def said(message: Said):  # what does not fit is refused before it gets here
    if message["by"] == client.id:
        return
    match message["text"].split():
        case ["!add", *numbers] if all(number.isdecimal() for number in numbers):
            answer = await client.emit_with_ack("say", f"that is {sum(map(int, numbers))}")
            print("answered:", answer, flush=True)
        case ["!bye"]:
            over.set()


@client.on("connect")
def connected():
    print("connected", flush=True)


@client.on("disconnect")
def disconnected(reason: str):
    print("disconnected:", reason, flush=True)
    ended()


@client.on("connect_error")
def failed(error: madang.ConnectError | madang.ConnectionFailed):
    print("cannot connect:", error, flush=True)
    ended()


@client.manager.on("reconnect")
def back(attempts: int):
    print("back after", attempts, "attempts", flush=True)


def ended():
    if not client.active:  # refused, or sent away: it does not come back by itself
        over.set()


async def main():
    client.connect()
    await over.wait()
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
