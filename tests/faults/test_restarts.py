"""A server that is killed and started again, over and over, while a client that repeats what is not answered talks."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import madang
from tests.faults.talk import QUICK, TRANSPORTS
from tests.hosts import ROOT

SERVER = ROOT / "tests" / "faults" / "server.mjs"


class Program:
    """A server in a process of its own that can be killed, and be there again on the same port."""

    def __init__(self, process):
        self.process = process
        self.port = 0

    async def up(self):
        assert self.process.stdout is not None
        self.port = int(await asyncio.wait_for(self.process.stdout.readline(), 10.0))

    async def end(self):
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), 5.0)


async def started(*command):
    program = Program(
        await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    )
    await program.up()
    return program


@asynccontextmanager
async def forking(file, port) -> AsyncIterator[Program]:
    program = await started(sys.executable, "-m", "tests.faults.restarting", str(file), str(port))
    try:
        yield program
    finally:
        await program.end()


class Load:
    """Keeps ten numbers under way, each until it has been answered."""

    def __init__(self, client):
        self.client = client
        self.answered = []
        self.sent = 0
        self.failures = []
        for _ in range(10):
            self.go_on()

    def go_on(self):
        answer = self.client.emit_with_ack("note", self.sent)
        self.sent += 1
        answer.add_done_callback(self.done)

    def done(self, answer):
        if not self.failures and not answer.cancelled() and answer.exception() is None:
            self.answered.append(answer.result())
            if self.client is not None:
                self.client.manager.clock.call_later(0.001, self.more)
        elif not answer.cancelled():
            self.failures.append(answer.exception())

    def more(self):
        if self.client is not None:
            self.go_on()

    async def until_answered(self, more):
        """Wait until so many more have been answered."""
        goal = len(self.answered) + more
        async with asyncio.timeout(5.0):
            while len(self.answered) < goal:
                assert not self.failures, self.failures
                await asyncio.sleep(0.002)

    async def stop(self):
        """Say nothing new, and wait for all answers."""
        self.client = None
        await self.until_answered(self.sent - len(self.answered))


def alive():
    """How many objects there are, and how many tasks."""
    gc.collect()
    return len(gc.get_objects()), len(asyncio.all_tasks())


@pytest.mark.feature("V34", "W10", "W11", "W20")
@pytest.mark.parametrize(("transport", "times"), [("websocket", 50), ("polling", 12), ("upgrade", 12)])
async def test_a_server_that_is_killed_again_and_again(transport, times, tmp_path, free_port):
    """The client comes back each time; all it says arrives, in order; and nothing piles up."""
    file = tmp_path / "notes"
    async with forking(file, free_port) as program:
        client = madang.Client(
            f"http://127.0.0.1:{program.port}",
            transports=TRANSPORTS[transport],
            retries=10**6,
            ack_timeout=2.0,
            **QUICK,
        )
        reasons: list[str] = []
        client.on("disconnect", lambda reason, _=None: reasons.append(reason))
        load = Load(client)
        try:
            begun = None
            for number in range(times):
                await load.until_answered(3)
                if number == times // 5:
                    begun = alive()
                program.process.stdin.write(b"0.01\n")
                await program.up()
            await load.until_answered(10)
            ended = alive()
            await load.stop()
            assert len(reasons) == times
            assert set(reasons) <= {"transport close", "transport error"}
            assert begun is not None
            assert ended[0] - begun[0] < 1500, f"{ended[0] - begun[0]} objects more"
            assert abs(ended[1] - begun[1]) <= 3
        finally:
            await client.close()
    heard = [int(line) for line in file.read_text().splitlines()]
    assert heard == sorted(heard), "out of order"
    assert set(heard) == set(range(load.sent))
    assert load.answered == list(range(load.sent))
    assert len(heard) - load.sent <= times


@pytest.mark.feature("V34", "W10", "W11")
async def test_nodes_server_killed_a_few_times(node, tmp_path):
    """The same with Node's server, which takes a while to come back; it is looked for until it does."""
    file = tmp_path / "notes"
    program = await started(node, str(SERVER), "0")
    client = madang.Client(
        f"http://127.0.0.1:{program.port}", auth={"log": str(file)}, retries=10**6, ack_timeout=2.0, **QUICK
    )
    load = Load(client)
    try:
        for _ in range(3):
            await load.until_answered(5)
            program.process.kill()
            await program.process.wait()
            port = program.port
            program = await started(node, str(SERVER), str(port))
            assert program.port == port
        await load.until_answered(5)
        await load.stop()
    finally:
        await client.close()
        await program.end()
    heard = [int(line.split()[1]) for line in file.read_text().splitlines()]
    assert heard == sorted(heard), "out of order"
    assert set(heard) == set(range(load.sent))
    assert load.answered == list(range(load.sent))
