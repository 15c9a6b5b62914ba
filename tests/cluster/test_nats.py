"""What NATS asks of a cluster: names that become words of a subject, and who gets what."""

from __future__ import annotations

import re
from typing import Any

import pytest

import madang
from madang.adapters.nats.subjects import Subjects, token
from tests.cluster.brokers import Nats
from tests.cluster.conftest import Pair
from tests.cluster.test_faults import members, talks
from tests.cluster.test_leased_faults import LeasedBroker
from tests.interop.ways import until

NAMES = ["", " ", "a b", "a.b", "*", ">", "a.>", "%", "%2E", "방 😀", "\0", "\r\nPUB x 0\r\n", "x" * 5000, "\ud800", 42]


def test_names_are_words():
    """Any name becomes one word that NATS takes, and different names different words."""
    words = [token(name) for name in NAMES]
    for word in words:
        assert re.fullmatch(r"[A-Za-z0-9_~%-]{1,200}", word)
    assert len(set(words)) == len(NAMES)
    assert Subjects("socket.io", "/chat").room("a.b") == "socket.io.%2Fchat.room.a%2Eb"
    assert Subjects("socket.io", "/").everyone == "socket.io.%2F.all"


@pytest.mark.parametrize("pair", ["nats:madang-madang"], indirect=True)
async def test_odd_rooms(pair: Pair):
    """A room may have any name."""
    rooms: list[Any] = [room for room in NAMES if room != "\ud800"]
    await pair.joined(second=rooms)
    for room in rooms:
        await pair.here.emit("news", "x", rooms=[room])
        assert await pair.second.next("news") == ["x"]


async def test_only_who_has_members(nats: Nats):
    """A message for one room reaches only servers that have members of it, and an answer only who has asked."""
    async with members(LeasedBroker("nats", nats), count=3) as (a, b, c):  # type: ignore[arg-type]
        await talks(a, b, c)
        b.io.sockets_join("everywhere")
        for socket in b.io.sockets.values():
            socket.join("only b")
        await b.well()
        received = c.health.received
        a.io.to("only b").emit("tick", "for b")
        await until(lambda: "for b" in b.got)
        await a.io.fetch_sockets()
        a.io.emit("tick", "for all")
        await until(lambda: "for all" in c.got)
        assert c.health.received == received + 2  # a question, and what is for all
        assert c.health.unwanted == 0


@pytest.mark.feature("A16")
@pytest.mark.parametrize(
    "url",
    ["http://localhost", "nats://", "nats://localhost:port", "nats://localhost,redis://localhost",
     "nats://localhost?key=a*", "nats://localhost?key=a..b", "nats://localhost?key=", "nats://localhost?nonsense=1&tls=x",
     "nats://localhost?heartbeat_interval=10", "nats://localhost?queue_limit=no"],
)  # fmt: skip
def test_adapters_that_cannot_be(url: str):
    """What cannot be is refused when the adapter is made."""
    with pytest.raises(madang.OptionError):
        madang.NatsAdapter(url)


@pytest.mark.feature("A16")
def test_options_in_the_url():
    """The options may stand in the URL, and several servers be named."""
    adapter = madang.NatsAdapter("nats://a:4222,tls://b:4222?key=chat&heartbeat_timeout=20", queue_limit=7)
    assert adapter.servers == ["nats://a:4222", "tls://b:4222"]
    assert (adapter.options.key, adapter.options.heartbeat_timeout, adapter.options.queue_limit) == ("chat", 20.0, 7)
