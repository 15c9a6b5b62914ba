"""The clock that jumps: what happens at once, in which order, and what is not jumped over."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import uvloop

import madang
import madang.testing
from madang.testing import clock, connect


@pytest.fixture
def io() -> madang.Server:
    return madang.Server()


@pytest.mark.feature("Y5")
async def test_heartbeats_go_on_for_a_day(io: madang.Server):
    """Pings and pongs of a day take no time, and keep the connection alive."""
    pings: list[float] = []
    with clock() as day:
        async with connect(io) as client:
            client.manager.on("ping", lambda: pings.append(day.time()))
            before, begun = client.id, time.monotonic()
            await day.advance(86400)
            assert day.time() == pytest.approx(86400)
            assert (client.id, len(pings)) == (before, 86400 // 25)
            assert pings[:3] == pytest.approx([25, 50, 75])
            assert time.monotonic() - begun < 30


async def test_both_ends_notice_a_dead_network(io: madang.Server):
    """Cut silently, server and client learn of it by the heartbeat, each at its time, and the client comes back."""
    ends: list[tuple[str, str, float]] = []
    with clock() as now:
        io.on("disconnect", lambda socket, reason: ends.append(("server", reason, round(now.time()))))
        async with connect(io, reconnection_delay=2, reconnection_delay_max=2) as client:
            client.on("disconnect", lambda reason, _: ends.append(("client", reason, round(now.time()))))
            client.drop(silently=True)
            await now.advance(44)
            assert ends == []
            await now.advance(2)
            assert sorted(ends) == [("client", "ping timeout", 45), ("server", "ping timeout", 45)]
            assert not client.is_connected
            await now.advance(1.5)
            assert client.is_connected


async def test_an_answer_that_does_not_come(io: madang.Server):
    """Timeouts of acknowledgements pass at once, at both ends, after exactly their time."""

    @io.on("slow")
    async def slow(socket: madang.Socket, seconds: float):
        await asyncio.sleep(seconds)
        return seconds

    with clock() as now:
        async with connect(io, ack_timeout=10) as client:
            assert await client.call("slow", 9) == 9
            assert now.time() == pytest.approx(9)
            with pytest.raises(madang.AckTimeout):
                await client.call("slow", 11)
            assert now.time() == pytest.approx(19)
            with pytest.raises(madang.AckTimeout):
                await io.timeout(3).emit_with_ack("nobody answers")
            assert now.time() == pytest.approx(22)


async def test_an_event_that_does_not_come(io: madang.Server):
    """Waiting in vain ends at once instead of after its 30 seconds."""
    with clock() as now:
        async with connect(io) as client:
            with pytest.raises(madang.WaitTimeout, match="'news' came within 30"):
                await client.receive("news")
        assert now.time() == pytest.approx(30)


async def test_connecting_that_takes_too_long(io: madang.Server):
    """The client's timeout holds, and `connect_timeout` of the server where the client has none."""
    io.of("/slow").use(lambda socket: asyncio.sleep(1000))
    with clock() as now:
        with pytest.raises(madang.ConnectionFailed, match="timeout"):
            await connect(io, "/slow")
        assert now.time() == pytest.approx(20)
    io = madang.Server(connect_timeout=15)
    io.use(lambda socket: asyncio.sleep(1000))
    with clock() as now:
        with pytest.raises(madang.SocketClosed):
            await connect(io, timeout=None)
        assert now.time() == pytest.approx(15)


@pytest.mark.parametrize(("away", "recovered"), [(119, True), (121, False)])
async def test_recovery_ends(away: float, recovered: bool):
    """A session is kept for two minutes to the second."""
    io = madang.Server(connection_state_recovery=True)
    with clock() as now:
        async with connect(io, reconnection_delay=0.1, reconnection_delay_max=0.1) as client:
            io.emit("news", 1)
            await client.receive("news")
            with client.offline():
                await now.advance(away)
            await client.connected
            assert client.recovered is recovered


async def test_the_order_of_timers():
    """What is due goes off in its order, and what follows from it before the next; `advance` ends after all of it."""
    order: list[str] = []

    async def sleeper(name: str, *seconds: float):
        for part in seconds:
            await asyncio.sleep(part)
            order.append(f"{name} {part}")

    with clock() as now:
        tasks = [asyncio.create_task(sleeper("a", 3, 1, 0, 0)), asyncio.create_task(sleeper("b", 2, 1.5))]
        await now.advance(0)
        assert order == []
        await now.advance(3.5)
        assert order == ["b 2", "a 3", "b 1.5"]
        await now.advance(0.5)
        assert order[3:] == ["a 1", "a 0", "a 0"]
        assert all(task.done() for task in tasks)
        assert now.time() == 4


async def test_threads_are_waited_for(io: madang.Server):
    """While something runs in a thread, time is real: a timeout does not overtake it."""

    @io.on("work")
    async def work(socket: madang.Socket):
        return await asyncio.to_thread(time.sleep, 0.05)

    with clock() as now:
        async with connect(io, ack_timeout=5) as client:
            assert await client.call("work") is None
            assert 0.03 < now.time() < 5


async def test_sockets_are_waited_for():
    """While a socket is open, time is real, and `advance` says that it cannot jump, unless it is told to."""
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=left)
    right.setblocking(False)
    try:
        with clock() as now:
            asyncio.get_running_loop().call_later(0.03, right.send, b"x")
            async with asyncio.timeout(20):
                assert await reader.read(1) == b"x"
            assert now.time() == pytest.approx(0.03, abs=5)
            with pytest.raises(madang.UsageError, match="1 open sockets or pipes"):
                await now.advance(5)
        with clock(over_io=True) as now:
            await now.advance(3600)
            right.send(b"y")
            async with asyncio.timeout(20):
                assert await reader.read(1) == b"y"  # what has come is seen before time jumps
    finally:
        writer.close()
        right.close()


async def test_holding_the_clock():
    """Within `held` a timer takes its time."""
    with clock() as now:
        begun = time.monotonic()
        with now.held():
            await asyncio.sleep(0.02)
        assert time.monotonic() - begun >= 0.019
        assert 0.019 <= now.time() < 5


async def test_time_never_goes_back():
    """The loop's time goes on from where the clock has left it, and a second clock begins there."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    for hours in (1, 2):
        with clock() as now:
            await now.advance(3600)
        assert loop.time() - before >= 3600 * hours
    seen = loop.time()
    await asyncio.sleep(0.001)
    assert seen < loop.time() < seen + 60


async def test_wrong_use():
    """One clock for a loop, while it runs, and only forward."""
    idle = clock()
    with pytest.raises(madang.UsageError, match="does not run in this loop"):
        await idle.advance(1)
    with clock() as now:
        with pytest.raises(madang.UsageError, match="already"):
            idle.start()
        for wrong in (-1, float("nan")):
            with pytest.raises(madang.UsageError, match="cannot go back"):
                await now.advance(wrong)


def test_other_loops():
    """uvloop keeps its own time, which is said."""

    async def main() -> Any:
        with pytest.raises(madang.UsageError, match=r"not uvloop\.Loop"):
            clock().start()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_memory_needs_no_certain_loop(io: madang.Server):
    """The client in memory works in uvloop as well, without a clock."""
    io.on("x", lambda socket: 1)

    async def main() -> int:
        async with connect(io) as client:
            client.drop()
            await client.connected
            await client.settled()
            return await client.call("x")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 1
