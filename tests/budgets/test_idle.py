"""What connections cost that say nothing: no timer and no task of their own."""

from __future__ import annotations

import asyncio

import pytest

from madang import Server
from tests.budgets.counting import Counted, clients


def timers(loop: asyncio.AbstractEventLoop) -> int:
    """The timers that an asyncio loop still has to fire."""
    return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]


@pytest.mark.feature("H1")
def test_idle_connections() -> None:
    """A hundred idle connections have as many timers and tasks as a single one, and one timer serves all heartbeats."""
    io = Server()
    with Counted(io, loop=asyncio.new_event_loop) as counted:

        def state() -> tuple[int, int]:
            # the tick of uvicorn's main loop comes and goes; it sleeps by a timer of its own
            return len(asyncio.all_tasks(counted.loop)), timers(counted.loop)

        def settled() -> tuple[int, int]:
            return max(counted.inside(state) for _ in range(3))

        nobody = settled()
        with clients(counted.url, 1):
            one = settled()
            with clients(counted.url, 99):
                hundred = settled()
                assert len(io.engine.pings) == 100
    assert one[0] == nobody[0]
    assert one[1] <= nobody[1] + 1
    assert hundred == one


@pytest.mark.feature("H1")
def test_idle_polling_sessions_between_polls() -> None:
    """Sessions whose client is between two polls have no timer and no task either."""
    import httpx

    io = Server()
    with Counted(io, loop=asyncio.new_event_loop) as counted:
        with httpx.Client(base_url=counted.url, trust_env=False, timeout=10) as http:
            for _ in range(30):
                http.get("/socket.io/?EIO=4&transport=polling")
        assert len(io.engine.sessions) == 30
        armed = counted.inside(lambda: [timer for timer in counted.loop._scheduled if not timer.cancelled()])  # type: ignore[attr-defined]
        assert sum("Timetable" in repr(timer) for timer in armed) == 1
        assert counted.tasks_made <= 60
