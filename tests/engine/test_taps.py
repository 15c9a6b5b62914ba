"""Taps: who listens to single packets, from when on, until when, and at what cost to others."""

from __future__ import annotations

from typing import Any

import pytest

from madang.protocol.encoded import Encoded
from tests.engine.wires import Bench, Line

pytestmark = pytest.mark.feature("Y2")


@pytest.fixture
def bench() -> Bench:
    return Bench(ping_interval=25.0, ping_timeout=20.0)


@pytest.fixture
def line(bench: Bench) -> Line:
    line = bench.dial()
    line.sent.clear()
    return line


def _session(bench: Bench) -> Any:
    (session,) = bench.engine.sessions.values()
    return session


def test_both_directions(bench: Bench, line: Line) -> None:
    """Each packet is told of, in both directions, the heartbeat's too."""
    session, told = _session(bench), []
    session.on("packet", lambda packet: told.append(("in", packet)))
    session.on("packet_create", lambda encoded: told.append(("out", encoded.text)))
    session.on("flush", lambda: told.append("flush"))
    session.on("drain", lambda: told.append("drain"))
    line.receive("4hello")
    session.write(Encoded(b"4world"))
    session.drained()
    bench.clock.advance(25)
    line.receive("3")
    assert told == [
        ("in", b"4hello"),
        ("out", b"4world"),
        "flush",
        "drain",
        ("out", b"2"),
        ("in", b"3"),
    ]
    assert line.sent == [b"4world", b"2"]


def test_off(bench: Bench, line: Line) -> None:
    """When the last listener has gone the session goes the short way again, as before."""
    session = _session(bench)
    short = (session.on_text, session.on_binary, session.write)
    first, second = (lambda *_: None), (lambda *_: None)
    session.on("packet", first)
    session.on("packet_create", second)
    assert session.on_text not in short
    session.off("packet", first)
    session.off("packet", first)
    assert session.write not in short
    session.off("packet_create", second)
    assert (session.on_text, session.on_binary, session.write) == short


def test_added_while_a_pong_is_awaited(bench: Bench, line: Line) -> None:
    """A tap takes nothing away from the heartbeat: traffic still gives the client more time, once."""
    session, told = _session(bench), []
    bench.clock.advance(25)
    session.on("packet", told.append)
    bench.clock.advance(15)
    line.receive("4still here")
    bench.clock.advance(15)
    assert bench.ends == []
    line.receive("4again")
    bench.clock.advance(5)
    assert bench.ends == ["ping timeout"]
    assert told == [b"4still here", b"4again"]


def test_added_after_a_slow_client_was_cut(bench: Bench, line: Line) -> None:
    """A tap does not make a session writable that is about to be closed for its slowness."""
    session, told = _session(bench), []
    bench.engine.over_limit(session)
    session.on("packet_create", told.append)
    session.write(Encoded(b"4more"))
    assert (line.sent, told) == ([], [])
    bench.clock.advance(0)
    assert line.aborted


def test_the_engine(bench: Bench, line: Line) -> None:
    """The engine tells of all its sessions, those that come later too, and of none when nobody listens any more."""
    first, told = _session(bench), []
    short = first.write
    bench.engine.on("flush", told.append)
    drained = lambda session: told.append((session, "drain"))  # noqa: E731
    bench.engine.on("drain", drained)
    bench.dial()
    second = next(session for session in bench.engine.sessions.values() if session is not first)
    first.write(Encoded(b"4a"))
    second.write(Encoded(b"4b"))
    second.drained()
    assert told == [first, second, (second, "drain")]
    bench.engine.off("flush", told.append)
    assert first.write != short
    bench.engine.off("drain", drained)
    assert first.write == short


@pytest.mark.feature("A27")
def test_numbers() -> None:
    """The engine tells how many bytes wait, and how many messages were dropped, of all sessions together."""
    bench = Bench(slow_client="drop")
    lines = [bench.dial(), bench.dial()]
    lines[0].buffered, lines[1].buffered = 100, 20  # type: ignore[misc]
    first = next(iter(bench.engine.sessions.values()))
    assert (bench.engine.buffered, bench.engine.dropped) == (120, 0)
    bench.engine.over_limit(first)
    bench.engine.over_limit(first)
    lines[0].lose()
    assert (bench.engine.buffered, bench.engine.dropped, first.dropped) == (20, 2, 2)
