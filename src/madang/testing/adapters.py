"""What every adapter must do, as tests that one of your own can be put to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, ClassVar, Final

from ..adapters.sources import AdapterOption
from ..server.server import Server
from ..server.socket import Socket
from .client import MemoryClient, connect

PATIENCE: Final = 10.0
"""Seconds in which whatever is awaited must come."""

PAUSE: Final = 0.005
"""Seconds after which what nothing tells of is looked at again."""


async def soon(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nothing tells of."""
    for _ in range(int(PATIENCE / PAUSE)):
        if holds():
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError(f"something has not come about within {PATIENCE} seconds")


class AdapterBehaviour:
    """Tests of an adapter; see docs/adapters.md. Subclass it in a test module, under a name that begins with `Test`.

    ::

        class TestMine(madang.testing.AdapterBehaviour):
            servers = 2

            def adapter(self):
                return MyAdapter("somewhere")

    The tests are coroutine functions, for which pytest needs a plugin; with pytest-asyncio in its strict mode, mark the
    class.

    Attributes:
        servers: how many servers make a cluster in each test. Default 1, for an adapter that knows no others.
    """

    servers: ClassVar[int] = 1

    def adapter(self) -> AdapterOption:
        """The option `adapter` of one more server of the cluster of this test."""
        raise NotImplementedError("say what `Server(adapter=...)` gets")

    @contextlib.asynccontextmanager
    async def cluster(self, prepare: Callable[[Server], object] = id) -> AsyncGenerator[Cluster]:
        """Servers that know each other, each with one client.

        Args:
            prepare: called with each server before it begins, to register handlers.
        """
        async with contextlib.AsyncExitStack() as stack:
            ios: list[Server] = []
            clients: list[MemoryClient] = []
            for _ in range(self.servers):
                io = Server(adapter=self.adapter())
                prepare(io)
                clients.append(await stack.enter_async_context(connect(io)))
                ios.append(io)
            cluster = Cluster(ios, clients)
            await cluster.complete()
            yield cluster

    async def test_rooms_of_a_socket(self) -> None:
        """A socket is in the room of its own id, and in those that it has joined, told apart by type."""
        async with self.cluster() as cluster:
            socket = cluster.socket(0)
            socket.join("a", 42)
            socket.join("a")
            assert socket.rooms == {socket.id, "a", 42}
            socket.leave("never")
            socket.leave("42")
            assert socket.rooms == {socket.id, "a", 42}
            socket.leave(42)
            assert socket.rooms == {socket.id, "a"}

    async def test_everyone(self) -> None:
        """What is sent to everyone comes to each client of each server once, in the order in which it was sent."""
        async with self.cluster() as cluster:
            for number in range(100):
                cluster.ios[0].emit("n", number, b"\x00")
            for client in cluster.clients:
                assert [await client.receive("n") for _ in range(100)] == [(number, b"\x00") for number in range(100)]
            await cluster.nothing_more()

    async def test_rooms(self) -> None:
        """Who is in several rooms hears it once, who is in none or in one that is left out hears nothing."""
        async with self.cluster() as cluster:
            for number in range(self.servers):
                cluster.socket(number).join("a", f"own {number}")
            cluster.socket(0).join("b")
            await cluster.settled()
            last = self.servers - 1
            cluster.ios[last].to("a", "b").emit("both")
            cluster.ios[last].to("nowhere").emit("nobody")
            cluster.ios[last].to("a").except_(f"own {last}").emit("but one")
            cluster.ios[last].to(cluster.socket(0).id).emit("one")
            for number, client in enumerate(cluster.clients):
                await client.receive("both")
                if number != last:
                    await client.receive("but one")
            await cluster.clients[0].receive("one")
            await cluster.nothing_more()

    async def test_the_others_and_here(self) -> None:
        """A socket's broadcast leaves it out; `local` stays on its server; `volatile` reaches who can be reached."""
        async with self.cluster() as cluster:
            cluster.socket(0).broadcast.emit("others")
            for client in cluster.clients[1:]:
                await client.receive("others")
            cluster.ios[0].local.emit("here")
            await cluster.clients[0].receive("here")
            cluster.ios[0].volatile.emit("now")
            for client in cluster.clients:
                await client.receive("now")
            await cluster.nothing_more()

    async def test_namespaces(self) -> None:
        """A namespace's events and rooms are its own."""

        def prepare(io: Server) -> None:
            @io.of("/chat").on("connection")
            def join(socket: Socket) -> None:
                socket.join("a")

        async with self.cluster(prepare) as cluster:
            beside = [client.of("/chat") for client in cluster.clients]
            heard: list[str] = []

            def note(event: str) -> None:
                heard.append(event)

            for socket in beside:
                socket.on_any(note)
                await socket.connected
            await cluster.settled()
            cluster.ios[-1].to("a").emit("main")
            cluster.ios[-1].of("/chat").to("a").emit("chat")
            await soon(lambda: len(heard) >= self.servers)
            await cluster.nothing_more()
            assert heard == ["chat"] * self.servers

    async def test_moving_sockets(self) -> None:
        """Sockets of all servers join and leave rooms when one server says so."""
        async with self.cluster() as cluster:
            cluster.ios[0].sockets_join("a", "b")
            await cluster.until(lambda socket: {"a", "b"} <= socket.rooms)
            cluster.ios[0].in_("a").sockets_leave("b")
            await cluster.until(lambda socket: "b" not in socket.rooms)
            cluster.ios[0].local.sockets_join("c")
            assert "c" in cluster.socket(0).rooms

    async def test_finding_sockets(self) -> None:
        """The sockets of all servers are found with their rooms and data, and so are the rooms."""
        async with self.cluster() as cluster:
            for number in range(self.servers):
                cluster.socket(number).data["number"] = number
                cluster.socket(number).join("a")
            await cluster.settled()
            found = await cluster.ios[0].in_("a").fetch_sockets()
            assert found.missing == 0
            assert sorted(one.data["number"] for one in found) == list(range(self.servers))
            assert all("a" in one.rooms and one.id in one.rooms for one in found)
            assert len(await cluster.ios[0].local.fetch_sockets()) == 1
            rooms = await cluster.ios[-1].all_rooms()
            assert {"a", *(cluster.socket(number).id for number in range(self.servers))} <= rooms
            assert await cluster.ios[0].in_("nowhere").fetch_sockets() == []

    async def test_questions(self) -> None:
        """Each client that is asked answers once, whatever its server; with nobody to ask there is no answer."""
        async with self.cluster() as cluster:
            for number, client in enumerate(cluster.clients):
                client.on("number", lambda number=number: number)
            answers = await cluster.ios[0].timeout(PATIENCE).emit_with_ack("number")
            assert sorted(answers) == list(range(self.servers))
            assert await cluster.ios[0].to("nowhere").timeout(PATIENCE).emit_with_ack("number") == []

    async def test_servers(self) -> None:
        """Servers are counted, and tell and ask each other, but not themselves."""
        heard: list[Any] = []

        def prepare(io: Server) -> None:
            io.on_server_side("tell")(heard.append)

            @io.on_server_side("ask")
            def ask(number: int) -> int:
                return number + 1

        async with self.cluster(prepare) as cluster:
            others = self.servers - 1
            cluster.ios[0].server_side_emit("tell", {"a": 1})
            assert await cluster.ios[0].server_side_emit_with_ack("ask", 1, timeout=PATIENCE) == [2] * others
            assert heard == [{"a": 1}] * others

    async def test_sending_away(self) -> None:
        """Sockets of all servers are disconnected when one server says so, and nothing of them stays."""
        async with self.cluster() as cluster:
            cluster.socket(0).join("a")
            cluster.ios[-1].disconnect_sockets()
            await soon(lambda: not any(io.sockets for io in cluster.ios))
            assert await cluster.ios[0].all_rooms() == set()
            assert await cluster.ios[0].fetch_sockets() == []


class Cluster:
    """The servers of one test, and a client of each.

    Attributes:
        ios: the servers.
        clients: the clients, in the same order.
    """

    def __init__(self, ios: list[Server], clients: list[MemoryClient]) -> None:
        self.ios = ios
        self.clients = clients

    def socket(self, number: int) -> Any:
        """The socket of a client, on its server."""
        return self.ios[number].sockets[self.clients[number].id or ""]

    async def complete(self) -> None:
        """Wait until each server knows of all."""
        await self.settled()
        for io in self.ios:
            for _ in range(int(PATIENCE / PAUSE)):
                if await io.server_count() >= len(self.ios):
                    break
                await asyncio.sleep(PAUSE)
            else:
                raise AssertionError(f"a server does not know of the others: {await io.server_count()} are counted")

    async def settled(self) -> None:
        """Wait until what was done till now has effect everywhere."""
        async with asyncio.timeout(PATIENCE):
            for io in self.ios:
                await io.main.adapter.settled()

    async def until(self, holds: Callable[[Any], bool]) -> None:
        """Wait until something holds for all sockets."""
        await soon(lambda: all(holds(self.socket(number)) for number in range(len(self.ios))))

    async def nothing_more(self) -> None:
        """Nothing has come but what was taken: what each server says now comes next."""
        for number, io in enumerate(self.ios):
            io.emit("the end", number)
        for client in self.clients:
            for _ in self.ios:
                await client.receive("the end")
            left = client.untaken
            assert not left, f"something came that should not: {left}"
