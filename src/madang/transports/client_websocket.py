"""WebSocket from the client's side: the handshake is picows', frames are read by `FrameReader` and written by us."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from picows import WSFrame, WSHandshakeError, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse

from ..engine.client_options import ClientEngineOptions
from ..engine.deflate_options import DeflateSettings
from ..engine.transport import TRANSPORT_ERROR
from ..errors import ConnectionFailed
from ..protocol.encoded import Encoded, masked_frame
from .deflate import COMPRESSED, Deflater, Inflater
from .extensions import OFFER, answered
from .reading import SILENT, FrameProtocol, FrameReader
from .refusals import in_few_words, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dialing import Dialer

_TEXT: Final = WSMsgType.TEXT
_MESSAGE: Final = 0x34


class WebSocketClient(FrameReader):
    """One WebSocket to a server; see `madang.engine.client_session.ClientTransport`.

    Args:
        dialer: where the server is.
        options: the options for WebSocket.
        session_id: that of the session that is to be upgraded, or None for a new one.
        session: who gets the packets.
    """

    __slots__ = (
        "_call_soon",
        "_deflate",
        "_deflater",
        "_dialer",
        "_id",
        "_options",
        "_task",
    )

    def __init__(self, dialer: Dialer, options: ClientEngineOptions, session_id: str | None, session: Any) -> None:
        super().__init__(options.max_http_buffer_size)
        self._dialer = dialer
        self._options = options
        self._id = session_id
        self._task: asyncio.Task[Any] | None = None
        self._deflate = DeflateSettings.of(options.per_message_deflate)
        self._deflater: Deflater | None = None
        self._call_soon = asyncio.get_running_loop().call_soon
        self.session = session

    # what the session calls

    def open(self) -> None:
        """Begin the handshake."""
        self._dialer.warn_of_trust()
        self._task = asyncio.get_running_loop().create_task(self._connect())
        self._dialer.tasks.own(self._task)

    def identify(self, session_id: str, max_payload: int | None) -> None:
        """The session's id; of no use here."""

    def pause(self, done: Callable[[], object]) -> None:
        """There is nothing to upgrade to."""
        raise NotImplementedError

    def unpause(self) -> None:
        """See `pause`."""

    def leave(self) -> None:
        """See `pause`."""
        self.abort()

    def send(self, encoded: Encoded) -> None:
        """Send a message when the turn ends."""
        if self._deflater is not None:
            self._send_deflated(encoded, self._deflater)
            return
        frames = self._frames
        if not frames:
            self._call_soon(self.flush)
        text = encoded.text
        if text:
            frame = masked_frame(1, text)
            frames.append(frame)
            self._pending += len(frame)
        for data in encoded.attachments:
            frame = masked_frame(2, data)
            frames.append(frame)
            self._pending += len(frame)
        if self._pending > self._threshold and not self._paused:
            self.flush()

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits and a close frame, and give the server a short time to answer it."""
        if self._ws is None:
            self.abort()
        else:
            super().close(code, linger=linger)

    def abort(self) -> None:
        """Drop the connection, or the attempt to make one."""
        super().abort()
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel("the client has closed")
            task.add_done_callback(lambda _: self._dialer.forget(self))  # it may never have begun
        elif self._ws is None:
            self._dialer.forget(self)

    # the handshake

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._dialer.timeout):
                await self._shake_hands()
        except TimeoutError:
            self._failed(ConnectionFailed("timeout", "no answer to the WebSocket handshake", transport="websocket"))
        except WSHandshakeError as error:
            self._failed(_refused(error))
        except (OSError, ssl.SSLError, ValueError) as error:
            self._failed(_error(error))
        finally:
            self._task = None
            if self._ws is None:
                self._dialer.forget(self)

    async def _shake_hands(self) -> None:
        dialer, address = self._dialer, self._dialer.address
        protocol = FrameProtocol(
            address.netloc,
            dialer.target("websocket", self._id),
            True,  # is_client_side
            self._accepted,
            SILENT,
            True,  # disconnect_on_exception
            None,  # websocket_handshake_timeout: that of the whole attempt holds
            False,  # enable_auto_ping
            20,
            20,
            1,
            False,  # enable_auto_pong: pongs must not pass by the bound on what waits
            self._limit,
            self._headers(),
            16 * 1024,  # read_buffer_init_size
        )
        tls = dialer.tls
        if tls is not None:
            protocol.room = None
        where: dict[str, Any] = {"host": address.host, "port": address.port}
        if self._options.proxy is not None:
            where = {"sock": await self._through_proxy(self._options.proxy)}
            if tls is not None:
                where["server_hostname"] = address.host
        tcp, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, ssl=tls, **where)
        try:
            await protocol.wait_until_handshake_complete()
        except BaseException:
            tcp.abort()
            raise
        if self._ws is None and self.session is not None:
            raise ConnectionResetError("the server closed the connection before it answered the handshake")

    async def _through_proxy(self, url: str) -> Any:
        from python_socks import ProxyError
        from python_socks.async_.asyncio import Proxy

        address = self._dialer.address
        try:
            return await Proxy.from_url(url).connect(address.host, address.port)
        except ProxyError as error:
            raise ConnectionError(f"the proxy: {error}") from error

    def _headers(self) -> list[tuple[str, str]]:
        headers = list(self._options.extra_headers.items())
        cookies = self._dialer.cookies()
        if cookies:
            headers.append(("Cookie", cookies))
        if self._options.protocols:
            headers.append(("Sec-WebSocket-Protocol", ", ".join(self._options.protocols)))
        if self._deflate is not None:
            headers.append(("Sec-WebSocket-Extensions", OFFER))
        return headers

    def _accepted(self, request: WSUpgradeRequest, response: WSUpgradeResponse) -> WebSocketClient:
        """The server has answered 101."""
        self._dialer.learn_cookies(response.headers.getall("Set-Cookie", []))
        extensions = ", ".join(response.headers.getall("Sec-WebSocket-Extensions", []))
        if extensions:
            if self._deflate is None:
                raise WSHandshakeError(f"the server uses an extension that was not offered: {extensions}")
            agreed = answered(extensions)
            if isinstance(agreed, str):
                raise WSHandshakeError(f"the server answers with {agreed}: {extensions}")
            self._deflater = Deflater(self._deflate, agreed.client_bits, agreed.client_takeover)
            self._inflater = Inflater(agreed.server_bits, agreed.server_takeover)
        chosen = response.headers.get("Sec-WebSocket-Protocol")
        if chosen is not None and chosen not in self._options.protocols:
            raise WSHandshakeError(f"the server uses a sub-protocol that was not offered: {chosen}")
        return self

    def _failed(self, error: ConnectionFailed) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, TRANSPORT_ERROR, error)

    # what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._adopt(transport)
        session = self.session
        if session is None:
            self._tcp.abort()
            return
        if self._held:
            self.pause_reading()
        session.transport_opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        session = self.session
        kind = frame.msg_type
        if (
            kind is _TEXT
            and self._fragments is None
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
            and session is not None
            and not transport.is_close_frame_sent  # picows goes on with a frame that it has refused
        ):
            payload = frame.get_payload_as_bytes()
            if payload and payload[0] == _MESSAGE:
                session.on_text(payload)
            else:
                session.on_control(payload)
        else:
            self._other_frame(session if not transport.is_close_frame_sent else None, kind, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has ended."""
        super().on_ws_disconnected(transport)
        self._dialer.forget(self)
        self._call_soon(_look_at_end, transport)

    def resume_writing(self) -> None:
        """The server has caught up."""
        super().resume_writing()
        if self.session is not None and self.session.drain_watched:
            self.session.drained()

    # writing

    def flush(self) -> None:
        """Write all frames that wait with one call."""
        frames = self._frames
        if frames:
            self._pending = 0
            self._frames = []
            self._write(frames[0] if len(frames) == 1 else b"".join(frames))
            session = self.session
            if session is not None and session.drain_watched and not self._paused:
                session.drained()

    def _schedule(self) -> None:
        self._call_soon(self.flush)

    def _frame(self, opcode: int, data: bytes) -> bytes:
        return masked_frame(opcode, data)

    # compression (RFC 7692), without a context that is kept from message to message

    def _send_deflated(self, encoded: Encoded, deflater: Deflater) -> None:
        if encoded.text:
            self._send_frame(self._deflated(1, encoded.text, encoded.compress, deflater))
        for data in encoded.attachments:
            self._send_frame(self._deflated(2, data, encoded.compress, deflater))

    def _deflated(self, opcode: int, data: bytes, compress: bool, deflater: Deflater) -> bytes:
        if not compress or len(data) < deflater.threshold:
            return masked_frame(opcode, data)
        return masked_frame(opcode | COMPRESSED, deflater.deflate(data))


def _look_at_end(transport: WSTransport) -> None:
    """picows keeps a violation for who waits for the end; if nobody does, asyncio complains that it was not seen."""
    waiting = transport.wait_disconnected()
    with suppress(StopIteration, Exception):
        waiting.send(None)
    waiting.close()


def _error(cause: BaseException) -> ConnectionFailed:
    error = ConnectionFailed("websocket error", in_few_words(cause), transport="websocket")
    error.__cause__ = cause
    return error


def _refused(error: WSHandshakeError) -> ConnectionFailed:
    """The server answered, but not with a WebSocket."""
    response = error.response
    if response is None:
        return _error(error)
    failure = refusal(
        "websocket",
        int(response.status),
        (error.raw_body or b"")[:1024],
        response.headers.get("location"),
    )
    failure.__cause__ = error
    return failure
