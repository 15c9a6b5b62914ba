"""A server that is not there for a while: refusing, mute, hanging up, talking nonsense, or a black hole."""

from __future__ import annotations

import asyncio

import pytest

import madang
from tests.faults.proxy import Fault
from tests.faults.talk import QUICK, SOON, TRANSPORTS, Talker, Told, behind_a_proxy, server, together

BOTH = ("websocket", "polling")

#: a heartbeat that notices a black hole within half a second
BEATING = {"ping_interval": 0.25, "ping_timeout": 0.2}


@pytest.mark.feature("V32", "V34", "W12", "W18")
async def test_a_server_that_is_away_is_tried_until_it_is_back():
    """Each attempt fails with a `ConnectionFailed` that says why; what was said meanwhile arrives once, in order."""
    moods = ("refuse", "hang up", "mute", "garbage")
    await together({f"{mood}, {transport}": _away(transport, mood) for mood in moods for transport in BOTH})


async def _away(transport, mood):
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **QUICK | {"timeout": 0.1})
        talker = Talker(client)
        try:
            await talker.last_word()
            if mood == "refuse":
                await proxy.refuse()
            else:
                proxy.mood = mood
                proxy.cut()
            await talker.until(lambda: not client.is_connected)
            await talker.talk(20)
            await talker.until(lambda: len(talker.errors) >= 3)
            assert client.active
            if mood == "refuse":
                await proxy.listen()
            else:
                proxy.mood = "pass"
                proxy.cut()
            await talker.until(lambda: client.is_connected)
            await talker.last_word()
            talker.check(told)
            assert told.all == list(range(talker.said))
            assert talker.connects == 2
        finally:
            await client.close()


@pytest.mark.feature("V41", "W19")
async def test_a_black_hole_is_noticed_by_the_heartbeat():
    """Nothing comes any more, in one direction or both, and nothing ends: the client gives up and returns in time."""
    ways = ("up", "down", "both")
    await together({f"{way}, {transport}": _black_hole(transport, way) for way in ways for transport in TRANSPORTS}, 9)


async def _black_hole(transport, way):
    told = Told()
    async with behind_a_proxy(server(told, **BEATING)) as proxy:
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **QUICK)
        talker = Talker(client)
        try:
            await talker.last_word()
            if transport == "upgrade":
                await talker.until(lambda: client.manager.engine.transport.name == "websocket")
            for link in tuple(proxy.links):
                link.arm(Fault("down" if way == "down" else "up", 0, "mute" if way == "both" else "stall"))
            await talker.talk(20)
            await talker.until(lambda: talker.closes, within=1.5)
            await talker.until(lambda: client.is_connected)
            await talker.talk(5)
            await talker.last_word()
            talker.check(told)
            if way != "up":
                assert talker.closes == ["ping timeout"]
        finally:
            await client.close()


@pytest.mark.feature("W22", "W23")
async def test_an_answer_that_is_under_way_when_the_connection_ends_fails():
    """What waits for an answer fails with `SocketClosed`, at once; what was not sent yet waits on, and is answered."""
    hows = ("rst", "fin", "black hole")
    await together({f"{how}, {transport}": _in_flight(transport, how) for how in hows for transport in TRANSPORTS}, 9)


async def _in_flight(transport, how):
    told = Told()
    async with behind_a_proxy(server(told, **BEATING)) as proxy:
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **QUICK)
        talker = Talker(client)
        try:
            early = [client.emit_with_ack("note", number) for number in range(3)]
            talker.said = 3
            assert await asyncio.wait_for(asyncio.gather(*early), SOON) == [0, 1, 2]
            lost = [client.emit_with_ack("silence") for _ in range(3)]
            late: list[asyncio.Future[int]] = []
            client.once("disconnect", lambda: late.append(client.emit_with_ack("note", 99)))
            await asyncio.sleep(0.02)
            if how == "black hole":
                for link in tuple(proxy.links):
                    link.muted = True
            else:
                proxy.cut(rst=how == "rst")
            answers = await asyncio.wait_for(asyncio.gather(*lost, return_exceptions=True), SOON)
            assert [type(answer) for answer in answers] == [madang.SocketClosed] * 3
            assert talker.disconnects[0] in str(answers[0])
            assert await asyncio.wait_for(late[0], SOON) == 99
        finally:
            await client.close()


@pytest.mark.feature("V33", "V34", "W18")
@pytest.mark.parametrize("transport", BOTH)
async def test_attempts_that_are_used_up_end_it(transport):
    """With `reconnection_attempts` used up it is told, nothing is tried any more, and nothing is left running."""
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], reconnection_attempts=3, **QUICK)
        talker, failed = Talker(client), asyncio.Event()
        client.manager.on("reconnect_failed", failed.set)
        try:
            await talker.last_word()
            proxy.mood = "hang up"
            proxy.cut()
            await asyncio.wait_for(failed.wait(), SOON)
            before = proxy.accepted
            waiting = asyncio.ensure_future(client.connected)
            with pytest.raises(madang.ConnectionFailed):
                await asyncio.wait_for(waiting, SOON)
            await asyncio.sleep(0.1)
            assert proxy.accepted == before
            assert client.manager.state == "closed"
            proxy.mood = "pass"
            await asyncio.wait_for(client.connect(), SOON)
            await talker.last_word()
        finally:
            await client.close()
