"""An engine without a host: exchanges and transports that a test holds in its hands."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode

from madang.engine import Engine, Request, Response, Session
from madang.engine.http import Exchange
from madang.protocol.encoded import Encoded
from madang.types import TransportName
from tests.engine.clocks import ManualClock


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def request(method: str = "GET", headers: dict[str, str] | None = None, **query: str) -> Request:
    """A request below the engine's path."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    asked = urlencode({"EIO": "4", **query})
    return Request(method, "/engine.io/", asked, raw, received_at=0.0, remote=("127.0.0.1", 1))


class Answer:
    """A request that was made, and its response when it has come."""

    def __init__(self, engine: Engine, method: str, body: bytes | None, **query: str) -> None:
        self.response: Response | None = None
        self.exchange = Exchange(request(method, **query), self._answered)
        finish(engine.handle(self.exchange))
        if body is not None:
            self.exchange.body_complete(body)

    def _answered(self, response: Response) -> None:
        assert self.response is None, "answered twice"
        self.response = response

    @property
    def packets(self) -> list[bytes]:
        assert self.response is not None
        assert self.response.status == 200
        return self.response.body.split(b"\x1e")


class Line:
    """A WebSocket transport that keeps what is sent."""

    name: TransportName = "websocket"
    writable = True
    buffered = 0

    def __init__(self) -> None:
        self.session: Any = None
        self.sent: list[bytes] = []
        self.closed: int | None = None
        self.aborted = False

    def send(self, encoded: Encoded) -> None:
        assert self.closed is None
        self.sent += [encoded.text] if encoded.text else []
        self.sent += encoded.attachments

    def send_control(self, packet: bytes) -> None:
        self.sent.append(packet)

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        self.closed = code
        self.session = None

    def abort(self) -> None:
        self.aborted = True
        self.session = None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def receive(self, packet: str) -> None:
        """The client sends a packet."""
        if self.session is not None:
            data = packet.encode()
            (self.session.on_text if packet[:1] == "4" else self.session.on_control)(data)

    def lose(self) -> None:
        """The connection breaks."""
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, "transport close")


class Bench:
    """An engine, its clock, and the sessions on it."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.engine = Engine(**options)
        self.engine.bind(self.clock)
        self.ends: list[str] = []
        self.heard: list[str | bytes] = []
        self.told: list[str] = []
        self.session: Session = None  # type: ignore[assignment]
        self.engine.on("connection", self._connected)

    def _connected(self, session: Session) -> None:
        self.session = session
        session.on("message", self.heard.append)
        session.on("close", lambda reason, _: self.ends.append(reason))
        for event in ("heartbeat", "upgrading", "upgrade"):
            session.on(event, lambda *_, event=event: self.told.append(event))

    def dial(self, **query: str) -> Line:
        """A WebSocket handshake."""
        asked = request(transport="websocket", **query)
        admission = finish(self.engine.admit(asked))
        line = Line()
        self.engine.opened(admission, line, asked)
        return line

    def get(self, **query: str) -> Answer:
        return Answer(self.engine, "GET", None, transport="polling", **query)

    def post(self, body: str, **query: str) -> Answer:
        return Answer(self.engine, "POST", body.encode(), transport="polling", **query)

    def polling(self) -> str:
        """A polling handshake; the session's id."""
        answer = self.get()
        assert answer.packets[0].startswith(b"0{")
        return self.session.id
