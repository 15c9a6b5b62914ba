"""Who is there, by heartbeats, with a clock that the test moves."""

from __future__ import annotations

import pytest

from madang.adapters.heartbeats import MOST_SERVERS, Heartbeats
from madang.adapters.messages import ClusterMessage, Kind


class Bench:
    """Heartbeats every 5 seconds, leases of 10, and what is said."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.said: list[Kind] = []
        self.beats = Heartbeats(5.0, 10.0, self._say, lambda: self.now)

    def _say(self, kind: Kind) -> None:
        self.said.append(kind)
        self.beats.said()

    def heard(self, uid: str | None, kind: Kind = Kind.HEARTBEAT) -> bool:
        return self.beats.heard(ClusterMessage(kind=kind, uid=uid))

    def pass_(self, seconds: float, hearing: bool = True) -> None:
        """Let time pass, with all the looks in it."""
        for _ in range(round(seconds / self.beats.period)):
            self.now += self.beats.period
            self.beats.look(hearing)


@pytest.mark.feature("S4")
def test_a_lease_runs_out() -> None:
    """Whoever has said nothing for longer than the timeout is gone; anything that is said renews the lease."""
    bench = Bench()
    bench.heard("a")
    bench.heard("b")
    bench.pass_(9)
    bench.heard("b", Kind.BROADCAST)
    assert bench.beats.names == {"a", "b"}
    bench.pass_(2)
    assert bench.beats.names == {"b"}


@pytest.mark.feature("S4")
def test_words() -> None:
    """The first heartbeat is answered at once, a farewell believed at once, and emitters are no servers."""
    bench = Bench()
    assert not bench.heard("a", Kind.INITIAL_HEARTBEAT)
    assert bench.said == [Kind.HEARTBEAT]
    assert bench.heard("emitter", Kind.BROADCAST)
    assert bench.heard(None, Kind.BROADCAST)
    assert bench.beats.names == {"a"}
    assert not bench.heard("a", Kind.ADAPTER_CLOSE)
    assert bench.beats.names == frozenset()


@pytest.mark.feature("S4")
def test_what_is_said_spares_a_heartbeat() -> None:
    """A heartbeat is due five seconds after the last thing that was said to all."""
    bench = Bench()
    bench.pass_(4)
    bench.beats.said()
    bench.pass_(4)
    assert bench.said == []
    bench.pass_(1)
    assert bench.said == [Kind.HEARTBEAT]


@pytest.mark.feature("S4")
@pytest.mark.parametrize("jump", [30.0, 3600.0])
def test_a_clock_that_jumps(jump: float) -> None:
    """If this server itself did nothing for a while, the others could not be heard either: nobody is gone."""
    bench = Bench()
    bench.heard("a")
    bench.pass_(2)
    bench.now += jump
    bench.beats.look(True)
    assert bench.beats.names == {"a"}
    assert bench.said == [Kind.HEARTBEAT]
    bench.pass_(9)
    assert bench.beats.names == frozenset()


@pytest.mark.feature("S4")
def test_time_in_which_nobody_can_be_heard() -> None:
    """Leases stand still while there is no connection, and nothing is said."""
    bench = Bench()
    bench.heard("a")
    bench.pass_(5)
    bench.said.clear()
    bench.pass_(100, hearing=False)
    assert bench.beats.names == {"a"}
    assert bench.said == []
    bench.pass_(6)
    assert bench.beats.names == frozenset()


def test_names_that_are_made_up() -> None:
    """Nobody can fill the memory with servers that are none."""
    bench = Bench()
    for number in range(MOST_SERVERS + 10):
        bench.heard(f"made up {number}")
    assert len(bench.beats.names) == MOST_SERVERS
