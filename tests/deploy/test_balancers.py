"""The configurations of nginx and HAProxy that are shipped, run before real servers and used by the stock client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
import websockets

from tests.deploy.conftest import Balanced, Fleet
from tests.server.conftest import MODES
from tests.server.javascript import Js

Balancers = Callable[[Balanced], str]

#: the stock client keeps cookies for this, as browsers do unasked on a page of the same origin
KEEPS_COOKIES = {"withCredentials": True}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("file", get_args(Balanced))
async def test_every_way_passes(file: Balanced, mode: str, balancers: Balancers, js: Js):
    """Polling, WebSocket and the upgrade between them work through the balancer, there and back."""
    client = await js.connect(balancers(file), transports=MODES[mode], **KEEPS_COOKIES)
    if mode == "upgrade":
        await client.upgraded()
    client.emit("say", "hello")
    said = (await client.next("said"))[0]
    assert (said["who"], said["text"]) == (client.id[:4], "hello")
    assert (await client.state())["transport"] == ("polling" if mode == "polling" else "websocket")
    large = "x" * 900_000  # nearly as much as a server takes, in one request
    client.emit("say", large)
    assert (await client.next("said"))[0]["text"] == large


@pytest.mark.parametrize("file", ["nginx-cluster.conf", "haproxy.cfg"])
async def test_polling_clients_stay_with_their_server(file: Balanced, balancers: Balancers, js: Js):
    """Of many clients that poll, each meets one server all the time, and hears what is said on either."""
    url = balancers(file)
    clients = [await js.connect(url, transports=["polling"], **KEEPS_COOKIES) for _ in range(6)]
    for client in clients:
        places = {(await client.emit_with_ack("where"))["server"] for _ in range(4)}
        assert len(places) == 1, f"{places}: its requests went to several servers"
    clients[0].emit("say", "hello")
    for client in clients:
        assert (await client.next("said"))[0]["text"] == "hello"


async def test_haproxy_spreads_clients(fleet: Fleet, balancers: Balancers, js: Js):
    """HAProxy gives new clients to the server that has fewer, and what is said on one is heard on the other."""
    url = balancers("haproxy.cfg")
    clients = [await js.connect(url) for _ in range(4)]
    places = [(await client.emit_with_ack("where"))["server"] for client in clients]
    assert set(places) == set(fleet.cluster)
    clients[0].emit("say", "hello")
    for client in clients:
        assert (await client.next("said"))[0]["server"] == places[0]


class RawClient:
    """A WebSocket client that chooses its own address, which the stock one does not offer."""

    def __init__(self, address: str, url: str, **headers: str) -> None:
        uri = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        self._connecting = websockets.connect(uri, local_addr=(address, 0), additional_headers=headers)

    async def where(self) -> dict[str, Any]:
        """What the server says of itself and of this client."""
        async with asyncio.timeout(5), self._connecting as connection:
            await connection.recv()
            await connection.send("40")
            await connection.recv()
            await connection.send('420["where"]')
            answer = str(await connection.recv())
        assert answer.startswith("430[")
        (told,) = json.loads(answer[3:])
        return told


@pytest.mark.parametrize("file", get_args(Balanced))
async def test_the_address_is_the_clients(file: Balanced, balancers: Balancers):
    """A server knows its client's address, not the balancer's, and not what the client says it is."""
    told = await RawClient("127.0.0.9", balancers(file), **{"X-Forwarded-For": "192.0.2.1"}).where()
    assert (told["address"], told["secure"]) == ("127.0.0.9", False)


async def test_nginx_spreads_addresses(fleet: Fleet, balancers: Balancers):
    """nginx gives all connections of an address to one server, and other addresses to the other."""
    url = balancers("nginx-cluster.conf")
    places: dict[str, set[str]] = {}
    for number in (*range(2, 18), *range(2, 6)):
        address = f"127.0.1.{number}"
        places.setdefault(address, set()).add((await RawClient(address, url).where())["server"])
    assert all(len(servers) == 1 for servers in places.values())
    assert set.union(*places.values()) == set(fleet.cluster)
