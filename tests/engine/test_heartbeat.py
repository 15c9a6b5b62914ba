"""Pings, pongs and the end of silent clients, at exact times."""

from __future__ import annotations

import pytest

from tests.engine.wires import Bench, Line


@pytest.fixture
def bench() -> Bench:
    return Bench(ping_interval=25.0, ping_timeout=20.0)


@pytest.fixture
def line(bench: Bench) -> Line:
    line = bench.dial()
    line.sent.clear()
    return line


@pytest.mark.feature("H1")
def test_first_ping(bench: Bench, line: Line) -> None:
    """The first ping comes one interval after the handshake, not earlier."""
    bench.clock.advance(24.99)
    assert line.sent == []
    bench.clock.advance(0.01)
    assert line.sent == [b"2"]


@pytest.mark.feature("H2", "H7")
def test_next_ping_counts_from_the_pong(bench: Bench, line: Line) -> None:
    """The next ping comes one interval after the pong, however late the pong was."""
    bench.clock.advance(25)
    bench.clock.advance(7)
    line.receive("3")
    assert bench.told == ["heartbeat"]
    bench.clock.advance(24.99)
    assert line.sent == [b"2"]
    bench.clock.advance(0.01)
    assert line.sent == [b"2", b"2"]


@pytest.mark.feature("H3")
def test_silence(bench: Bench, line: Line) -> None:
    """A silent client is found out when the timeout ends."""
    bench.clock.advance(25 + 19.99)
    assert bench.ends == []
    bench.clock.advance(0.01)
    assert bench.ends == ["ping timeout"]
    assert line.aborted or line.closed is not None
    assert bench.clock.timers == []


@pytest.mark.feature("H4")
def test_traffic_extends_the_wait_once(bench: Bench, line: Line) -> None:
    """A message while the pong is awaited gives one more timeout; a second message gives nothing."""
    bench.clock.advance(25)
    bench.clock.advance(15)
    line.receive("4still here")
    bench.clock.advance(15)
    line.receive("4still here")
    assert bench.ends == []
    bench.clock.advance(4.99)
    assert bench.ends == []
    bench.clock.advance(0.01)
    assert bench.ends == ["ping timeout"]


@pytest.mark.feature("H4")
def test_traffic_before_the_ping_moves_nothing(bench: Bench, line: Line) -> None:
    """Messages between a pong and the next ping do not put the ping off."""
    for _ in range(24):
        bench.clock.advance(1)
        line.receive("4hello")
    bench.clock.advance(1)
    assert line.sent == [b"2"]


@pytest.mark.feature("H1", "E12")
def test_unasked_pongs(bench: Bench, line: Line) -> None:
    """Pongs that nobody awaits put nothing off."""
    for _ in range(1000):
        line.receive("3")
    bench.clock.advance(25)
    assert line.sent == [b"2"]
    assert len(bench.clock.timers) == 1


@pytest.mark.feature("H5")
@pytest.mark.parametrize("packet", ["2", "2probe"])
def test_ping_from_the_client(bench: Bench, line: Line, packet: str) -> None:
    """A client that pings is closed at once."""
    line.receive(packet)
    assert bench.ends == ["transport error"]
    assert line.closed is not None
    assert bench.clock.timers == []


@pytest.mark.feature("H1", "H3")
def test_one_timer_for_all(bench: Bench) -> None:
    """A hundred sessions that began at different times share one timer, and each keeps its own times."""
    lines: list[Line] = []
    for _ in range(100):
        lines.append(bench.dial())
        bench.clock.advance(0.1)
    assert len(bench.clock.timers) == 1
    bench.clock.advance(25 - 10 + 0.05)  # the oldest is 25.05 s old
    assert [line.sent.count(b"2") for line in lines[:3]] == [1, 0, 0]
    bench.clock.advance(0.1)
    assert [line.sent.count(b"2") for line in lines[:3]] == [1, 1, 0]
    bench.clock.advance(60)
    assert bench.ends == ["ping timeout"] * 100
    assert bench.clock.timers == []


@pytest.mark.feature("H1", "H3")
def test_polling(bench: Bench) -> None:
    """A polling session gets its ping in the open poll, and its silence is found out too."""
    sid = bench.polling()
    poll = bench.get(sid=sid)
    bench.clock.advance(25)
    assert poll.packets == [b"2"]
    assert bench.post("3", sid=sid).packets == [b"ok"]
    again = bench.get(sid=sid)
    bench.clock.advance(25 + 20)
    assert again.packets == [b"2"]
    assert bench.ends == ["ping timeout"]
