"""What nodes know of each other's presences: whatever happens to their messages, they come to know the same."""

from __future__ import annotations

import itertools
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.server import presence_replica
from madang.server.presence_replica import Entry, Key, Message, Place, Replica

LEASE = 10.0
PLACES: list[Place] = [("/", "a"), ("/", 1)]

STEPS = {"put": 4, "remove": 3, "send": 4, "beat": 2, "deliver": 6, "lose": 2, "double": 1, "look": 1} | {
    "come": 1,
    "go": 0.3,
    "pass_time": 0.5,
}
"""What happens, and how often."""


class Node:
    """A replica, what it has on it by itself, and what somebody sees who listens to its differences."""

    def __init__(self, name: str) -> None:
        self.replica = Replica(name, LEASE)
        self.own: dict[Key, Entry] = {}
        self.seen: dict[Place, dict[str, list[bytes]]] = {place: {} for place in PLACES}

    def listed(self, place: Place) -> dict[str, list[bytes]]:
        return {user: sorted(metas) for user, metas in self.replica.roster.users(place)}

    def look(self) -> None:
        """Take over the differences, each of which must make sense."""
        for place, joined, changed, left in self.replica.roster.differences():
            seen = self.seen[place]
            for user, metas in joined:
                assert user not in seen
                seen[user] = sorted(metas)
            for user, metas in changed:
                assert user in seen
                seen[user] = sorted(metas)
            for user, metas in left:
                assert seen.pop(user) == sorted(metas)


class Cluster:
    """Nodes that come, freeze and go; a network that loses, doubles and reorders."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.names = itertools.count(1)
        self.nodes: dict[str, Node] = {}
        self.network: list[tuple[str, bytes]] = []
        for _ in range(2):
            self.come()

    def say(self, node: Node, messages: list[Message]) -> None:
        for message in messages:
            data = msgspec.json.encode(message)
            self.network += [(name, data) for name in self.nodes if name != node.replica.node]

    def arrive(self, name: str, data: bytes) -> None:
        if name in self.nodes:
            self.nodes[name].replica.receive(msgspec.json.decode(data, type=Message), self.now)

    def step(self) -> None:
        """One thing that happens."""
        (name,) = self.random.choices(list(STEPS), list(STEPS.values()))
        getattr(self, name)()

    def node(self) -> Node:
        return self.random.choice(list(self.nodes.values()))

    def come(self) -> None:
        if len(self.nodes) < 4:
            node = Node(f"n{next(self.names)}")
            self.nodes[node.replica.node] = node
            self.say(node, [node.replica.message("hello")])

    def put(self) -> None:
        """Somebody comes, changes his meta, or is another user from now on."""
        node, key = self._key()
        meta = self.random.choice([b"{}", b'{"n":"\\u00e9"}'])
        node.own[key] = Entry(self.random.choice(["minji", "joon"]), meta)
        node.replica.put(key, node.own[key])

    def remove(self) -> None:
        node, key = self._key()
        node.own.pop(key, None)
        node.replica.put(key, None)

    def _key(self) -> tuple[Node, Key]:
        node = self.node()
        return node, (*self.random.choice(PLACES), f"{node.replica.node}-s{self.random.randint(1, 2)}")

    def send(self) -> None:
        node = self.node()
        self.say(node, node.replica.outgoing())

    def beat(self) -> None:
        node = self.node()
        self.say(node, [node.replica.message("beat")])

    def deliver(self, times: int = 1) -> None:
        """One of the oldest messages under way, perhaps before others."""
        if self.network:
            name, data = self.network.pop(self.random.randrange(min(len(self.network), 4)))
            for _ in range(times):
                self.arrive(name, data)

    def lose(self) -> None:
        self.deliver(0)

    def double(self) -> None:
        self.deliver(2)

    def go(self) -> None:
        """A node ends, with a word or without."""
        if len(self.nodes) > 1:
            node = self.node()
            del self.nodes[node.replica.node]
            if self.random.random() < 0.5:
                self.say(node, [node.replica.message("bye")])

    def look(self) -> None:
        self.node().look()

    def pass_time(self, seconds: float = LEASE / 2) -> None:
        self.now += seconds
        for node in self.nodes.values():
            node.replica.expire(self.now)

    def at_home(self) -> None:
        """A node always has what is on it."""
        for name, node in self.nodes.items():
            for key, entry in node.own.items():
                assert node.replica.entry(key) == entry, name

    def settle(self) -> None:
        """From now on nothing is lost, and time passes: all come to know the same, and nothing else is kept."""
        for _ in range(6):
            for name, data in self.network:
                self.arrive(name, data)
            self.network.clear()
            for node in self.nodes.values():
                self.say(node, [*node.replica.outgoing(), node.replica.message("beat")])
        self.pass_time(LEASE / 2)
        for node in self.nodes.values():
            self.say(node, [node.replica.message("beat")])
        for name, data in self.network:
            self.arrive(name, data)
        self.pass_time(LEASE / 2 + 1)
        wanted: dict[Place, dict[str, list[bytes]]] = {place: {} for place in PLACES}
        for node in self.nodes.values():
            for key, entry in node.own.items():
                wanted[key[:2]].setdefault(entry.user, []).append(entry.meta)
        for node in self.nodes.values():
            assert node.replica.missing == []
            node.look()
            for place in PLACES:
                users = {user: sorted(metas) for user, metas in wanted[place].items()}
                assert node.listed(place) == users
                assert node.seen[place] == users


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_all_come_to_know_the_same(seed: int):
    """Joins, changes and ends, nodes that come and die, messages lost, doubled and reordered: in the end all agree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presence_replica, "CHUNK", 60)  # so that a state has several parts
        cluster = Cluster(seed)
        for _ in range(cluster.random.randint(10, 150)):
            cluster.step()
            cluster.at_home()
        cluster.settle()


def test_a_large_state_travels_in_parts():
    """Ten thousand users are told in pieces of bounded size, as changes and as a state, in any order."""
    here, late = Replica("here", LEASE), Replica("late", LEASE)
    for number in range(10_000):
        here.put(("/", "stadium", f"socket{number}"), Entry(f"user{number}", b'{"name":"somebody"}'))
    deltas = here.outgoing()
    late.receive(deltas[-1], 0.0)
    (want,) = late.outgoing()
    here.receive(want, 0.0)
    parts = here.outgoing()
    for messages in (deltas, parts):
        assert 5 < len(messages) < 30
        assert max(len(msgspec.json.encode(message)) for message in messages) < 2 * presence_replica.CHUNK
    for part in reversed(parts):
        assert late.roster.users(("/", "stadium")) == []
        late.receive(part, 0.0)
    assert len(late.roster.users(("/", "stadium"))) == 10_000
    assert late.missing == []


def test_a_node_that_could_not_hear_gives_nobody_up():
    """When all leases are put off, nobody is dropped before the time that is added is over."""
    here, there = Replica("here", LEASE), Replica("there", LEASE)
    there.put(("/", "a", "s"), Entry("minji", b"{}"))
    here.receive(there.outgoing()[0], 0.0)
    here.postpone(100.0)
    here.expire(LEASE + 99.0)
    assert len(here.roster.users(("/", "a"))) == 1
    assert here.next_expiry == LEASE + 100.0
    here.expire(LEASE + 100.0)
    assert here.roster.users(("/", "a")) == []
    assert here.next_expiry is None


def test_what_is_late_brings_nobody_back():
    """A state, or a change, that is older than what is known changes nothing."""
    here, there = Replica("here", LEASE), Replica("there", LEASE)
    key = ("/", "a", "s")
    here.put(key, Entry("minji", b"{}"))
    (came,) = here.outgoing()
    here.receive(Message(kind="want", node="there", of="here"), 0.0)
    (state,) = here.outgoing()
    here.put(key, None)
    (went,) = here.outgoing()
    for message in (came, went, state, came):
        there.receive(message, 0.0)
    assert there.roster.users(key[:2]) == []
    assert there.missing == []
    assert there.outgoing() == []
