"""What is begun anew behaves like what was begun for the first time."""

from __future__ import annotations

import pytest

import madang
from tests.faults.talk import QUICK, TRANSPORTS, Talker, Told, behind_a_proxy, server


@pytest.mark.feature("V34", "W1")
@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("state", ["waiting", "opening"])
async def test_a_new_beginning_after_failed_attempts_is_a_new_series(transport, state):
    """Left while it tries to come back, and begun anew: a first attempt that fails begins a series again."""
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **QUICK)
        talker = Talker(client)
        try:
            await talker.last_word()
            proxy.mood = "hang up" if state == "waiting" else "mute"
            proxy.cut()
            await talker.until(lambda: talker.errors and client.manager.state == state)
            client.disconnect()
            client.connect()
            before = len(talker.errors)
            await talker.until(lambda: len(talker.errors) > before)
            proxy.mood = "pass"
            proxy.cut()
            await talker.until(lambda: client.is_connected)
            await talker.last_word()
            talker.check(told)
        finally:
            await client.close()
