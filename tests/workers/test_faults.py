"""What goes wrong between workers, and leaves nothing behind: no descriptor, no place, no connection that hangs."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import madang
from madang.hosting.handover import Handover, mark_of
from madang.hosting.supervisor import Supervisor
from madang.hosting.worker import VARIABLE, Assignment, assignment
from tests.client.tools import Papers
from tests.conformance.wire import SOCKET, Polling, address, before, browser, refusal, tcp
from tests.workers.crew import START_WITHIN, STOP_WITHIN, Crew, Place, crew, process_of, start, until

QUICK: dict[str, Any] = {"force_new": True, "reconnection": False, "transports": ["websocket"]}


def descriptors(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


# ---------------------------------------------------------------------------------------------------------- supervision


async def test_all_die_at_once():
    """Workers that die at the same moment are all replaced, and are one server again."""
    async with crew(workers=3) as workers:
        old = workers.workers()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(workers.workers() - old) == 3, "the replacements")
        await until(lambda: serves(workers), "a listening port")
        async with madang.connect(workers.url, **QUICK) as client:

            async def all_there() -> None:
                while await client.emit_with_ack("servers", timeout=5) != 3:
                    await asyncio.sleep(0.05)

            await before(START_WITHIN, all_there(), "three servers")
        assert len(workers.workers()) == 3


async def test_numbers_are_given_once(tmp_path: Path):
    """Workers that are started at the same moment have different numbers, and with them different local sockets."""

    def listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        return listener

    command = [sys.executable, "-c", "import signal; signal.pause()"]
    supervisor = Supervisor(listen, str, 3, command, 0.0)
    supervisor._folder = tmp_path / "workers"
    supervisor._folder.mkdir()
    supervisor._open()
    workers = await asyncio.gather(*(supervisor._start(place) for place in range(3)))
    assert [worker.number for worker in workers] == [0, 1, 2]
    await supervisor._end()
    assert not supervisor._folder.exists()


def serves(workers: Crew) -> bool:
    """Whether somebody accepts connections."""
    host, port = workers.url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def test_a_worker_dies_while_its_successor_does_not_start(tmp_path: Path):
    """Its place is filled as soon as the program starts again."""
    broken = tmp_path / "broken"
    async with crew(workers=1, broken_if=str(broken)) as workers:
        (old,) = workers.workers()
        broken.touch()
        workers.tell(signal.SIGHUP)
        await until(lambda: workers.workers() - {old}, "the successor")
        os.kill(old, signal.SIGKILL)
        assert workers.process.stderr is not None
        said = ""
        while "stay as they are" not in said:
            said = (await before(START_WITHIN, workers.process.stderr.readline(), "the complaint")).decode()
        broken.unlink()
        async with asyncio.timeout(START_WITHIN):
            async with madang.connect(workers.url, **QUICK) as client:
                assert await process_of(client) != old


async def test_a_successor_dies_while_its_predecessor_drains():
    """Its place is filled, although the one before is still there."""
    async with crew(workers=1, drain=3.0) as workers:
        (old,) = workers.workers()
        async with madang.connect(workers.url, **QUICK) as client:
            await process_of(client)
            workers.tell(signal.SIGHUP)
            (new,) = await until(lambda: workers.workers() - {old}, "the successor")
            while True:
                async with madang.connect(workers.url, **QUICK) as other:
                    if await process_of(other) == new:
                        break
            os.kill(new, signal.SIGKILL)
            await until(lambda: workers.workers() - {old, new}, "the next one")


async def test_a_program_that_breaks_later(tmp_path: Path):
    """If the only worker dies after a while, and the next one does not start, another one is tried."""
    broken = tmp_path / "broken"
    async with crew(workers=1, broken_if=str(broken)) as workers:
        (old,) = workers.workers()
        age = Path(f"/proc/{old}/stat")
        ticks, born = os.sysconf("SC_CLK_TCK"), int(age.read_text().rpartition(")")[2].split()[19])
        await until(lambda: float(Path("/proc/uptime").read_text().split()[0]) - born / ticks > 5.5, "its age")
        broken.touch()
        os.kill(old, signal.SIGKILL)
        assert workers.process.stderr is not None
        said = ""
        while "broken" not in said:
            said = (await before(START_WITHIN, workers.process.stderr.readline(), "the complaint")).decode()
        await until(lambda: not workers.workers(), "the end of the next one")
        broken.unlink()
        async with asyncio.timeout(START_WITHIN):
            async with madang.connect(workers.url, **QUICK) as client:
                assert await process_of(client) != old


async def test_everybody_is_told():
    """A worker that is told to end by a service manager, and by its supervisor again, drains all the same."""
    async with crew(workers=1, drain=2.0) as workers:
        clients = [await madang.connect(workers.url, **QUICK) for _ in range(30)]
        loop = asyncio.get_running_loop()
        moments: list[float] = []
        for client in clients:
            client.on("disconnect", lambda *_: moments.append(loop.time()))
        (worker,) = workers.workers()
        workers.tell(signal.SIGTERM)
        os.kill(worker, signal.SIGTERM)
        assert await before(STOP_WITHIN, workers.process.wait(), "the end") == 0
        await until(lambda: len(moments) == len(clients), "the end of all clients")
        assert moments[-1] - moments[0] > 0.5
        for client in clients:
            await client.close()


async def test_the_port_is_closed_while_clients_are_sent_away():
    """Who comes to workers that are all about to end is refused at once, and does not wait for them."""
    async with crew(workers=2, drain=10.0) as workers:
        clients = [await madang.connect(workers.url, **QUICK) for _ in range(20)]
        workers.tell(signal.SIGTERM)
        await until(lambda: not serves(workers), "the end of the port", within=5)
        assert workers.process.returncode is None
        for client in clients:
            await client.close()
        assert await workers.end() == 0  # the second time it does not wait


async def test_a_port_that_is_taken():
    """A second program on the same port is told so, and does not take half of the connections."""
    async with crew(workers=2) as workers:
        process = await start(workers=2, port=int(workers.url.rpartition(":")[2]))
        _, said = await before(START_WITHIN, process.communicate(), "the end")
        assert process.returncode != 0
        assert b"cannot listen on" in said


@pytest.mark.parametrize("flags", [["-c"], ["-X", "dev", "-c"]])
async def test_a_program_that_cannot_be_run_again(flags: list[str]):
    """What was given on the command line, or typed, is no program that workers could run, whatever flags precede it."""
    program = "import madang; madang.Server().run(port=0, workers=2)"
    process = await asyncio.create_subprocess_exec(sys.executable, *flags, program, stderr=asyncio.subprocess.PIPE)
    _, said = await before(START_WITHIN, process.communicate(), "the end")
    assert b"must be a file or module" in said


def test_a_process_that_a_worker_has_started(monkeypatch: pytest.MonkeyPatch):
    """The variable of a worker makes no worker of a process that it has started before it served."""
    with open(os.devnull) as file:
        told = Assignment(0, file.fileno(), file.fileno(), "/nowhere", os.getppid() + 1)
        monkeypatch.setenv(VARIABLE, told.environment()[VARIABLE])
        assert assignment() is None
        assert VARIABLE not in os.environ


# ------------------------------------------------------------------------------------------------------------- handover


async def test_no_descriptor_is_left():
    """Many handovers, those to nobody among them, leave no descriptor in any worker."""
    async with crew(workers=2) as workers, browser(workers.url, headers={"connection": "close"}) as http:

        async def come(number: int) -> None:
            polling = await Polling.open(http, SOCKET)
            await polling.send("40")
            await polling.packets()
            assert refusal(await http.get(f"{SOCKET}?EIO=4&transport=polling&sid=zz{number}")) == (400, 1)
            await polling.send("1")

        for number in range(10):
            await come(number)
        known = {pid: descriptors(pid) for pid in workers.workers()}
        for number in range(60):
            await come(number)
        assert set(known) == workers.workers()
        await until(lambda: all(descriptors(pid) <= count + 2 for pid, count in known.items()), "the end of all")


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let there be none for anything new."""
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pair(folder: Path, taken: list[tuple[socket.socket, bytes]]) -> tuple[Handover, Handover, Callable[[], None]]:
    """Two workers' handovers; and what lets the second one begin to take."""
    giver, taker = Handover(folder, 0), Handover(folder, 1)
    giver.listen()
    taker.listen()

    def accept(connection: socket.socket, data: bytes, remote: Any) -> asyncio.Future[None]:
        taken.append((connection, data))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    return giver, taker, lambda: taker.take(accept)


async def connection() -> tuple[asyncio.Transport, socket.socket]:
    """A connection of a server, and its client's end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
    return transport, theirs


async def test_too_many_descriptors(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A worker that has no descriptor left gives and takes nothing, loses nothing of it, and goes on when it has."""
    taken: list[tuple[socket.socket, bytes]] = []
    giver, taker, take = pair(tmp_path, taken)
    transport, client = await connection()
    before_it = descriptors()
    with no_more_descriptors():
        assert not giver.give(1, transport, b"GET /", None)
    assert not transport.is_closing()
    assert transport.is_reading()
    assert descriptors() == before_it
    assert giver.give(1, transport, b"GET /", None)
    await until(lambda: descriptors() == before_it - 1, "the end of what it had of it")
    with no_more_descriptors():
        take()
        await until(lambda: "cannot be taken" in caplog.text, "the complaint")
    found, data = await until(lambda: taken and taken[0], "the connection")
    assert data == b"GET /"
    assert not found.get_inheritable()
    client.send(b"x")
    assert found.recv(1) == b"x"
    found.close()
    client.close()
    await giver.close()
    await taker.close()


async def test_large_and_broken_off(tmp_path: Path):
    """What does not fit into a socket at once is handed over whole; what breaks off in the middle is not taken."""
    taken: list[tuple[socket.socket, bytes]] = []
    giver, taker, take = pair(tmp_path, taken)
    take()
    large = os.urandom(5_000_000)
    for number in range(2):
        transport, client = await connection()
        assert giver.give(1, transport, large, ("127.0.0.1", 1))
        if number == 0:
            found, data = await until(lambda: taken and taken.pop(), "the connection")
            assert data == large
            found.close()
        else:
            await giver.close()  # in the middle
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
            assert not taken
        client.close()
    await taker.close()


async def test_all_are_leaving(tmp_path: Path):
    """A handshake that comes to a worker which is about to leave goes to one that stays; if none does it stays too."""
    first, second = Handover(tmp_path, 0), Handover(tmp_path, 1)
    handshake = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n"
    first.listen()
    second.listen()
    assert first.owner(handshake) is None
    first.leave()
    assert first.owner(handshake) == 1
    second.leave()
    assert first.owner(handshake) is None
    assert second.owner(handshake) is None
    await first.close()
    await second.close()
    assert not list(tmp_path.iterdir())


async def test_pipelined_requests_of_two_sessions(workers: Place):
    """A request behind one of another worker's session gets no wrong answer: the connection ends."""
    async with browser(workers.url, headers={"connection": "close"}) as http:
        by_mark: dict[str, str] = {}
        while len(by_mark) < 2:
            sid = (await Polling.open(http, SOCKET)).sid
            by_mark.setdefault(sid[:2], sid)
        async with tcp(workers.url) as bare:
            head = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40"
            await bare.more("".join(head.format(address(SOCKET, "polling", sid)) for sid in by_mark.values()).encode())
            status, _, body = await bare.answer()
            assert (status, body) == (200, b"ok")
            assert await before(5, bare.reader.read(), "the end") == b""


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates."""
    return Papers(tmp_path_factory.mktemp("papers"))


async def test_kept_connections_of_uvicorn(papers: Papers):
    """A connection that uvicorn keeps alive is relayed as long as it lasts, and its first lines may come in pieces."""
    certificate, key = papers.server
    options: Any = {"ssl_certfile": certificate, "ssl_keyfile": key, "access_log": True, "timeout_keep_alive": 1}
    async with crew(workers=2, **options) as workers:
        trust: ssl.SSLContext = papers.trusting()
        url = workers.url.replace("127.0.0.1", "localhost")
        port = int(url.rpartition(":")[2])
        async with browser(url, headers={"connection": "close"}, verify=trust) as http:
            for mark in (mark_of(0), mark_of(1)):
                polling = await Polling.open(http, SOCKET)
                while polling.sid[:2] != mark:
                    polling = await Polling.open(http, SOCKET)
                reader, writer = await asyncio.open_connection("localhost", port, ssl=trust)
                writer.write(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
                await before(5, reader.readuntil(b"\r\n\r\n"), "the answer")
                line = f"GET {address(SOCKET, 'polling', polling.sid)} HTTP/1.1\r\n".encode()
                for piece in (line[:30], line[30:], b"Host: x\r\n\r\n"):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.05)
                said = await before(6, reader.readuntil(b"\r\n\r\n"), "the ping")
                assert b" 200 " in said
                assert await before(5, reader.readexactly(1), "its body") == b"2"
                writer.close()
