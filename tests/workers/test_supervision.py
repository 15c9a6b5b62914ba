"""Workers that die are replaced, all are exchanged without a refusal, and the end leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import socket
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import madang
from madang.errors import OptionError
from madang.hosting import supervisor
from tests.conformance.wire import before
from tests.hosts import ROOT
from tests.workers.crew import APP, START_WITHIN, STOP_WITHIN, crew, is_alive, process_of, start, until

QUICK: dict[str, Any] = {
    "force_new": True,
    "reconnection_delay": 0.05,
    "reconnection_delay_max": 0.2,
    "transports": ["websocket"],
}


@pytest.mark.parametrize("how", ["killed", "ended"])
async def test_a_worker_that_dies_is_replaced(how: str):
    """Its clients come back, with whichever worker; those of the others notice nothing."""
    async with crew(workers=2) as workers:
        clients = [await madang.connect(workers.url, **QUICK) for _ in range(8)]
        lost: list[madang.Client] = []
        for client in clients:
            client.on("disconnect", lambda *_, client=client: lost.append(client))
        try:
            homes = [await process_of(client) for client in clients]
            victim = homes[0]
            if how == "killed":
                os.kill(victim, signal.SIGKILL)
            else:
                clients[0].emit("die")
            await until(lambda: len(workers.workers() - {victim}) == 2, "the replacement")
            for client, home in zip(clients, homes, strict=True):
                await client.connected
                now = await process_of(client)
                assert (now == home) is (home != victim)
            assert {client.manager.uri for client in clients} == {workers.url}
            assert len(lost) == homes.count(victim)
        finally:
            for client in clients:
                await client.close()


async def test_exchange_under_load():
    """SIGHUP replaces all workers, one by one; no attempt to connect is refused meanwhile."""
    async with crew(workers=2) as workers:
        old = workers.workers()
        done = asyncio.Event()
        served: set[int] = set()

        async def come_and_go() -> None:
            while not done.is_set():
                async with madang.connect(workers.url, **QUICK, reconnection=False) as client:
                    pid = await process_of(client)
                    served.add(pid)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(retrying(come_and_go))
            workers.tell(signal.SIGHUP)
            await until(lambda: workers.workers() and not workers.workers() & old, "the exchange")
            await until(lambda: served - old, "a client of a new worker")
            done.set()
        assert len(workers.workers()) == 2


async def retrying(come_and_go: Any) -> None:
    """A client that is sent away in the middle comes again; one that is refused is a failure."""
    while True:
        try:
            await come_and_go()
        except (madang.SocketClosed, madang.AckTimeout):
            continue
        return


async def test_new_code_comes_with_the_exchange(tmp_path: Path):
    """Each worker is the program run again, so SIGHUP brings what was written since; a broken one changes nothing."""
    broken = tmp_path / "broken"
    async with crew(workers=2, broken_if=str(broken)) as workers:
        before_it = workers.workers()
        broken.touch()
        workers.tell(signal.SIGHUP)
        assert workers.process.stderr is not None
        said = ""
        while "stay as they are" not in said:
            said = (await before(START_WITHIN, workers.process.stderr.readline(), "the complaint")).decode()
        await until(lambda: workers.workers() == before_it, "the end of the broken one")
        broken.unlink()
        workers.tell(signal.SIGHUP)
        await until(lambda: len(workers.workers()) == 2 and not workers.workers() & before_it, "the exchange")


async def test_reload(tmp_path: Path):
    """With `reload` the workers are exchanged whenever a file has been written."""
    program = tmp_path / "app.py"
    text = APP.read_text()
    program.write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(program), '{"port": 0, "reload": true}'),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = (await before(START_WITHIN, process.stdout.readline(), "its address")).decode().strip()
        async with madang.connect(url, **QUICK) as client:
            assert await client.emit_with_ack("echo", 1) == (1,)[0]
            program.write_text(text.replace("return values", 'return "changed"'))

            async def changed() -> None:
                while True:
                    try:
                        await client.connected
                        if await client.emit_with_ack("echo", 1, timeout=5) == "changed":
                            return
                    except (madang.SocketClosed, madang.AckTimeout):
                        continue

            await before(START_WITHIN, changed(), "the new code")
    finally:
        process.terminate()
        assert await before(STOP_WITHIN, process.wait(), "the end") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_end(number: signal.Signals, tmp_path: Path):
    """On Ctrl-C or SIGTERM clients see a close, and neither process nor file is left."""
    async with crew(env={"TMPDIR": str(tmp_path)}) as workers:
        assert [path.name[:7] for path in tmp_path.iterdir()] == ["madang-"]
        pids = workers.workers()
        reasons: list[str] = []
        client = await madang.connect(workers.url, **QUICK, reconnection=False)
        client.on("disconnect", lambda reason, _: reasons.append(reason))
        assert await workers.end(number) == 0
        await until(lambda: reasons, "the client's disconnect")
        assert reasons == ["transport close"]
        await client.close()
        assert not any(is_alive(pid) for pid in pids)
    assert not list(tmp_path.iterdir())


async def test_workers_do_not_outlive_their_supervisor(tmp_path: Path):
    """A supervisor that is killed takes its workers with it, and they clear up for it."""
    async with crew(workers=2, env={"TMPDIR": str(tmp_path)}) as workers:
        pids = workers.workers()
        workers.process.kill()
        await until(lambda: not any(is_alive(pid) for pid in pids), "the end of the workers")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outlives", [False, True], ids=["", "nohup"])
async def test_a_terminal_that_is_closed(outlives: bool):
    """The end of its terminal is the supervisor's, and no exchange; but for one that was started to outlive it."""
    terminal, theirs = pty.openpty()
    command = [*(["nohup"] if outlives else []), sys.executable, str(APP), '{"port": 0, "workers": 2}']
    process = await asyncio.create_subprocess_exec(
        *("setsid", "--ctty", "--wait", *command),
        cwd=ROOT,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(theirs)
    assert process.stdout is not None
    url = (await before(START_WITHIN, process.stdout.readline(), "its address")).decode().strip()
    client = await madang.connect(url, **QUICK)
    try:
        home, _ = await client.emit_with_ack("who", timeout=10)
        parent = int(Path(f"/proc/{home}/stat").read_text().rpartition(")")[2].split()[1])
        os.close(terminal)
        if outlives:  # and goes on to obey: the signal of the terminal, and ours, may have come as one
            while is_alive(home):
                os.kill(parent, signal.SIGHUP)
                await asyncio.sleep(0.1)
            os.kill(parent, signal.SIGTERM)
        await before(STOP_WITHIN, process.wait(), "the end of the supervisor")
        assert not is_alive(home)
    finally:
        await client.close()


HANGS_SECOND = """
import json, os, socket, sys, time
told = json.loads(os.environ["MADANG_WORKER"])
with open(sys.argv[1], "a") as log:
    print(os.getpid(), file=log)
if len(open(sys.argv[1]).readlines()) != 2:
    line = socket.socket(fileno=told["control"])
    line.send(b"ready\\n")
    line.recv(1)
time.sleep(60)
"""


async def test_a_replacement_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A replacement that does not accept connections in time is killed, and replaced."""
    monkeypatch.setattr(supervisor, "START_WITHIN", 2.0)
    log = tmp_path / "log"

    def pids() -> list[int]:
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    def listen(_: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    command = [sys.executable, "-c", HANGS_SECOND, str(log)]
    started = asyncio.Event()
    supervising = supervisor.Supervisor(listen, lambda _: "url", 1, command, 0.0)
    running = asyncio.create_task(supervising.run(None, lambda _: started.set()))
    await before(START_WITHIN, started.wait(), "the first worker")
    os.kill(pids()[0], signal.SIGKILL)
    await until(lambda: len(pids()) == 3, "the successor of the one that hangs")
    assert not is_alive(pids()[1])
    os.kill(os.getpid(), signal.SIGTERM)
    await before(STOP_WITHIN, running, "the end")
    assert not is_alive(pids()[2])


async def test_a_program_that_does_not_start(tmp_path: Path):
    """If the first workers do not start the supervisor ends, and what they said is what is read."""
    broken = tmp_path / "broken"
    broken.touch()
    process = await start(workers=2, broken_if=str(broken))
    _, said = await before(START_WITHIN, process.communicate(), "the end")
    assert process.returncode not in (0, None)
    assert b"this program is broken" in said


async def test_drain():
    """With `drain` the clients of a server that stops are sent away one after the other, not all at once."""
    async with crew(workers=1, drain=2.0) as workers:
        clients = [await madang.connect(workers.url, **QUICK, reconnection=False) for _ in range(30)]
        loop = asyncio.get_running_loop()
        moments: list[float] = []
        for client in clients:
            client.on("disconnect", lambda *_: moments.append(loop.time()))
        assert await workers.end() == 0
        await until(lambda: len(moments) == len(clients), "the end of all clients")
        assert moments[-1] - moments[0] > 0.5
        assert max(b - a for a, b in pairwise(moments)) < 1.5
        for client in clients:
            await client.close()


async def test_io_drain():
    """`io.drain` sends away all clients within the time it is given, and returns when the last has gone."""
    io = madang.Server()
    running = await io.start(port=0)
    clients = [await madang.connect(running.url, **QUICK, reconnection=False) for _ in range(10)]
    await before(5, io.drain(over=0.3), "the end of the drain")
    assert not io.engine.sessions
    for client in clients:
        await client.close()
    await running.stop()


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"workers": -1}, {"workers": "2"}, {"workers": 10_000}, {"drain": -1}]
)
def test_wrong_options(options: dict[str, Any]):
    """What cannot be is said before anything is started."""
    with pytest.raises(OptionError, match=next(iter(options))):
        madang.Server().run(port=0, **({"workers": 1} | options))


async def test_only_for_a_program_of_its_own():
    """In a loop that runs already there is no supervisor, and it says so."""
    with pytest.raises(OptionError, match="workers"):
        await madang.Server().start(port=0, workers=2)
