"""One fault at a chosen place: in a handshake, in a message, in a request or its answer, in an upgrade."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

import madang
from tests.faults.proxy import Fault
from tests.faults.talk import QUICK, SOON, TRANSPORTS, Talker, Told, behind_a_proxy, server, together

HEAD = rb"\r\n\r\n"
POST = rb"POST /[^\r]*\r\n.*?\r\n\r\n"
POLL = rb"GET /[^\r]*sid=[^\r]*\r\n.*?\r\n\r\n"
TICK = rb'42\["tick"'
WEBSOCKET = rb"transport=websocket"


@dataclass
class Case:
    """What goes wrong, and whether the client is to lose its session by it."""

    name: str
    transport: str
    faults: list[Fault]
    returns: bool = True


def cut(name, transport, way, at, do="rst", **more):
    return lambda: Case(name, transport, [Fault(way, at, do, **more)])


def answer_cut(name, transport, request, do="rst", after=0):
    """The request gets through; its answer does not, or not as a whole."""
    then = {"way": "down", "at": 0, "do": do, "after": after}
    return lambda: Case(name, transport, [Fault("up", request, "arm", then=Fault(**then))])


def spared(name, *faults, transport="upgrade"):
    return lambda: Case(name, transport, [Fault(**fault) for fault in faults], returns=False)


def probe(way, at, do, **more):
    return {"way": way, "at": at, "do": do, "on": WEBSOCKET, **more}


CASES = [
    # while a WebSocket is made
    cut("at the first byte", "websocket", "up", 0),
    cut("in the request", "websocket", "up", 40),
    cut("in the request, FIN", "websocket", "up", 40, "fin"),
    cut("before the answer", "websocket", "down", 0),
    cut("before the answer, FIN", "websocket", "down", 0, "fin"),
    cut("in the answer", "websocket", "down", 20),
    cut("in the answer, FIN", "websocket", "down", 60, "fin"),
    cut("after the answer", "websocket", "down", HEAD),
    cut("in the handshake", "websocket", "down", rb'0\{"sid"'),
    cut("in the handshake, FIN", "websocket", "down", rb'0\{"sid"', "fin"),
    cut("in the client's CONNECT", "websocket", "up", HEAD, after=3),
    cut("before the server's CONNECT", "websocket", "down", rb"40\{", "fin", after=-5),
    cut("in the server's CONNECT", "websocket", "down", rb"40\{"),
    cut("garbage for an answer", "websocket", "down", 0, "garbage"),
    cut("garbage for a handshake", "websocket", "down", HEAD, "garbage"),
    # while a WebSocket is used
    cut("in the server's event", "websocket", "down", TICK),
    cut("in the server's event, FIN", "websocket", "down", TICK, "fin"),
    cut("in the client's event", "websocket", "up", HEAD, after=60),
    cut("in the client's event, FIN", "websocket", "up", HEAD, "fin", after=61),
    cut("bytes doubled", "websocket", "down", TICK, "double"),
    cut("garbage for an event", "websocket", "down", TICK, "garbage", after=-12),
    # polling
    cut("in the first request", "polling", "up", 40),
    cut("before the handshake", "polling", "down", 0, "fin"),
    cut("in the handshake's head", "polling", "down", 20),
    cut("in the handshake", "polling", "down", rb'0\{"sid"'),
    cut("in the handshake, FIN", "polling", "down", rb'0\{"sid"', "fin"),
    cut("garbage for the handshake", "polling", "down", HEAD, "garbage"),
    cut("garbage for an answer", "polling", "down", 0, "garbage"),
    cut("in the CONNECT's body", "polling", "up", POST, after=1),
    cut("before a POST's body", "polling", "up", POST + rb"42", after=-2),
    cut("in a POST's body", "polling", "up", POST + rb"42"),
    cut("in a POST's body, FIN", "polling", "up", POST + rb"42", "fin"),
    answer_cut("before a POST's answer", "polling", POST + rb"42"),
    answer_cut("before a POST's answer, FIN", "polling", POST + rb"42", "fin"),
    answer_cut("in a POST's answer", "polling", POST + rb"42", after=30),
    cut("in a later poll's request", "polling", "up", POLL, after=-3),
    cut("before a poll's answer", "polling", "up", POLL + rb".*?" + POLL),
    answer_cut("in a poll's head", "polling", POLL + rb".*?" + POLL, after=30),
    cut("in a poll's answer", "polling", "down", TICK),
    cut("in a poll's answer, FIN", "polling", "down", TICK, "fin"),
    cut("garbage for a poll's answer", "polling", "down", TICK, "garbage"),
    cut("bytes doubled in a poll's answer", "polling", "down", TICK, "double", after=-12),
    # what goes wrong in an upgrade before it is committed costs only the new connection
    spared("the probe is cut at once", probe("up", 0, "rst")),
    spared("the probe's request is cut", probe("up", 60, "fin")),
    spared("the probe's answer is cut", probe("down", 30, "rst")),
    spared("the probe's answer is garbage", probe("down", 0, "garbage")),
    spared("the probe is not passed on", probe("up", HEAD, "rst")),
    spared("the probe's frame is halved", probe("up", HEAD, "rst", after=5)),
    spared("the pong is cut", probe("down", rb"3probe", "rst", after=-3)),
    spared("the pong is garbage", probe("down", rb"3probe", "garbage", after=-8)),
    spared("cut after the pong", probe("down", rb"3probe", "rst")),
    spared("cut after the pong, FIN", probe("down", rb"3probe", "fin")),
    # … and what goes wrong in the commit costs the session
    cut("the commit is not passed on", "upgrade", "up", HEAD + rb".{13}", on=WEBSOCKET, after=-1),
    cut("the commit is halved", "upgrade", "up", HEAD + rb".{12}", "fin", on=WEBSOCKET, after=4),
    cut("cut after the commit", "upgrade", "up", HEAD + rb".{12}", on=WEBSOCKET, after=7),
    cut("the poll is cut while the probe is under way", "upgrade", "up", POLL),
    # what comes in small pieces, or late, comes nevertheless
    spared("the answers in single bytes", {"way": "down", "at": 0, "do": "dribble"}, transport="websocket"),
    spared("the requests in single bytes", {"way": "up", "at": 0, "do": "dribble"}, transport="websocket"),
    spared("a pause in an event", {"way": "down", "at": TICK, "do": "pause"}, transport="websocket"),
    spared("a pause in the handshake", {"way": "down", "at": 30, "do": "pause"}, transport="websocket"),
    spared("polls in single bytes", {"way": "down", "at": 0, "do": "dribble", "times": 9}, transport="polling"),
    spared("POSTs in single bytes", {"way": "up", "at": 0, "do": "dribble", "times": 9}, transport="polling"),
    spared("a pause in a poll's answer", {"way": "down", "at": TICK, "do": "pause"}, transport="polling"),
    spared("a pause in a POST's body", {"way": "up", "at": POST + rb"42", "do": "pause"}, transport="polling"),
    spared("all in single bytes", *({"way": way, "at": 0, "do": "dribble", "times": 9} for way in ("up", "down"))),
    spared("a pause in the probe", probe("down", rb"3probe", "pause", after=-1)),
    spared("a pause in the commit", probe("up", HEAD + rb".{12}", "pause", after=3)),
]


@pytest.mark.feature("V34", "W12", "W18", "W19", "W20")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_fault_costs_at_most_what_was_on_its_way(transport):
    """One fault, and the client is back and has said what was wrong; nothing is doubled, disordered, or lost unsaid."""
    cases = [make() for make in CASES]
    await together({case.name: _one_fault(case) for case in cases if case.transport == transport})


async def _one_fault(case):
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        proxy.faults = case.faults
        patience = {} if case.returns else {"timeout": 5.0}  # single bytes take their time
        client = madang.Client(proxy.url, transports=TRANSPORTS[case.transport], **(QUICK | patience))
        talker = Talker(client)
        try:
            talker.certain = lambda: all(fault.struck.is_set() for fault in case.faults)
            await talker.talk(20)
            for fault in case.faults:
                await asyncio.wait_for(fault.struck.wait(), SOON)
            if case.returns:
                await talker.until(lambda: talker.troubles)
            await talker.until(lambda: client.is_connected)
            await talker.talk(10)
            await talker.last_word()
            talker.check(told)
            assert bool(talker.troubles) is case.returns, talker.report()
            assert client.id is not None
            assert len(talker.ticks[client.id]) == told.ticks[client.id]
        finally:
            await client.close()
