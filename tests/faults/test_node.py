"""Faults between the client and Node's own server, and its connection state recovery."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

import madang
from tests.faults.proxy import Fault, between
from tests.faults.talk import QUICK, SOON, TRANSPORTS, Talker, Told, together
from tests.faults.test_places import CASES
from tests.faults.test_random import anywhere
from tests.faults.test_restarts import SERVER, started

PLACES = [
    "in the handshake",
    "in the server's CONNECT",
    "in the server's event",
    "in the client's event, FIN",
    "in a POST's body",
    "before a POST's answer",
    "in a poll's answer",
    "the pong is cut",
    "cut after the pong",
    "the commit is halved",
]


@pytest.fixture
async def proxy(node):
    program = await started(node, str(SERVER), "0")
    try:
        async with between(program.port) as proxy:
            yield proxy
    finally:
        await program.end()


@pytest.mark.feature("V34", "W12", "W18", "W19")
async def test_a_fault_costs_at_most_what_was_on_its_way(proxy, tmp_path):
    """With Node's server as with madang's: one fault, and the client is back, with nothing doubled or silently lost."""
    cases = [case for case in (make() for make in CASES) if case.name in PLACES]
    for number, case in enumerate(cases):
        await _one_fault(proxy, case, tmp_path / str(number))


async def _one_fault(proxy, case, file):
    proxy.faults = case.faults
    client = madang.Client(
        proxy.url, transports=TRANSPORTS[case.transport], auth={"log": str(file)}, **QUICK | {"timeout": 2.0}
    )
    talker = Talker(client)
    talker.certain = lambda: all(fault.struck.is_set() for fault in case.faults)
    try:
        await talker.talk(20)
        for fault in case.faults:
            await asyncio.wait_for(fault.struck.wait(), SOON)
        if case.returns:
            await talker.until(lambda: talker.troubles)
        await talker.until(lambda: client.is_connected)
        await talker.talk(5)
        await talker.last_word()
        talker.check(Told.read(file))
        assert bool(talker.troubles) is case.returns, f"{case}: {talker.report()}"
    finally:
        await client.close()


@pytest.mark.feature("W10", "W11")
async def test_with_retries_nothing_is_lost(proxy, tmp_path):
    """The connection is cut again and again: with `retries` Node's server hears all, in order."""
    for transport in TRANSPORTS:
        await _at_least_once(proxy, transport, tmp_path / transport)


async def _at_least_once(proxy, transport, file):
    times = 60
    proxy.plan = anywhere(f"node {transport}", 6000 if transport == "polling" else 1500)
    client = madang.Client(
        proxy.url,
        transports=TRANSPORTS[transport],
        auth={"log": str(file)},
        retries=1000,
        ack_timeout=0.5,
        **QUICK,
    )
    talker = Talker(client)
    try:
        answers = [client.emit_with_ack("note", number) for number in range(times)]
        assert await asyncio.wait_for(asyncio.gather(*answers), 10.0) == list(range(times))
        told = Told.read(file)
        assert told.all == sorted(told.all), f"out of order: {told.all}"
        assert set(told.all) == set(range(times))
        assert talker.troubles >= 2, talker.report()
    finally:
        await client.close()


@pytest.mark.feature("W4", "W25")
async def test_recovery_gives_each_event_once_and_in_order(proxy):
    """Cut many times, at any byte, while the server speaks: the session is taken up each time, nothing is missing."""
    await together({str(seed): _recovered(proxy.to, seed) for seed in range(3)})


async def _recovered(port, seed):
    random = Random(f"recovery {seed}")
    heard: list[tuple[str, int]] = []
    recovered: list[bool] = []

    def plan(number):
        way = "down" if number == 0 else random.choice(("up", "down", "down"))
        reach = (600, 1500) if number == 0 else (0, 700)
        return [Fault(way, random.randrange(*reach), random.choice(("rst", "fin")))]

    def tick(room, number):
        heard.append((room, number))
        client.volatile.emit("silence")

    async with between(port) as proxy:
        proxy.plan = plan
        client = madang.Client(
            proxy.url, transports=["websocket"], auth={}, **QUICK | {"reconnection_delay": 0.02, "timeout": 2.0}
        )
        client.on("tick", tick)
        client.on("connect", lambda: recovered.append(client.recovered))
        try:
            client.emit("count")
            async with asyncio.timeout(10.0):
                while len(recovered) < 12:
                    await asyncio.sleep(0.005)
                proxy.plan = lambda _: ()
                proxy.cut()
                while len(recovered) < 13 or not client.is_connected:
                    await asyncio.sleep(0.005)
                times = await client.emit_with_ack("enough")
        finally:
            await client.close()
    room = heard[0][0]
    assert heard == [(room, number) for number in range(times)]
    assert recovered == [False] + [True] * (len(recovered) - 1)
