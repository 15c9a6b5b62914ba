"""What goes wrong, and who hears of it: `on_error`, `error`, `connect_error`."""

from __future__ import annotations

import logging

import pytest

import madang
from tests.server.javascript import ConnectRefused, Heard, Js


@pytest.mark.feature("L12")
async def test_a_failure_is_reported_once(js: Js, io: madang.Server, heard: Heard, caplog: pytest.LogCaptureFixture):
    """It is logged once, with event, namespace and id, given to `on_error` and then to the socket's `error`."""

    @io.on_error
    async def failed(error, socket, event):
        heard("on_error", str(error), event)

    @io.of("/chat").on("boom")
    async def boom(socket, value):
        raise RuntimeError(f"boom {value}")

    io.of("/chat").on("connection", lambda socket: socket.on("error", lambda error: heard("error", str(error))))
    client = await js.connect(io, "/chat")
    with caplog.at_level(logging.ERROR, "madang"):
        answer = await client.emit_with_ack("boom", 1)
    assert answer == {"error": {"code": "internal_error", "message": "internal error"}}
    assert heard.all == [("on_error", "boom 1", "boom"), ("error", "boom 1")]
    (record,) = caplog.records
    assert record.getMessage() == f"the handler of 'boom' in /chat for {client.id} failed"
    assert record.exc_info is not None


@pytest.mark.feature("L12")
@pytest.mark.usefixtures("mode")
async def test_without_an_ack_the_client_is_not_told(js: Js, io: madang.Server, heard: Heard):
    """An unexpected exception tells the client nothing unless it asked for an ack; the next event is handled."""
    io.on_error(lambda error, socket, event: heard(event))

    @io.on("boom")
    def boom(socket):
        raise RuntimeError

    io.on("alive", lambda socket: True)
    client = await js.connect(io)
    client.emit("boom")
    assert await heard.next() == "boom"
    assert await client.emit_with_ack("alive") is True
    assert client.received == []


@pytest.mark.feature("L12")
async def test_a_failing_connection_handler(js: Js, io: madang.Server, heard: Heard):
    """A `connection` handler that fails is reported; the client is connected, and the next handler is called."""
    io.on_error(lambda error, socket, event: heard("on_error", event))

    @io.on("connection")
    async def fail(socket):
        socket.on("error", lambda error: heard("error", str(error)))
        raise RuntimeError("half way")

    io.on("connection", lambda socket: heard("second"))
    client = await js.connect(io)
    assert heard.all == [("on_error", "connection"), ("error", "half way"), "second"]
    assert client.id in io.sockets


@pytest.mark.feature("L12")
async def test_failing_error_handlers(js: Js, io: madang.Server, heard: Heard):
    """Error handlers that fail themselves are logged, and go round no circle."""

    @io.on_error
    async def first(error, socket, event):
        raise RuntimeError

    io.on_error(lambda error: heard(str(error)))

    @io.on("connection")
    def connected(socket):
        @socket.on("error")
        def error(error):
            raise ValueError("in error")

    @io.on("boom")
    def boom(socket):
        raise RuntimeError("boom")

    client = await js.connect(io)
    await client.emit_with_ack("boom")
    assert heard.all == ["boom", "in error"]


@pytest.mark.feature("L11", "L7")
async def test_a_client_s_own_error_event(js: Js, io: madang.Server, heard: Heard):
    """A client's event `error` is a client's event: the socket's own `error` handler is not for it."""
    io.on("connection", lambda socket: socket.on("error", lambda error: heard("local", error)))
    client = await js.connect(io)
    io.on("error", lambda socket, value: heard("remote", value))
    client.emit("error", "from the client")
    assert await heard.next() == ("remote", "from the client")
    assert len(heard.all) == 1


@pytest.mark.feature("C9", "J3")
async def test_connect_error_for_an_unknown_namespace(js: Js, io: madang.Server, heard: Heard):
    """The server hears which namespace a client wanted."""

    @io.on("connect_error")
    async def refused(refusal):
        heard(refusal)

    with pytest.raises(ConnectRefused):
        await js.connect(io, "/nowhere")
    refusal = await heard.next()
    assert (refusal.code, refusal.message) == (None, "Invalid namespace")
    assert refusal.context["name"] == "INVALID_NAMESPACE"
    assert refusal.context["namespace"] == "/nowhere"
    assert refusal.request.headers["host"].startswith("127.0.0.1:")


@pytest.mark.feature("C9", "A5", "C4")
@pytest.mark.parametrize(
    ("options", "client", "code", "message"),
    [
        ({"transports": ["websocket"]}, {"transports": ["polling"]}, 0, "Transport unknown"),
        ({"transports": ["polling"]}, {"transports": ["websocket"]}, 0, "Transport unknown"),
        ({}, {"extraHeaders": {"origin": "http://evil.example"}, "transports": ["polling"]}, 4, None),
        ({}, {"extraHeaders": {"origin": "http://evil.example"}}, 4, None),
    ],
)
async def test_connect_error_for_a_refused_handshake(
    js: Js, heard: Heard, options: dict[str, object], client: dict[str, object], code: int, message: str | None
):
    """The server hears of handshakes that the engine refuses, with the code that the client is told."""
    io = madang.Server(**options)  # type: ignore[arg-type]
    io.on("connect_error", heard)
    with pytest.raises(ConnectRefused):
        await js.connect(io, **client)
    refusal = await heard.next()
    assert refusal.code == code
    assert message in (None, refusal.message)
    assert refusal.request.path == "/socket.io/"


@pytest.mark.feature("C9", "L12")
async def test_a_failing_connect_error_handler(js: Js, io: madang.Server, heard: Heard):
    """A `connect_error` handler that fails is reported, and the client is refused all the same."""
    io.on_error(lambda error, socket, event: heard(str(error), socket, event))

    @io.on("connect_error")
    def fail(refusal):
        raise RuntimeError("no")

    with pytest.raises(ConnectRefused, match="Invalid namespace"):
        await js.connect(io, "/nowhere")
    assert heard.all == [("no", None, "connect_error")]
