"""The native host's door: however a WebSocket handshake arrives, it is understood, and everything else is uvicorn's."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect

from madang import ASGIApp, OptionError, Server, Socket
from tests.conformance.wire import DEADLINE, SOCKET, address, before, browser
from tests.hostile.raw import TEXT, Raw, connection, handshake, text
from tests.hosts import listening


def server(**options: Any) -> Server:
    io = Server(**options)

    @io.on("who am i")
    def who(socket: Socket) -> Any:
        return [socket.handshake.address, socket.handshake.secure, socket.handshake.headers.get("x-mine")]

    return io


async def who(client: Raw) -> Any:
    """Join over an open WebSocket whose head has been read, and ask."""
    assert (await client.receive())[1].startswith(b"0{")
    await client.send(text("40"), text('421["who am i"]'))
    assert (await client.receive())[1].startswith(b"40{")
    opcode, answer = await client.receive()
    assert opcode == TEXT
    return answer


async def accepted(client: Raw) -> bytes:
    head = await before(DEADLINE, client.reader.readuntil(b"\r\n\r\n"), "the response 101")
    assert head.startswith(b"HTTP/1.1 101"), head
    return head


@pytest.mark.feature("B1", "E1")
async def test_handshake_in_pieces() -> None:
    """A handshake that arrives byte by byte, or cut anywhere, opens a WebSocket."""
    async with listening(server()) as url:
        request = handshake(url, address(SOCKET, "websocket"), "X-Mine: yes")
        for size in (1, 7, 40, len(request) - 2):
            async with connection(url) as client:
                for begin in range(0, len(request), size):
                    await client.send(request[begin : begin + size])
                    await asyncio.sleep(0)
                await accepted(client)
                assert await who(client) == b'431[["127.0.0.1",false,"yes"]]'


@pytest.mark.feature("B1", "E1")
async def test_handshake_on_a_used_connection() -> None:
    """A connection that has carried HTTP requests may become a WebSocket."""
    async with listening(server()) as url, connection(url) as client:
        for _ in range(2):
            await client.send(f"GET {address(SOCKET, 'x')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await client.reader.readexactly(length)
        await client.send(handshake(url, address(SOCKET, "websocket")))
        await accepted(client)
        assert await who(client) == b'431[["127.0.0.1",false,null]]'


@pytest.mark.feature("B1", "E1")
async def test_frames_behind_the_handshake() -> None:
    """Frames that arrive in the same bytes as the handshake are not lost."""
    async with listening(server()) as url, connection(url) as client:
        await client.send(handshake(url, address(SOCKET, "websocket")) + text("40") + text('421["who am i"]'))
        await accepted(client)
        assert [(await client.receive())[1][:2] for _ in range(3)] == [b"0{", b"40", b"43"]


@pytest.mark.feature("B10", "B2")
async def test_everything_else() -> None:
    """Other paths, WebSockets among them, go to the other application."""

    async def other(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["path"].encode()})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["path"]})
            await send({"type": "websocket.close"})

    io = server()
    running = await io.start(port=0, app=other)
    try:
        where = urlsplit(running.url).netloc
        async with browser(running.url) as http:
            assert (await http.get("/elsewhere")).text == "/elsewhere"
            assert (await http.get("/socket.iox")).text == "/socket.iox"
            assert (await http.get(address(SOCKET, "polling"))).text.startswith("0{")
        for path in ("/elsewhere", "/socket.iox", "/"):
            async with connect(f"ws://{where}{path}", proxy=None) as ws:
                assert await ws.recv() == path
        async with connection(running.url) as client:
            await client.send(handshake(running.url, address(SOCKET, "websocket")))
            await accepted(client)
            await who(client)
    finally:
        await running.stop()


@pytest.mark.feature("B1", "D1")
async def test_answers_are_not_held_back() -> None:
    """On any loop small answers leave at once: none waits for the peer to acknowledge the one before."""
    io = server()
    running = await io.start(port=0)
    try:
        async with connection(running.url) as client:
            begun = asyncio.get_running_loop().time()
            for _ in range(20):
                await client.send(f"GET {address(SOCKET, 'polling')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = await before(DEADLINE, client.reader.readuntil(b"\r\n\r\n"), "a response")
                await client.reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            assert asyncio.get_running_loop().time() - begun < 0.5
    finally:
        await running.stop()


class TestProxies:
    @pytest.mark.feature("G13")
    async def test_trusted(self) -> None:
        """What a trusted proxy tells of the client's address and scheme is believed, on both transports."""
        headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
        async with listening(server()) as url:
            async with connection(url) as client:
                lines = [f"{name}: {value}" for name, value in headers.items()]
                await client.send(handshake(url, address(SOCKET, "websocket"), *lines))
                await accepted(client)
                assert await who(client) == b'431[["203.0.113.9",true,null]]'
            assert await _polled(url, headers) == '431[["203.0.113.9",true,null]]'

    @pytest.mark.feature("G13")
    async def test_not_trusted(self) -> None:
        """From anybody else the same headers are not believed."""
        io = server()
        running = await io.start(port=0, forwarded_allow_ips="192.0.2.1")
        try:
            async with connection(running.url) as client:
                request = handshake(running.url, address(SOCKET, "websocket"), "X-Forwarded-For: 203.0.113.9")
                await client.send(request)
                await accepted(client)
                assert await who(client) == b'431[["127.0.0.1",false,null]]'
            assert await _polled(running.url, {"x-forwarded-for": "1.2.3.4"}) == '431[["127.0.0.1",false,null]]'
        finally:
            await running.stop()


async def _polled(url: str, headers: dict[str, str]) -> str:
    async with browser(url, headers=headers) as http:
        sid = (await http.get(address(SOCKET, "polling"))).text.split('"sid":"')[1][:20]
        target = address(SOCKET, "polling", sid)
        await http.post(target, content='40\x1e421["who am i"]')
        return (await http.get(target)).text.split("\x1e")[-1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


@pytest.mark.feature("B9")
@pytest.mark.parametrize("how", ["absent", "junk", "no key"])
async def test_a_certificate_that_cannot_be_used(certificate: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    """The server does not start, and the error names both files."""
    cert, key = certificate
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    files = {"absent": (str(tmp_path / "none"), str(key)), "junk": (str(cert), str(junk)), "no key": (str(junk), None)}
    named, other = files[how]
    with pytest.raises(OptionError, match=r"cannot be used .ssl_certfile=.*ssl_keyfile="):
        await server().start(port=0, ssl_certfile=named, ssl_keyfile=other)


@pytest.mark.feature("B1", "B9", "G13")
async def test_tls(certificate: tuple[Path, Path]) -> None:
    """With a certificate the native host speaks https and wss, and a socket knows that it is secure."""
    cert, key = certificate
    io = server()
    running = await io.start(port=0, ssl_certfile=str(cert), ssl_keyfile=str(key))
    try:
        trust = ssl.create_default_context(cafile=str(cert))
        where = f"127.0.0.1:{running.port}"
        async with connect(f"wss://{where}{address(SOCKET, 'websocket')}", ssl=trust, proxy=None) as ws:
            await ws.recv()
            await ws.send("40")
            await ws.recv()
            await ws.send('421["who am i"]')
            assert await ws.recv() == '431[["127.0.0.1",true,null]]'
            await ws.send('421["who am i","' + "x" * 200_000 + '"]')
            assert await ws.recv() == '431[["127.0.0.1",true,null]]'
        async with httpx.AsyncClient(verify=trust, trust_env=False) as http:
            assert (await http.get(f"https://{where}{address(SOCKET, 'polling')}")).text.startswith("0{")
        assert running.url.startswith("https://")
    finally:
        await running.stop()


@pytest.mark.feature("B4", "B3")
@pytest.mark.parametrize("root", ["/api", "/api/v1"])
async def test_root_path(root: str) -> None:
    """Mounted below another path, the server answers there on both transports and leaves the rest alone."""
    io = server()

    async def mounting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            scope = {**scope, "root_path": root}
        await io(scope, receive, send)

    async with listening(mounting, "uvicorn") as url:
        async with browser(url) as http:
            assert (await http.get(root + address(SOCKET, "polling"))).text.startswith("0{")
            assert (await http.get("/elsewhere")).status_code == 404
        async with connection(url) as client:
            await client.send(handshake(url, root + address(SOCKET, "websocket")))
            await accepted(client)
            await who(client)
        await io.close()


@pytest.mark.feature("A1", "B4")
async def test_foreign_path() -> None:
    """Alone, a server answers 404 below other paths, and tells Socket.IO clients where it is to be found."""
    async with listening(ASGIApp(server()), "uvicorn") as url, browser(url) as http:
        response = await http.get(address("/nowhere", "polling"))
        assert response.status_code == 404
        assert "/socket.io/" in response.text
        assert (await http.get("/nowhere")).text == "Not found.\n"
