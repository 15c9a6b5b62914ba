"""What one event of a client costs on the native host, in calls and tasks. The numbers hold on any machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from madang import Server
from madang.compiled import COMPILED
from tests.budgets.counting import Client, Counted

EVENTS = 100
LIMIT = 2 if COMPILED else 12


def server() -> Server:
    io = Server()

    @io.on("plain")
    def plain(socket: Any, text: Any) -> Any:
        return text

    @io.on("typed")
    def typed(socket: Any, text: str, number: int) -> str:
        return text

    @io.on("async")
    async def coroutine(socket: Any, text: Any) -> Any:
        return text

    @io.on("waits")
    async def waits(socket: Any, text: Any) -> Any:
        await asyncio.sleep(0)
        return text

    return io


def cost(counted: Counted, client: Client, event: Callable[[int], bytes]) -> tuple[float, Counter[str]]:
    """Calls per event over many events that are answered one by one."""

    def ask(number: int) -> None:
        client.send(event(number))
        client.until(b"43%d[" % number)

    ask(1)
    ask(2)
    counted.tasks_made = 0
    with counted.counting() as calls:
        for number in range(100, 100 + EVENTS):
            ask(number)
    return sum(calls.values()) / EVENTS, calls


@pytest.mark.feature("M1")
@pytest.mark.parametrize(
    ("event", "limit"),
    [(b'42%d["plain","hello"]', LIMIT), (b'42%d["typed","hello",1]', LIMIT), (b'42%d["async","hello"]', LIMIT + 14)],
    ids=["def", "def with types", "async def"],
)
def test_an_acked_event(event: bytes, limit: int) -> None:
    """An event that a `def` handler answers costs at most twelve Python calls, two if compiled; `async def` more."""
    with Counted(server()) as counted:
        client = Client(counted.url)
        per_event, calls = cost(counted, client, lambda number: event % number)
        client.close()
    assert per_event <= limit, "\n".join(f"{count / EVENTS:6.2f} {name}" for name, count in calls.most_common(30))


@pytest.mark.feature("L16")
@pytest.mark.parametrize(
    ("event", "most"), [(b'42%d["plain",1]', 0), (b'42%d["typed","x",1]', 0), (b'42%d["async",1]', 1)]
)
def test_no_task(event: bytes, most: int) -> None:
    """A `def` handler makes no task; `async def` handlers that never wait share what the first one has made."""
    with Counted(server()) as counted:
        client = Client(counted.url)
        before = counted.inside(lambda: len(asyncio.all_tasks(counted.loop)))
        cost(counted, client, lambda number: event % number)
        assert counted.tasks_made <= most
        assert counted.inside(lambda: len(asyncio.all_tasks(counted.loop))) == before
        client.close()


@pytest.mark.feature("L16")
def test_handler_that_waits_is_one_task() -> None:
    """A handler that waits becomes one task, which is gone when it has answered."""
    with Counted(server()) as counted:
        client = Client(counted.url)
        before = counted.inside(lambda: len(asyncio.all_tasks(counted.loop)))
        cost(counted, client, lambda number: b'42%d["waits",1]' % number)
        assert counted.tasks_made <= EVENTS
        assert counted.inside(lambda: len(asyncio.all_tasks(counted.loop))) == before
        client.close()


@pytest.mark.feature("L16")
def test_events_that_nobody_hears() -> None:
    """An event without a handler makes no task either."""
    with Counted(server()) as counted:
        client = Client(counted.url)
        client.send(b'42["nobody",1]')
        client.send(b'421["plain",1]')
        client.until(b"431[")
        counted.tasks_made = 0
        for number in range(10, 60):
            client.send(b'42["nobody",1]')
            client.send(b'42%d["plain",1]' % number)
            client.until(b"43%d[" % number)
        assert counted.tasks_made <= 2  # what parks for coroutines that might wait
        client.close()
