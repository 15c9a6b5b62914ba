"""The deadline in which a client must join a namespace."""

from __future__ import annotations

import pytest

from madang import Server
from tests.engine.clocks import ManualClock
from tests.engine.wires import Line, finish, request


def dial(io: Server) -> Line:
    asked = request(transport="websocket")
    line = Line()
    io.engine.opened(finish(io.engine.admit(asked)), line, asked)
    return line


@pytest.mark.feature("A11")
async def test_nothing_joined() -> None:
    """A client that joins no namespace is closed when the time is up, though it answers pings and is refused."""
    io = Server(connect_timeout=45.0)
    clock = ManualClock()
    io.engine.bind(clock)
    line = dial(io)
    clock.advance(30)
    line.receive("3")
    line.receive("40/nowhere,")
    clock.advance(14.99)
    assert line.closed is None
    clock.advance(0.01)
    assert line.closed is not None
    assert not io.connections
    assert clock.timers == []


@pytest.mark.feature("A11")
async def test_first_join_stops_the_clock() -> None:
    """One joined namespace is enough, and leaving it later does not start the clock again."""
    io = Server(connect_timeout=5.0)
    clock = ManualClock()
    io.engine.bind(clock)
    line = dial(io)
    clock.advance(4.9)
    line.receive("40")
    clock.advance(1)
    line.receive("41")
    clock.advance(10)
    assert line.closed is None
    assert len(io.connections) == 1
    io.engine.close_sessions()
