"""A client's session on a clock and wires of the test's own: handshake, heartbeat, upgrade, what is remembered, end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from madang import ConnectionFailed, PayloadTooLarge
from madang.engine.client_session import _Memory
from tests.client.tools import Seat


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_Memory, "websocket_worked", False)
    yield
    monkeypatch.setattr(_Memory, "websocket_worked", False)


@pytest.fixture
def seat() -> Seat:
    """A session over WebSocket that is open."""
    seat = Seat(transports=["websocket"])
    seat.shake()
    return seat


def upgrading() -> Seat:
    """A session that polls, whose new connection has just proved itself."""
    seat = Seat()
    seat.shake()
    polling, websocket = seat.wires
    websocket.session.transport_opened(websocket)
    assert websocket.sent == [b"2probe"]
    websocket.receive("3probe")
    assert polling.paused is not None
    return seat


# ---------------------------------------------------------------------------------------------------- the handshake


def test_handshake():
    """What the server says of itself is known when the session is open."""
    seat = Seat()
    seen: list[Any] = []
    seat.session.on("handshake", seen.append)
    assert (seat.wire.did, seat.session.id, seat.session.state) == (["open"], None, "opening")
    seat.shake(pingInterval=300, pingTimeout=200, maxPayload=1000)
    session = seat.session
    assert (session.id, session.state, session.upgrades) == ("s1", "open", ["websocket"])
    assert (session.ping_interval, session.ping_timeout, session.max_payload) == (0.3, 0.2, 1000)
    assert seen[0]["sid"] == "s1"
    assert seat.told == ["open"]


@pytest.mark.parametrize(
    "more",
    [
        {"sid": ""},
        {"sid": None},
        {"sid": "x" * 2000},
        {"upgrades": "websocket"},
        {"pingInterval": 0},
        {"pingInterval": -1},
        {"pingInterval": "25000"},
        {"pingTimeout": None},
        {"pingTimeout": True},
        {"maxPayload": 0},
        {"maxPayload": "1"},
    ],
)
def test_a_handshake_that_cannot_be(more: dict[str, Any]):
    """A handshake that says nothing of use ends the attempt as a parse error, and leaves no timer."""
    seat = Seat()
    seat.shake(**more)
    assert seat.ends == ["parse error"]
    assert isinstance(seat.told[0][2], Exception)
    assert seat.clock.timers == []


@pytest.mark.parametrize("packet", ["0", "0[]", "0{", "4early", "0nonsense"])
def test_the_first_packet_is_no_handshake(packet: str):
    """A message before the handshake, or a handshake that is none, ends the attempt."""
    seat = Seat()
    seat.wire.receive(packet)
    assert seat.ends == ["parse error"]
    assert seat.heard == []


def test_a_second_handshake(seat: Seat):
    """A server that shakes hands twice has broken the rules."""
    seat.shake()
    assert seat.ends == ["parse error"]


# ----------------------------------------------------------------------------------------------------- the heartbeat


@pytest.mark.feature("V41")
def test_silence(seat: Seat):
    """Without a ping the session ends one interval and one timeout after the handshake, and not before."""
    seat.clock.advance(44.99)
    assert seat.ends == []
    seat.clock.advance(0.02)
    assert seat.ends == ["ping timeout"]
    assert seat.wire.did[-1] == "abort"
    assert seat.clock.timers == []


@pytest.mark.feature("V41")
def test_each_ping_counts(seat: Seat):
    """Each ping is answered at once and gives one interval and one timeout more; messages give nothing."""
    for _ in range(4):
        seat.clock.advance(40)
        seat.wire.receive("2")
        assert seat.wire.sent.pop() == b"3"
    assert seat.told.count("ping") == 4
    for _ in range(44):
        seat.clock.advance(1)
        seat.wire.receive("4hello")
    assert seat.ends == []
    seat.clock.advance(1.01)
    assert seat.ends == ["ping timeout"]


@pytest.mark.feature("V41")
def test_one_timer(seat: Seat):
    """However many pings come, there is one timer, and none when the session has ended."""
    for _ in range(100):
        seat.clock.advance(1)
        seat.wire.receive("2")
        assert len(seat.clock.timers) == 1
    seat.session.close()
    assert seat.clock.timers == []


@pytest.mark.feature("V41")
def test_the_machine_slept(seat: Seat):
    """Time that passed without a timer is noticed when something is to be sent; the session ends in the next turn."""
    assert not seat.session.has_expired()
    seat.clock.now += 46
    assert seat.ends == []
    assert seat.session.has_expired()
    assert seat.session.has_expired()
    assert seat.ends == []
    seat.clock.turn()
    assert seat.ends == ["ping timeout"]


@pytest.mark.feature("V41")
def test_nothing_is_said_of_a_server_that_is_not_read(seat: Seat):
    """While reading is paused no ping can be seen, so none is missed; after it the time begins anew."""
    seat.session.pause_reading()
    seat.session.pause_reading()
    seat.clock.advance(200)
    assert seat.ends == []
    seat.session.resume_reading()
    seat.clock.advance(200)
    assert seat.ends == []
    seat.session.resume_reading()
    assert seat.wire.did[-2:] == ["pause_reading", "resume_reading"]
    seat.clock.advance(44)
    assert seat.ends == []
    seat.clock.advance(46)
    assert seat.ends == ["ping timeout"]


# ------------------------------------------------------------------------------------------------------- the upgrade


@pytest.mark.feature("V12")
def test_upgrade():
    """The probe, its answer, a pause, then `5`, and what was sent meanwhile follows on the new connection."""
    seat = Seat()
    told: list[str] = []
    for event in ("upgrading", "upgrade"):
        seat.session.on(event, lambda transport, event=event: told.append(f"{event} {transport.name}"))
    seat.shake()
    polling, websocket = seat.wires
    assert (websocket.name, websocket.session_id) == ("websocket", "s1")
    websocket.session.transport_opened(websocket)
    seat.session.send("before")
    assert seat.session.transport is polling
    websocket.receive("3probe")
    assert told == ["upgrading websocket"]
    seat.session.send("while")
    seat.session.send(b"bytes")
    polling.receive("4late")
    assert (polling.sent, websocket.sent, seat.session.writable) == ([b"4before"], [b"2probe"], False)
    assert polling.paused is not None
    polling.paused()
    assert websocket.sent == [b"2probe", b"5", b"4while", b"bytes"]
    assert (polling.did[-1], seat.session.transport, seat.heard) == ("leave", websocket, [b"4late"])
    assert told[1:] == ["upgrade websocket"]


@pytest.mark.feature("V12", "V16")
def test_upgrade_with_base64():
    """What was sent during an upgrade is base64 afterwards too if that is wanted."""
    seat = Seat(force_base64=True)
    seat.shake()
    polling, websocket = seat.wires
    websocket.session.transport_opened(websocket)
    websocket.receive("3probe")
    seat.session.send(b"\x00\xff")
    assert polling.paused is not None
    polling.paused()
    seat.session.send(b"\x00\xff")
    assert websocket.sent[2:] == [b"bAP8=", b"bAP8="]


@pytest.mark.feature("V12")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"upgrade": False}, {}),
        ({"transports": ["polling"]}, {}),
        ({}, {"upgrades": []}),
        ({}, {"upgrades": ["webtransport", 7]}),
        ({"transports": ["websocket", "polling"]}, {}),
    ],
)
def test_no_upgrade(options: dict[str, Any], said: dict[str, Any]):
    """There is no probe if either side does not want it, or if there is nothing to upgrade to."""
    seat = Seat(**options)
    seat.shake(**said)
    assert len(seat.wires) == 1


@pytest.mark.feature("V12")
@pytest.mark.parametrize("answer", ["3", "3wrong", "4message", b"bytes", "6", "2probe"])
def test_a_wrong_answer_to_the_probe(answer: str | bytes):
    """A connection that does not answer the probe as it should is dropped, and polling goes on."""
    seat = Seat()
    errors: list[Any] = []
    seat.session.on("upgrade_error", errors.append)
    seat.shake()
    polling, websocket = seat.wires
    websocket.session.transport_opened(websocket)
    websocket.receive(answer)
    assert "close" in websocket.did
    assert [str(error).startswith("probe error") for error in errors] == [True]
    assert errors[0].transport == "websocket"
    seat.session.send("still here")
    assert (seat.session.transport, polling.sent, seat.ends) == (polling, [b"4still here"], [])


@pytest.mark.feature("V12")
def test_the_new_connection_breaks_while_polling_pauses():
    """If the new connection is lost before `5`, polling goes on, and what was held back is sent there."""
    seat = upgrading()
    polling, websocket = seat.wires
    seat.session.send("held")
    websocket.lose()
    assert (polling.did[-1], polling.sent, seat.ends) == ("unpause", [b"4held"], [])
    polling.paused()  # type: ignore[misc]
    assert websocket.sent == [b"2probe"]


@pytest.mark.feature("V42")
def test_closing_waits_for_the_upgrade():
    """A close during the pause waits for the upgrade, and ends the session on the new connection, after what waits."""
    seat = upgrading()
    polling, websocket = seat.wires
    seat.session.send("last words")
    seat.session.close()
    seat.session.close()
    assert (seat.ends, seat.session.state) == ([], "closing")
    polling.paused()  # type: ignore[misc]
    assert websocket.sent == [b"2probe", b"5", b"4last words"]
    assert (websocket.did[-1], seat.ends) == ("close", ["forced close"])


@pytest.mark.feature("V42")
@pytest.mark.parametrize("ends", ["well", "badly"])
def test_after_a_close_that_waits_nothing_is_taken(ends: str):
    """What is sent after a close that waits for an upgrade is dropped, and what was sent before it is not."""
    seat = upgrading()
    polling, websocket = seat.wires
    seat.session.send("before")
    seat.session.close()
    assert (seat.session.state, seat.session.writable) == ("closing", False)
    seat.session.send("after")
    seat.session.send(b"after")
    if ends == "well":
        assert polling.paused is not None
        polling.paused()
    else:
        websocket.lose()
    assert (seat.session.state, seat.ends) == ("closed", ["forced close"])
    assert [packet for packet in polling.sent + websocket.sent if packet not in (b"2probe", b"5")] == [b"4before"]


@pytest.mark.feature("V42")
def test_closing_when_the_upgrade_fails():
    """A close that waits for an upgrade which fails ends the session on polling, after what waits."""
    seat = upgrading()
    polling, websocket = seat.wires
    seat.session.send("last words")
    seat.session.close()
    websocket.lose()
    assert (polling.sent, polling.did[-1], seat.ends) == ([b"4last words"], "close", ["forced close"])


@pytest.mark.feature("V42")
def test_closing_before_the_probe_is_answered():
    """A close while the probe is on its way ends the session at once, and drops the new connection."""
    seat = Seat()
    seat.shake()
    polling, websocket = seat.wires
    seat.session.close()
    assert (polling.did[-1], websocket.did[-1], seat.ends) == ("close", "abort", ["forced close"])


@pytest.mark.feature("V42")
def test_closing_while_opening():
    """A close before the handshake drops the attempt."""
    seat = Seat()
    seat.session.close()
    assert (seat.wire.did, seat.ends, seat.session.state) == (["open", "abort"], ["forced close"], "closed")
    seat.shake()
    assert seat.told == [("close", "forced close", None)]


def test_after_the_end_nothing_is_sent(seat: Seat):
    """A session that has ended sends nothing, hears nothing, and ends once."""
    wire = seat.wire
    session = wire.session
    seat.session.close()
    sent = list(wire.sent)
    seat.session.send("too late")
    session.on_text(b"4too late")
    seat.session.close()
    session.fail("transport error", "again")
    assert (wire.sent, seat.heard, seat.ends) == (sent, [], ["forced close"])


def test_the_server_closes(seat: Seat):
    """The server's close packet ends the session as the transport's end."""
    seat.wire.receive("1")
    assert seat.ends == ["transport close"]


def test_the_wire_is_lost(seat: Seat):
    """A transport error is an error with the transport's name, whatever the transport said of it."""
    seat.wire.lose("cable cut")
    ((_, reason, error),) = seat.told[1:]
    assert reason == "transport error"
    assert isinstance(error, ConnectionFailed)
    assert (error.transport, str(error)) == ("websocket", "websocket error: cable cut")


# -------------------------------------------------------------------------------------------------- which transports


@pytest.mark.feature("V10")
def test_only_the_first_transport_is_tried():
    """By default the next transport is not tried when the first one fails."""
    seat = Seat(transports=["websocket", "polling"])
    seat.wire.lose()
    assert [wire.name for wire in seat.wires] == ["websocket"]
    assert seat.ends == ["transport error"]


@pytest.mark.feature("V13")
def test_all_transports_are_tried():
    """With `try_all_transports` the next one is tried when one fails while opening, and none once it is open."""
    seat = Seat(transports=["websocket", "polling"], try_all_transports=True)
    seat.wire.lose()
    assert [wire.name for wire in seat.wires] == ["websocket", "polling"]
    assert (seat.ends, seat.wire.did) == ([], ["open"])
    seat.shake(seat.wire, upgrades=[])
    seat.wire.lose()
    assert (seat.ends, len(seat.wires)) == (["transport error"], 2)
    last = Seat(transports=["websocket", "polling"], try_all_transports=True)
    last.wire.lose()
    last.wire.lose("both")
    assert last.ends == ["transport error"]
    assert "polling error: both" in str(last.told[0][2])


@pytest.mark.feature("V14")
def test_what_worked_is_remembered():
    """After an upgrade a new session begins with WebSocket if it has asked for that, until one fails."""
    upgrading().wires[0].paused()  # type: ignore[misc]
    assert Seat().wire.name == "polling"
    remembering = Seat(remember_upgrade=True)
    assert remembering.wire.name == "websocket"
    assert Seat(remember_upgrade=True, transports=["polling"]).wire.name == "polling"
    remembering.wire.lose()
    assert Seat(remember_upgrade=True).wire.name == "polling"


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.feature("V28")
def test_too_large_for_the_server():
    """A message above `maxPayload` is refused before it is sent; base64 is counted where it is used."""
    polling, websocket = Seat(transports=["polling"]), Seat(transports=["websocket"])
    base64 = Seat(transports=["websocket"], force_base64=True)
    for seat in (polling, websocket, base64):
        seat.shake()
        seat.session.send("x" * 99)
        with pytest.raises(PayloadTooLarge) as caught:
            seat.session.send("x" * 100)
        assert (caught.value.size, caught.value.limit) == (101, 100)
        assert seat.wire.sent.pop() == b"4" + b"x" * 99
        assert seat.wire.sent == []
    websocket.session.send(bytes(100))
    for seat, size in ((polling, 73), (base64, 73), (websocket, 101)):
        with pytest.raises(PayloadTooLarge):
            seat.session.send(bytes(size))
    polling.session.send(bytes(72))
    base64.session.send(bytes(72))


@pytest.mark.feature("V28")
def test_a_server_without_a_limit():
    """A server that names no `maxPayload` takes anything."""
    seat = Seat(transports=["websocket"])
    seat.shake(maxPayload=None)
    seat.session.send("x" * 10_000_000)
    assert len(seat.wire.sent[0]) == 10_000_001
