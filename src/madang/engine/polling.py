"""HTTP long-polling, the server's side (protocol v4, "HTTP long-polling").

A client holds one GET open, in which messages reach it, and sends with POSTs, one at a time. What is sent while no GET
is open waits; what is sent in one turn of the loop goes in one response.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from ..errors import PacketError
from ..protocol import engineio
from ..protocol.encoded import Encoded
from ..types import TransportName
from .content import compress_body
from .http import Exchange, Request, Response
from .transport import PARSE_ERROR, TRANSPORT_CLOSE, TRANSPORT_ERROR

if TYPE_CHECKING:
    from .engine import Engine
    from .session import Session

COMPRESSION_THRESHOLD: Final = 1024
"""Bytes from which on a response is compressed."""

_NOT_DIGITS: Final = re.compile(r"[^0-9]")
_NEWLINES: Final = re.compile(r"(\\)?\\n")
_NOOP: Final = Encoded(b"6")
_CLOSE: Final = Encoded(b"1")


class PollingTransport:
    """One session's long-polling; see `madang.engine.transport.Transport`.

    Args:
        engine: the engine, for its options and clock.
    """

    name: TransportName = "polling"

    __slots__ = (
        "_ended",
        "_engine",
        "_flushing",
        "_held",
        "_paused",
        "_poll",
        "_post",
        "_queue",
        "buffered",
        "session",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.session: Session | None = None
        self.buffered = 0
        self._queue: list[Encoded] = []
        self._poll: Exchange | None = None
        self._post: Exchange | None = None
        self._held: Exchange | None = None
        self._flushing = False
        self._paused = False
        self._ended = False

    @property
    def writable(self) -> bool:
        """Whether a poll is open with nothing to say yet."""
        return self._poll is not None and not self._queue

    # what the session calls

    def send(self, encoded: Encoded) -> None:
        """Send a message in the open poll, or in the next one."""
        if self.buffered > self._engine.options.outbound_limit and self.session is not None:
            self._engine.over_limit(self.session)
            return
        self._queue.append(encoded)
        self.buffered += len(encoded.payload or encoded.make_payload()) + 1
        if self._poll is not None and not self._flushing:
            self._flushing = True
            self._engine.call_soon(self._flush_now)

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message."""
        self.send(Encoded(packet, (), False))

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """End the open poll with ``1``, after what waits; with none open, the next ones may learn of it."""
        if self._ended:
            return
        self._ended = True
        self._release_post()
        if self._queue and linger:
            self._flush_now()  # what waits goes alone: a client acts on "1" before it looks at what came with it
        if self._poll is not None:
            self._queue.append(_CLOSE)
            self._flush_now()
        elif linger and self.session is not None and not self._engine.closing:
            self._engine.linger(self.session.id, self)
        else:
            self.forget()
        self.session = None

    def forget(self) -> None:
        """Let go of what waits: an `Encoded` is not seen by the cyclic collector, and what it holds may refer to us."""
        self._queue.clear()

    def abort(self) -> None:
        """End the open poll with ``1``; what waits is dropped, and nothing is kept for later polls."""
        self._queue.clear()
        self.close(linger=False)

    def pause_reading(self) -> None:
        """Hold back the answer to POSTs, so that the client sends no more."""
        self._paused = True

    def resume_reading(self) -> None:
        """Answer the POST that was held back."""
        self._paused = False
        held, self._held = self._held, None
        if held is not None:
            self._answer_post(held)

    # what the engine calls

    def poll(self, exchange: Exchange) -> None:
        """A GET of the session."""
        session = self.session
        if self._poll is not None:
            self._refuse(exchange)
            if session is not None:
                session.fail(TRANSPORT_ERROR, "overlap from client")
            return
        self._poll = exchange
        exchange.on_abort = self._poll_aborted
        if self._queue:
            self._flush_now()
        elif self._ended:
            self._queue = [_NOOP, _CLOSE]
            self._flush_now()

    def post(self, exchange: Exchange) -> None:
        """A POST of the session, whose body is still to be read."""
        session = self.session
        if session is None:  # it ended while the request was on its way
            self._refuse(exchange)
            return
        if self._held is not None or (self._post is not None and self._post.open):
            self._refuse(exchange)
            session.fail(TRANSPORT_ERROR, "data request overlap from client")
            return
        headers = exchange.request.headers
        if headers.get("content-type", "").startswith("application/octet-stream"):
            self._refuse(exchange)
            session.fail(TRANSPORT_ERROR, "invalid content")
            return
        limit = self._engine.options.max_http_buffer_size
        length = headers.get("content-length", "")
        exchange.body_limit = limit
        exchange.on_too_large = self._too_large
        if length.isdecimal() and (len(length) > 15 or int(length) > limit):
            exchange.body_too_large()
            return
        self._post = exchange
        exchange.on_body = self._body_received
        exchange.on_abort = self._post_aborted

    def release(self) -> None:
        """Let an idle poll go with ``6``."""
        if self._poll is not None and not self._queue:
            self._queue.append(_NOOP)
            self._flush_now()

    def detach(self) -> list[Encoded]:
        """The session has moved to another transport: let the poll go and hand over what waits."""
        waiting, self._queue = self._queue, []
        self.buffered = 0
        self._ended = True
        self._release_post()
        self.release()
        self.session = None
        return waiting

    def _refuse(self, exchange: Exchange) -> None:
        exchange.respond(self._engine.decorated(Response(400), exchange.request))

    def _too_large(self, exchange: Exchange) -> None:
        exchange.respond(self._engine.decorated(Response(413), exchange.request))

    def _release_post(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._answer_post(held)
        unread, self._post = self._post, None
        if unread is not None:
            self._refuse(unread)

    def _poll_aborted(self) -> None:
        self._poll = None
        self.forget()
        if self.session is not None:
            self.session.transport_closed(self, TRANSPORT_ERROR, "poll connection closed prematurely")
            self.session = None

    def _post_aborted(self) -> None:
        self._post = None
        self._held = None
        self.forget()
        if self.session is not None:
            self.session.transport_closed(self, TRANSPORT_ERROR, "data request connection closed prematurely")
            self.session = None

    def _body_received(self, body: bytes) -> None:
        exchange, self._post = self._post, None
        if exchange is None:
            return
        try:
            packets = engineio.split_payload(_form_data(body) if "j" in exchange.request.query else body)
            whole = self._dispatch(packets)
        except PacketError as error:
            self._refuse(exchange)
            if self.session is not None:
                self.session.fail(PARSE_ERROR, error)
            return
        if whole and self._paused and not self._ended:
            self._held = exchange
        else:
            self._answer_post(exchange, whole)

    def _dispatch(self, packets: list[bytes]) -> bool:
        """Give each packet to the session; False if one of them made it fail."""
        for packet in packets:
            session = self.session
            if session is None:
                return True
            kind = packet[0] if packet else None
            if kind == engineio.MESSAGE:
                session.on_text(packet)
            elif kind == engineio.CLOSE:
                self._client_closed(session)
                return True
            else:
                session.on_control(packet)
            if session.failed:
                return False
        return True

    def _client_closed(self, session: Session) -> None:
        """The client said goodbye: its open poll ends with ``6``."""
        self._ended = True
        self._queue.clear()
        self.release()
        self.session = None
        session.transport_closed(self, TRANSPORT_CLOSE)

    def _answer_post(self, exchange: Exchange, whole: bool = True) -> None:
        response = Response(200, b"ok", "text/html") if whole else Response(400)
        exchange.respond(self._engine.decorated(response, exchange.request))

    def _flush_now(self) -> None:
        self._flushing = False
        exchange = self._poll
        if exchange is None or not self._queue:
            return
        self._poll = None
        queue, self._queue = self._queue, []
        self.buffered = 0
        body = engineio.join_payload([encoded.payload or encoded.make_payload() for encoded in queue])
        compress = any(encoded.compress for encoded in queue)
        exchange.respond(self.response(exchange.request, body, compress=compress))
        if self.session is not None:
            self.session.drained()

    def response(self, request: Request, body: bytes, *, compress: bool, initial: bool = False) -> Response:
        """The answer to a poll: plain, or as the script that a JSONP client asks for."""
        index = request.query.get("j")
        if index is None:
            response = Response(200, body, "text/plain; charset=UTF-8")
        else:
            response = Response(200, _javascript(index, body), "text/javascript; charset=UTF-8")
        options = self._engine.options
        if compress and options.http_compression and len(response.body) >= COMPRESSION_THRESHOLD:
            compress_body(request, response)
        return self._engine.decorated(response, request, initial=initial)


def _javascript(index: str, body: bytes) -> bytes:
    """A poll's answer as a call of the function that a JSONP client has defined."""
    text = json.dumps(body.decode(), ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"___eio[{_NOT_DIGITS.sub('', index)}]({text});".encode()


def _form_data(body: bytes) -> bytes:
    """The payload in a JSONP client's form; its newlines were doubled to survive the form."""
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=8))
    except ValueError as error:
        raise PacketError(f"not a form: {error}") from None
    if "d" not in fields:
        raise PacketError("the form has no field d")
    return _NEWLINES.sub(lambda match: "\\n" if match.group(1) else "\n", fields["d"]).encode()
