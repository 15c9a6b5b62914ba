"""Any worker may get any request of any session: nothing in front of them needs to know which is which."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import madang
from tests.client.tools import WAYS, Papers, upgraded
from tests.conformance.wire import SOCKET, Polling, address, before, browser, refusal, tcp, websocket
from tests.workers.crew import Place, crew, process_of

pytestmark = pytest.mark.feature("S14", "B13", "B15")

MANY = 24


async def test_a_session_is_served_whoever_gets_its_requests(workers: Place):
    """Each request of a polling session comes on a connection of its own, and all of them find the session."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        served: Counter[str] = Counter()
        for _ in range(MANY):
            polling = await Polling.open(http, SOCKET)
            served[polling.sid[:2]] += 1
            await polling.send("40")
            joined = await polling.packets()
            assert joined[0].startswith("40")
            await polling.send('420["echo",1]')
            assert await polling.packets() == ["430[1]"]
        assert len(served) > 1, "the kernel has given all connections to one worker"


@pytest.mark.parametrize("way", ["polling", "upgrade", "websocket"])
async def test_clients_over_every_transport(way: str, workers: Place):
    """Clients poll, upgrade and stay, each with one worker from the beginning to the end."""
    clients = [
        madang.Client(workers.url, transports=WAYS[way], force_new=True, reconnection=False) for _ in range(MANY)
    ]
    try:
        for client in clients:
            await client.connected
        first = [await process_of(client) for client in clients]
        if way == "upgrade":
            for client in clients:
                await before(10, upgraded(client), "the upgrade")
        for number, client in enumerate(clients):
            assert await client.emit_with_ack("echo", number, b"\x00\xff") == (number, b"\x00\xff")
        assert [await process_of(client) for client in clients] == first
        assert len(set(first)) > 1
    finally:
        for client in clients:
            await client.close()


async def test_an_upgrade_is_handed_over(workers: Place):
    """A WebSocket for a session of another worker becomes that worker's own, with all that was sent on it."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        for _ in range(MANY):
            polling = await Polling.open(http, SOCKET)
            async with websocket(workers.url, SOCKET, polling.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                await ws.send("5", "40", '420["echo","after"]')
                assert (await ws.text()).startswith("40")
                assert await ws.text() == '430["after"]'


async def test_a_kept_connection_carries_many_sessions(workers: Place):
    """A connection of a proxy, with requests of many sessions one after the other, goes from worker to worker."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        sessions = [(await Polling.open(http, SOCKET)).sid for _ in range(MANY)]
        assert len({sid[:2] for sid in sessions}) > 1
        async with tcp(workers.url) as connection:
            for sid in sessions:
                await connection.write(
                    f"POST {address(SOCKET, 'polling', sid)} HTTP/1.1", "Host: x", "Content-Length: 2", body=b"40"
                )
                status, _, body = await connection.answer()
                assert (status, body) == (200, b"ok")
                await connection.write("GET /other HTTP/1.1", "Host: x")
                status, _, body = await connection.answer()
                assert status == 200
                assert int(body) in workers.workers()


async def test_a_request_that_comes_in_pieces(workers: Place):
    """The line that names the session may come byte by byte, and the body in pieces, before or after the handover."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        for _ in range(MANY):
            sid = (await Polling.open(http, SOCKET)).sid
            line = f"POST {address(SOCKET, 'polling', sid)} HTTP/1.1\r\n"
            async with tcp(workers.url) as connection:
                for piece in (line[:25], line[25:40], line[40:] + "Host: x\r\nContent-", "Length: 2\r\n\r\n4"):
                    await connection.more(piece.encode())
                await connection.more(b"0")
                status, _, body = await connection.answer()
                assert (status, body) == (200, b"ok")


async def test_a_large_body_is_handed_over_whole(workers: Place):
    """What has been read of a large body goes along; what has not follows by itself."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        text = "x" * 900_000
        for _ in range(6):
            polling = await Polling.open(http, SOCKET)
            await polling.send("40")
            await polling.packets()
            await polling.send(f'420["echo","{text}"]')
            assert await polling.packets() == [f'430["{text}"]']


@pytest.mark.parametrize("sid", ["zz" + "A" * 20, "0", "00", "", "__", "0%30abc"])
async def test_a_session_of_nobody(sid: str, workers: Place):
    """A session of a worker that is not there, or of none, is unknown, as on a single server."""
    async with browser(workers.url) as http:
        answer = await http.get(f"{SOCKET}?EIO=4&transport=polling&sid={sid}")
        if sid:
            assert refusal(answer) == (400, 1)
        else:
            assert answer.status_code in (200, 400)


async def test_the_clients_address(workers: Place):
    """A client that was handed over has its own address, not that of a worker; a proxy's header counts as before."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        for number in range(MANY):
            polling = await Polling.open(http, SOCKET)
            forwarded = {"x-forwarded-for": f"203.0.113.{number}"}
            await polling.post("40", headers=forwarded)
            await polling.packets()
            await polling.send('420["who"]')
            assert '"127.0.0.1"' in (await polling.packets())[0]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates."""
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.mark.parametrize("way", ["polling", "upgrade"])
async def test_over_tls(way: str, papers: Papers):
    """Over TLS, which cannot be handed over, requests and upgrades are relayed to the worker they belong to."""
    certificate, key = papers.server
    options: Any = {"ssl_certfile": certificate, "ssl_keyfile": key}
    async with crew(workers=2, **options) as workers:
        assert workers.url.startswith("https")
        clients = [
            madang.Client(
                workers.url.replace("127.0.0.1", "localhost"),
                transports=WAYS[way],
                force_new=True,
                ssl_context=papers.trusting(),
                reconnection=False,
            )
            for _ in range(12)
        ]
        try:
            for client in clients:
                await client.connected
                if way == "upgrade":
                    await before(10, upgraded(client), "the upgrade")
            pids = {await process_of(client) for client in clients}
            assert len(pids) > 1
            await asyncio.gather(*(client.emit_with_ack("echo", "x" * 300_000, timeout=10) for client in clients))
        finally:
            for client in clients:
                await client.close()
