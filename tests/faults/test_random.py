"""Faults at many places, drawn at random from fixed seeds, while both sides talk."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

import madang
from tests.faults.proxy import Fault
from tests.faults.talk import QUICK, SOON, TRANSPORTS, Talker, Told, behind_a_proxy, server, together


def anywhere(seed, reach, dos=("rst", "fin")):
    """A plan: each connection is cut somewhere."""
    random = Random(seed)
    return lambda _: [Fault(random.choice(("up", "down")), random.randrange(reach), random.choice(dos))]


@pytest.mark.feature("V34", "W12", "W19", "W20")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_is_said_arrives_at_most_once_and_in_order(transport):
    """However often the connection is cut: nothing doubled, nothing disordered, no gap within a session."""
    await together({str(seed): _at_most_once(seed, transport) for seed in range(3)})


async def _at_most_once(seed, transport):
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        proxy.plan = anywhere(f"once {seed} {transport}", 6000 if transport == "polling" else 2000)
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **QUICK)
        talker = Talker(client)
        talker.certain = lambda: False
        try:
            await talker.talk(250)
            proxy.plan = lambda _: ()
            proxy.cut()
            await talker.until(lambda: not client.is_connected)
            talker.certain = lambda: True
            await talker.talk(10)
            await talker.last_word()
            assert talker.troubles >= 5, talker.report()
            talker.check(told)
        finally:
            await client.close()


@pytest.mark.feature("W10", "W11")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_with_retries_nothing_is_lost(transport):
    """However often the connection is cut: with `retries` all arrives, in order, more than once only if sent again."""
    await together({str(seed): _at_least_once(seed, transport) for seed in range(3)})


async def _at_least_once(seed, transport):
    told, times = Told(), 60
    async with behind_a_proxy(server(told)) as proxy:
        proxy.plan = anywhere(f"retries {seed} {transport}", 6000 if transport == "polling" else 1500)
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], retries=1000, ack_timeout=0.5, **QUICK)
        talker = Talker(client)
        try:
            answers = [client.emit_with_ack("note", number) for number in range(times)]
            assert await asyncio.wait_for(asyncio.gather(*answers), 10.0) == list(range(times))
            assert told.all == sorted(told.all), f"out of order: {told.all}"
            assert set(told.all) == set(range(times))
            assert len(told.all) - times <= talker.troubles
            assert talker.troubles >= 2, talker.report()
        finally:
            await client.close()


@pytest.mark.feature("W8", "W9", "W10")
async def test_an_answer_that_is_late_leads_to_another_try():
    """An event whose answer does not come in time is sent again on the same connection; so it arrives twice."""
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        client = madang.Client(proxy.url, transports=["websocket"], retries=3, ack_timeout=0.03, **QUICK)
        talker = Talker(client)
        try:
            assert await asyncio.wait_for(client.emit_with_ack("note", 0), SOON) == 0
            for link in proxy.links:
                link.arm(Fault("down", 0, "pause"))
            answers = [client.emit_with_ack("note", number) for number in (1, 2)]
            assert await asyncio.wait_for(asyncio.gather(*answers), SOON) == [1, 2]
            assert told.all == [0, 1, 1, 2]
            assert not talker.troubles
        finally:
            await client.close()
