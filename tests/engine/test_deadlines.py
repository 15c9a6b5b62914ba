"""What else ends by the clock: upgrades, and the memory of sessions that were closed; and the timetable itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.engine.timetable import Timetable
from tests.engine.clocks import ManualClock
from tests.engine.wires import Bench


class TestUpgrade:
    @pytest.mark.feature("I5", "A9")
    @pytest.mark.parametrize("probed", [False, True])
    def test_too_slow(self, probed: bool) -> None:
        """An upgrade that takes longer than its timeout loses its WebSocket and nothing else."""
        bench = Bench(upgrade_timeout=10.0)
        sid = bench.polling()
        line = bench.dial(sid=sid)
        if probed:
            line.receive("2probe")
        bench.clock.advance(9.99)
        assert line.closed is None
        bench.clock.advance(0.01)
        assert line.closed is not None
        assert bench.ends == []
        assert bench.post("4hello", sid=sid).packets == [b"ok"]
        assert bench.heard == ["hello"]
        assert len(bench.engine.probes) == len(bench.engine.upgrades) == 0

    @pytest.mark.feature("I2")
    def test_idle_poll_is_released_every_tenth_of_a_second(self) -> None:
        """Once the probe is answered, an open poll with nothing to say is let go within 100 ms, each time."""
        bench = Bench()
        sid = bench.polling()
        line = bench.dial(sid=sid)
        before = bench.get(sid=sid)
        bench.clock.advance(0.5)
        assert before.response is None
        line.receive("2probe")
        bench.clock.advance(0.1)
        assert before.packets == [b"6"]
        for _ in range(5):
            poll = bench.get(sid=sid)
            bench.clock.advance(0.1)
            assert poll.packets == [b"6"]
        line.receive("5")
        assert bench.told == ["upgrading", "upgrade"]
        bench.clock.advance(20)
        assert bench.session.transport_name == "websocket"

    @pytest.mark.feature("I5")
    def test_a_second_try(self) -> None:
        """After an upgrade that failed another one may succeed."""
        bench = Bench()
        sid = bench.polling()
        bench.dial(sid=sid).lose()
        line = bench.dial(sid=sid)
        line.receive("2probe")
        line.receive("5")
        bench.session.send("moved")
        assert line.sent == [b"3probe", b"4moved"]

    @pytest.mark.feature("I10")
    @pytest.mark.parametrize("succeeds", [True, False])
    def test_close_in_between(self, succeeds: bool) -> None:
        """A close during an upgrade is carried out on whichever transport is left."""
        bench = Bench()
        sid = bench.polling()
        line = bench.dial(sid=sid)
        line.receive("2probe")
        bench.session.send("last")
        bench.session.close()
        assert bench.ends == []
        if succeeds:
            line.receive("5")
            assert line.sent == [b"3probe", b"4last"]
            assert line.closed == 1000
        else:
            line.lose()
            assert bench.get(sid=sid).packets[0] == b"4last"
        assert bench.ends == ["forced close"]


class TestFarewell:
    @pytest.mark.feature("D11")
    def test_next_poll_learns_of_the_close(self) -> None:
        """With no poll open at the close, what waited goes first, and then the close."""
        bench = Bench()
        sid = bench.polling()
        bench.session.send("last")
        bench.session.close()
        assert bench.ends == ["forced close"]
        bench.clock.advance(29.9)
        assert bench.get(sid=sid).packets == [b"4last"]
        assert bench.get(sid=sid).packets == [b"6", b"1"]
        answer = bench.get(sid=sid)
        assert answer.response is not None
        assert answer.response.status == 400

    @pytest.mark.feature("D11")
    def test_forgotten(self) -> None:
        """A client that does not poll any more is forgotten after thirty seconds."""
        bench = Bench()
        sid = bench.polling()
        bench.session.send("x" * 10_000)
        bench.session.close()
        bench.clock.advance(29.9)
        assert len(bench.engine._lingering) == 1
        bench.clock.advance(0.2)
        assert len(bench.engine._lingering) == 0
        assert bench.clock.timers == []
        answer = bench.get(sid=sid)
        assert answer.response is not None
        assert answer.response.status == 400


@pytest.mark.feature("H1")
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=60))
def test_lanes(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever is added, moved and removed, each deadline comes at its time, on one timer at most."""
    clock = ManualClock()
    timetable = Timetable()
    timetable.start(clock)
    fired: list[tuple[str, int, float]] = []
    lanes = {
        name: timetable.lane(delay, lambda key, name=name: fired.append((name, key, round(clock.now, 3))))
        for name, delay in (("a", 1.0), ("b", 2.5), ("c", 0.5))
    }
    expected: list[tuple[str, int, float]] = []
    due: dict[tuple[str, int], float] = {}
    for name, key, add in steps:
        if add:
            lanes[name].add(key)
            due[name, key] = clock.now + lanes[name].delay
        else:
            lanes[name].discard(key)
            due.pop((name, key), None)
        assert len(clock.timers) == (1 if due else 0)
        clock.advance(0.3)
        for (lane, number), at in sorted(due.items(), key=lambda item: item[1]):
            if at <= clock.now + 0.002:
                expected.append((lane, number, round(at, 3)))
                del due[lane, number]
    clock.advance(10)
    expected += [(lane, number, round(at, 3)) for (lane, number), at in due.items()]
    assert sorted(fired) == sorted(expected)
    assert clock.timers == []
