"""Compressed WebSockets with several workers: the handshake may come to any of them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.conformance.wire import SOCKET, Polling, browser
from tests.hostile.deflated import Deflated, deflated
from tests.hostile.raw import text
from tests.workers.crew import crew

MANY = 12


@pytest.mark.feature("A12", "S14")
async def test_an_upgrade_is_handed_over_with_its_offer():
    """The worker of the session agrees on compression, whoever gets the handshake, and broadcasts reach all."""
    async with (
        crew(env={"DEFLATE": "1"}) as workers,
        browser(workers.url, headers={"connection": "close"}) as http,
        AsyncExitStack() as clients,
    ):
        connected: list[Deflated] = []
        owners: set[str] = set()
        for number in range(MANY):
            polling = await Polling.open(http, SOCKET)
            owners.add(polling.sid[:2])
            client = await clients.enter_async_context(deflated(workers.url, join=False, sid=polling.sid))
            assert client.agreed.startswith("permessage-deflate; ")
            await client.raw.send(text("5"), text("40"))
            while not (await client.hear())[0].startswith(b"40"):
                pass
            await client.say(f'421["echo",{number},"{"x" * 3000}"]')
            assert await heard(client, b"431") == f'431[{number},"{"x" * 3000}"]'.encode()
            connected.append(client)
        assert len(owners) > 1, "the kernel has given all connections to one worker"
        await connected[0].say('42["say","","' + "y" * 3000 + '"]')
        for client in connected:
            assert await heard(client, b"42") == b'42["said","' + b"y" * 3000 + b'"]'


async def heard(client: Deflated, begin: bytes) -> bytes:
    """The next such message, which has to be compressed; pings of the server may stand before it."""
    while True:
        message, compressed = await client.hear()
        if message.startswith(begin):
            assert compressed
            return message
        assert message in (b"2", b"6")
