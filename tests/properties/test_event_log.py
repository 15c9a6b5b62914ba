"""The log of events that somebody may have missed: whatever the order in which servers hear of each other's events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from madang.adapters.adapter import EVERYONE
from madang.adapters.event_log import AHEAD, Entry, EventLog, joined, offset_of, vector_of
from madang.adapters.recovery import TOO_OLD
from madang.protocol.encoded import Encoded

LONG = 1e9
LARGE = 10**9


@dataclass
class Worker:
    """One that emits, and hears the others in the order of each, but late."""

    name: str
    log: EventLog = field(default_factory=lambda: EventLog(LONG, LARGE))
    emitted: int = 0
    inbox: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


@dataclass
class Client:
    """One that gets events, and knows the offset of the last."""

    worker: Worker
    offset: str = ""
    got: list[tuple[str, int]] = field(default_factory=list)
    here: bool = True


class Cluster:
    """Some workers, with clients that come and go."""

    def __init__(self, count: int) -> None:
        self.workers = [Worker(f"w{number}") for number in range(count)]
        for worker in self.workers:
            worker.inbox = {other.name: [] for other in self.workers if other is not worker}
        self.clients = [Client(worker) for worker in self.workers]

    def emit(self, worker: Worker) -> None:
        worker.emitted += 1
        event = (worker.name, worker.emitted)
        for other in self.workers:
            if other is not worker:
                other.inbox[worker.name].append(event)
        self.deliver(worker, event)

    def hear(self, worker: Worker, origin: str) -> None:
        if worker.inbox.get(origin):
            self.deliver(worker, worker.inbox[origin].pop(0))

    def deliver(self, worker: Worker, event: tuple[str, int]) -> None:
        offset = worker.log.append(*event, 0.0, Encoded(b'42["x"]'), EVERYONE)
        assert offset is not None
        for client in self.clients:
            if client.here and client.worker is worker:
                client.got.append(event)
                client.offset = offset

    def come(self, client: Client, worker: Worker) -> None:
        """Come back, once the worker has heard all of those it asks, and read some of what was missed."""
        for origin in worker.inbox:
            while worker.inbox[origin]:
                self.hear(worker, origin)
        got = vector_of(client.offset)
        assert got is not None
        missed = worker.log.missed(got, 0.0)
        assert not isinstance(missed, str)
        for entry in missed:
            client.got.append((entry.origin, entry.number))
            here = vector_of(entry.offset)
            assert here is not None
            client.offset = offset_of(joined(here, got))
        client.worker, client.here = worker, True


@settings(max_examples=100, deadline=None)
@given(data=st.data(), count=st.integers(1, 4))
def test_nothing_is_lost_or_doubled(data: st.DataObject, count: int):
    """Clients that go and come to any worker, at any time, get all events of each origin, in order and once."""
    cluster = Cluster(count)
    number = st.integers(0, count - 1)
    steps: dict[str, Callable[[], None]] = {
        "emit": lambda: cluster.emit(cluster.workers[data.draw(number)]),
        "hear": lambda: cluster.hear(cluster.workers[data.draw(number)], f"w{data.draw(number)}"),
        "cut": lambda: setattr(cluster.clients[data.draw(number)], "here", False),
        "come": lambda: come(cluster.clients[data.draw(number)], cluster.workers[data.draw(number)]),
    }

    def come(client: Client, worker: Worker) -> None:
        if not client.here:
            cluster.come(client, worker)

    for step in data.draw(st.lists(st.sampled_from(sorted(steps)), max_size=60)):
        steps[step]()
    for client in cluster.clients:
        client.here = False
        cluster.come(client, client.worker)
        assert sorted(client.got) == sorted(
            (worker.name, number) for worker in cluster.workers for number in range(1, worker.emitted + 1)
        )
        for worker in cluster.workers:
            numbers = [number for origin, number in client.got if origin == worker.name]
            assert numbers == sorted(numbers)


@given(total=st.integers(0, 12), begin=st.integers(0, 12), told=st.integers(0, 12), have=st.integers(0, 12))
def test_a_copy_knows_what_its_teacher_knows(total: int, begin: int, told: int, have: int):
    """A log that has heard the last, and is told what another has heard first, tells what both know, or of the gap."""
    mine, theirs = EventLog(LONG, LARGE), EventLog(LONG, LARGE)
    filled(mine, *range(begin + 1, total + 1))
    filled(theirs, *range(1, told + 1))
    mine.adopt(theirs.origins(), list(theirs))
    top = total if begin < total else told  # the rest of what the teacher has heard comes by itself
    first = begin if told == 0 else 0  # from where on anybody has listened
    known = {*range(begin + 1, total + 1), *range(1, told + 1)}
    missed = numbers(mine.missed({"a": have} if have else {}, 0.0))
    wanted = range(max(have, first) + 1, top + 1)
    if not known:
        assert missed == []
    elif have > top:
        assert missed == AHEAD
    elif not known.issuperset(wanted):
        assert missed == TOO_OLD
    else:
        assert missed == list(wanted)


def numbers(missed: list[Entry] | str) -> list[int] | str:
    return missed if isinstance(missed, str) else [entry.number for entry in missed]


def filled(log: EventLog, *given: int, origin: str = "a", at: float = 0.0) -> EventLog:
    for number in given:
        log.append(origin, number, at, Encoded(b'42["x"]'), EVERYONE)
    return log


def test_a_gap_is_no_silent_loss():
    """Who may have missed an event that has not come is told so; who begins behind it is not bothered."""
    log = filled(EventLog(LONG, LARGE), 1, 2, 4, 5)
    assert log.holes == 1
    assert log.missed({"a": 2}, 0.0) == TOO_OLD
    assert numbers(log.missed({"a": 3}, 0.0)) == [4, 5]
    log.reached("a", 7, 0.0)
    assert log.holes == 2
    assert log.missed({"a": 5}, 0.0) == TOO_OLD
    assert numbers(log.missed({"a": 7}, 0.0)) == []
    assert numbers(filled(log, 8).missed({"a": 7}, 0.0)) == [8]


def test_what_is_too_much_is_no_silent_loss():
    """The oldest events make room; who may have missed one of them is told so."""
    log = filled(EventLog(LONG, 2000), *range(1, 101))
    assert log.bytes <= 2000
    kept = [entry.number for entry in log]
    assert log.missed({"a": kept[0] - 2}, 0.0) == TOO_OLD
    assert numbers(log.missed({"a": kept[0] - 1}, 0.0)) == kept


def test_a_quiet_client():
    """One that had got its last event long ago, and was there all the time, has missed what is still kept."""
    log = filled(EventLog(10.0, LARGE), 1, at=0.0)
    filled(log, 2, at=50.0)
    assert numbers(log.missed({"a": 1}, 55.0)) == [2]
    filled(log, 3, at=100.0)
    assert numbers(log.missed({"a": 1}, 105.0)) == [3]
    assert log.bytes


def test_offsets_stay_short():
    """Servers that have sent nothing for long are not part of an offset; what they send later is known all the same."""
    log = filled(filled(EventLog(10.0, LARGE), 1, 2, at=0.0), 1, origin="b", at=0.0)
    filled(log, 2, origin="b", at=25.0)
    log.forget_old(25.0)
    offset = vector_of(log.offset())
    assert offset == {"b": 2}
    filled(log, 3, at=26.0)
    assert numbers(log.missed(offset, 26.0)) == [3]
    assert numbers(log.missed({}, 26.0)) == [2, 3]


def test_who_is_ahead():
    """Who has got what has not come here yet would get it twice, and is told so."""
    assert filled(EventLog(LONG, LARGE), 1).missed({"a": 2}, 0.0) == AHEAD


def test_what_is_no_offset():
    """Offsets come from clients, who may write what they like."""
    for text in ("x.y", ".a", "t.a-", "t.a-0x1", "t.a--1", "t.a-1_", "t.a-" + "f" * 17, "." + "a-1_" * 2000 + "a-1"):
        assert vector_of(text) is None, text
    assert vector_of("") == vector_of("t.") == {}
    assert vector_of("QX9fk2a.k3ZqA-1f_Xw0aB-3") == {"k3ZqA": 31, "Xw0aB": 3}
