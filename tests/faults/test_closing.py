"""Closing a client in whatever state it is: it ends within three seconds, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import time

import pytest

import madang
from madang.client.connection import Connection
from madang.engine.client_session import ClientSession
from madang.transports.client_polling import PollingClient
from madang.transports.client_websocket import WebSocketClient
from madang.transports.dialing import Dialer
from tests.faults.proxy import Fault, between
from tests.faults.talk import QUICK, SOON, TRANSPORTS, Talker, Told, behind_a_proxy, server, together
from tests.hosts import listening

HEAD = rb"\r\n\r\n"
POST = rb"POST /[^\r]*\r\n.*?\r\n\r\n"
POLL = rb"GET /[^\r]*sid=[^\r]*\r\n.*?\r\n\r\n"
WEBSOCKET = rb"transport=websocket"

PATIENT = QUICK | {"timeout": 20.0}

STATES = {
    "no byte is answered": ("websocket", ("up", 0, "mute"), {}),
    "no byte of a poll is answered": ("polling", ("up", 0, "mute"), {}),
    "half of the request has left": ("websocket", ("up", 60, "mute"), {}),
    "half of the answer has come": ("websocket", ("down", 30, "mute"), {}),
    "half of a poll's answer has come": ("polling", ("down", 30, "mute"), {}),
    "the handshake does not come": ("websocket", ("down", HEAD, "mute"), {}),
    "half of the handshake has come": ("websocket", ("down", rb'0\{"sid"', "mute"), {}),
    "half of the polled handshake has come": ("polling", ("down", rb'0\{"sid"', "mute"), {}),
    "CONNECT is not answered": ("websocket", ("down", rb"40\{", "mute"), {"after": -5}),
    "the CONNECT hangs in a POST": ("polling", ("up", POST, "mute"), {"after": -5}),
    "half of the CONNECT hangs in a POST": ("polling", ("up", POST, "mute"), {"after": 1}),
    "the probe is not accepted": ("upgrade", ("up", 0, "mute"), {"on": WEBSOCKET}),
    "the probe's answer is halved": ("upgrade", ("down", 30, "mute"), {"on": WEBSOCKET}),
    "the probe is not answered": ("upgrade", ("down", HEAD, "mute"), {"on": WEBSOCKET}),
    "the pong is halved": ("upgrade", ("down", rb"3probe", "mute"), {"on": WEBSOCKET, "after": -2}),
    "the commit goes nowhere": ("upgrade", ("up", HEAD + rb".{13}", "mute"), {"on": WEBSOCKET, "after": -1}),
    "an event hangs in a POST": ("polling", ("up", POST + rb"42", "mute"), {}),
    "a POST is not answered": ("polling", ("up", POST + rb"42", "arm"), {"then": ("down", 0, "mute")}),
    "a poll's answer is halved": ("polling", ("down", rb'42\["tick"', "mute"), {}),
    "half of an event has come": ("websocket", ("down", rb'42\["tick"', "mute"), {}),
}


async def ends(client):
    """Close it; it takes no longer than it may, and leaves it in order."""
    begun = time.monotonic()
    await client.close()
    assert time.monotonic() - begun < 3.0
    assert client.manager.state == "closed"
    assert client.manager.engine is None
    assert not client.is_connected
    assert not client.active


@pytest.mark.feature("V42")
async def test_closing_while_something_hangs():
    """The network goes silent at some place and the client is closed then; no task, timer or socket outlives it."""
    async with listening(server(Told())) as url:
        port = int(url.rpartition(":")[2])
        cases = {state: _closing_in(port, *case) for state, case in STATES.items()}
        cases |= {
            f"a black hole, {transport}": _closing_before_a_black_hole(port, transport) for transport in TRANSPORTS
        }
        await together(cases, len(cases))


async def _closing_in(port, transport, place, more):
    then = more.get("then")
    fault = Fault(*place, **more | ({"then": Fault(*then)} if then else {}))
    async with between(port) as proxy:
        proxy.faults = [fault]
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **PATIENT)
        talker = Talker(client)
        try:
            await talker.talk(4)
            await asyncio.wait_for((fault.then or fault).struck.wait(), SOON)
            waiting = client.emit_with_ack("silence")
            joining = asyncio.ensure_future(client.connected)
            await asyncio.sleep(0.01)
        finally:
            await ends(client)
        with pytest.raises(madang.SocketClosed):
            await asyncio.wait_for(waiting, 0.1)
        await asyncio.wait_for(asyncio.gather(joining, return_exceptions=True), 0.1)


async def _closing_before_a_black_hole(port, transport):
    """All connections are open and nothing moves, with much still to be sent."""
    async with between(port) as proxy:
        client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **PATIENT)
        try:
            await Talker(client).last_word()
            proxy.mute()
            for _ in range(50):
                client.emit("note", "x" * 100_000)
            await asyncio.sleep(0.02)
        finally:
            await ends(client)


@pytest.mark.feature("V42")
async def test_closing_while_polling_stops_for_the_upgrade():
    """Between ``3probe`` and ``5``, even if the open poll hangs, a close ends in time, and so does a new beginning."""
    await together(
        {
            f"{'connect again' if again else 'close'}, the poll {'hangs' if hangs else 'ends'}": _stopping(again, hangs)
            for again in (False, True)
            for hangs in (False, True)
        }
    )


async def _stopping(again, hangs):
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        client = madang.Client(proxy.url, transports=["polling", "websocket"], **QUICK)
        talker = Talker(client)
        proxy.faults = [pong := Fault("down", rb"3probe", "arm", on=WEBSOCKET)]
        try:
            await asyncio.wait_for(pong.struck.wait(), SOON)
            for link in tuple(proxy.links):
                link.muted = hangs and WEBSOCKET not in link.first_line
            await asyncio.sleep(0.02)
            assert client.manager.engine.transport.name == "polling"
            assert client.manager.engine.probe.upgrading
            if again:
                client.disconnect()
                client.connect()  # a connection that is kept and hangs may be tried first
                await talker.until(lambda: client.is_connected)
                await talker.last_word()
        finally:
            await ends(client)


@pytest.mark.feature("V42")
async def test_nothing_outlives_a_closed_client(leaks):
    """After ten lost connections and a close, none of the objects is left that have made and kept them."""
    async with leaks(madang.Client, madang.Manager, ClientSession, Connection, Dialer, WebSocketClient, PollingClient):
        await _ten_connections()


async def _ten_connections():
    async with behind_a_proxy(server(Told())) as proxy:
        for transports in TRANSPORTS.values():
            client = madang.Client(proxy.url, transports=transports, **QUICK)
            talker = Talker(client)
            try:
                for number in range(10):
                    await talker.last_word()
                    proxy.cut(rst=bool(number % 2))
                    await talker.until(lambda talker=talker, number=number: len(talker.closes) > number)
            finally:
                await ends(client)


@pytest.mark.feature("V35", "V42")
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_closing_while_waiting_to_come_back(transport):
    """Between two attempts closing is immediate, and no attempt follows."""
    async with behind_a_proxy(server(Told())) as proxy:
        client = madang.Client(
            proxy.url,
            transports=TRANSPORTS[transport],
            **QUICK | {"reconnection_delay": 5, "reconnection_delay_max": 5},
        )
        talker = Talker(client)
        try:
            await talker.last_word()
            proxy.cut()
            await talker.until(lambda: client.manager.state == "waiting")
            begun = time.monotonic()
        finally:
            await ends(client)
        assert time.monotonic() - begun < 0.5


@pytest.mark.feature("V34", "V42")
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_closing_at_any_turn(transport):
    """Closed after 0, 1, 2, … turns of the loop, in the middle of connecting, it always ends in order."""
    told = Told()
    async with behind_a_proxy(server(told)) as proxy:
        for turns in range(40):
            client = madang.Client(proxy.url, transports=TRANSPORTS[transport], **QUICK)
            client.emit("note", turns)
            for _ in range(turns):
                await asyncio.sleep(0)
            begun = time.monotonic()
            await ends(client)
            assert time.monotonic() - begun < 1.0, f"after {turns} turns it takes long"
            proxy.cut()
