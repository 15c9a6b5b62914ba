"""Polling, upgrade and WebSocket in every interleaving: nothing lost, nothing twice, everything in order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.engine.wires import Answer, Bench, Line


class Transports(RuleBasedStateMachine):
    """A client that behaves, on a network that may break its probes at any time."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(ping_interval=1000.0, ping_timeout=1000.0, upgrade_timeout=10.0)
        self.sid = self.bench.polling()
        self.poll: Answer | None = None
        self.probe: Line | None = None
        self.line: Line | None = None
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.posted: list[str] = []

    # the server

    @rule(count=st.integers(1, 3))
    def server_sends(self, count: int) -> None:
        for _ in range(count):
            number = len(self.sent)
            self.bench.session.send(f"{number}" if number % 3 else b"%d" % number)
            self.sent.append(b"%d" % number)

    @rule()
    def turn(self) -> None:
        self.bench.clock.turn()
        self._read_poll()

    @rule(seconds=st.sampled_from([0.05, 0.1, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)
        self._read_poll()
        self._look_at_probe()

    # the client

    @precondition(lambda self: self.poll is None and self.line is None)
    @rule()
    def client_polls(self) -> None:
        self.poll = self.bench.get(sid=self.sid)
        self._read_poll()

    @rule(count=st.integers(1, 4))
    def client_sends(self, count: int) -> None:
        messages = [f"{len(self.posted) + index}" for index in range(count)]
        self.posted += messages
        if self.line is not None:
            for message in messages:
                self.line.receive(f"4{message}")
        else:
            answer = self.bench.post("\x1e".join(f"4{message}" for message in messages), sid=self.sid)
            assert answer.packets == [b"ok"]

    @precondition(lambda self: self.probe is None and self.line is None)
    @rule()
    def client_probes(self) -> None:
        self.probe = self.bench.dial(sid=self.sid)
        self.probe.receive("2probe")
        assert self.probe.sent == [b"3probe"]

    @precondition(lambda self: self.probe is not None)
    @rule(how=st.sampled_from(["lost", "wrong packet", "message"]))
    def probe_fails(self, how: str) -> None:
        assert self.probe is not None
        if how == "lost":
            self.probe.lose()
        else:
            self.probe.receive("x" if how == "wrong packet" else "4too early")
        self.probe = None

    @precondition(lambda self: self.probe is not None and self.poll is None)
    @rule()
    def client_commits(self) -> None:
        assert self.probe is not None
        self.line, self.probe = self.probe, None
        self.line.receive("5")

    # what must hold

    def _read_poll(self) -> None:
        if self.poll is not None and self.poll.response is not None:
            for packet in self.poll.packets:
                if packet != b"6":
                    self._take(packet)
            self.poll = None

    def _take(self, packet: bytes) -> None:
        from base64 import b64decode

        assert packet[:1] in (b"4", b"b"), packet
        self.received.append(packet[1:] if packet[:1] == b"4" else b64decode(packet[1:]))

    def _look_at_probe(self) -> None:
        if self.probe is not None and self.probe.closed is not None:
            self.probe = None

    def _read_line(self) -> None:
        if self.line is not None:
            for packet in self.line.sent:
                if packet != b"3probe":
                    self.received.append(
                        packet[1:] if len(packet) > 1 and packet[:1] == b"4" and self._is_text() else packet
                    )
            self.line.sent.clear()

    def _is_text(self) -> bool:
        return len(self.received) % 3 != 0

    @invariant()
    def in_order(self) -> None:
        if hasattr(self, "bench"):
            self._read_line()
            assert self.received == self.sent[: len(self.received)]
            assert self.bench.heard == self.posted
            assert self.bench.ends == []

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        for _ in range(3):
            if self.line is None and self.poll is None:
                self.client_polls()
            self.turn()
        self.in_order()
        assert self.received == self.sent
        self.bench.session.close(discard=True)
        assert not self.bench.engine.sessions
        self.bench.engine.timetable.stop()
        assert self.bench.clock.timers == []


Transports.TestCase.settings = settings(settings.default, max_examples=60, stateful_step_count=30)
TestTransports = pytest.mark.feature("I1", "I3", "I4", "I5", "I6")(Transports.TestCase)
