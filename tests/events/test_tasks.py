"""Coroutines that run at once and become a task only if they wait."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from typing import Any

import pytest

from madang.tasks import Tasks

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="outside")


@pytest.mark.feature("L16")
async def test_runs_at_once() -> None:
    """What never waits has run when `start` returns, and is no task; its error is raised there."""
    tasks = Tasks()
    seen: list[Any] = []

    async def quick() -> None:
        seen.append(asyncio.current_task())

    before = asyncio.all_tasks()
    for _ in range(5):
        assert tasks.start(quick()) is None
    assert len(tasks) == 0
    assert asyncio.all_tasks() == before
    assert all(task is not None and task is not asyncio.current_task() for task in seen)

    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tasks.start(fails())
    assert asyncio.current_task() in before


@pytest.mark.feature("L16")
async def test_waits() -> None:
    """What waits becomes a task, the same one before and after, and is counted until it ends."""
    tasks = Tasks()
    gate = asyncio.Event()
    seen: list[Any] = []

    async def slow() -> str:
        seen.append(asyncio.current_task())
        await gate.wait()
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        return "done"

    task = tasks.start(slow())
    assert task is not None
    assert len(tasks) == 1
    assert task in asyncio.all_tasks()
    gate.set()
    assert await task == "done"
    assert seen == [task, task]
    await asyncio.sleep(0)
    assert len(tasks) == 0


@pytest.mark.feature("L16")
async def test_contextvars() -> None:
    """A coroutine has a context of its own: it sees the caller's and changes only its own, before and after waiting."""
    tasks = Tasks()
    seen: list[str] = []

    async def changes(name: str, *, wait: bool) -> None:
        seen.append(place.get())
        place.set(name)
        if wait:
            await asyncio.sleep(0)
        seen.append(place.get())

    place.set("caller")
    for wait in (False, True, False, True):
        task = tasks.start(changes("inside", wait=wait))
        assert place.get() == "caller"
        if task is not None:
            await task
    assert seen == ["caller", "inside"] * 4
    place.set("caller again")
    tasks.start(changes("x", wait=False))
    assert seen[-2:] == ["caller again", "x"]


@pytest.mark.feature("L16")
async def test_timeouts() -> None:
    """`asyncio.timeout` works in a coroutine whether it is entered before or after the first wait."""
    tasks = Tasks()
    outcomes: list[str] = []

    async def bounded(*, late: bool) -> None:
        if late:
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            outcomes.append("timed out")
        async with asyncio.timeout(60):
            await asyncio.sleep(0)

    for late in (False, True):
        task = tasks.start(bounded(late=late))
        assert task is not None
        await task
    assert outcomes == ["timed out", "timed out"]


@pytest.mark.feature("L16")
async def test_task_groups() -> None:
    """A `TaskGroup` works in a coroutine's first step, and its error reaches the coroutine."""
    tasks = Tasks()
    outcomes: list[Any] = []

    async def fail() -> None:
        raise ValueError("of a child")

    async def group() -> None:
        async with asyncio.TaskGroup() as children:
            first = children.create_task(asyncio.sleep(0, "a"))
            second = children.create_task(asyncio.sleep(0, "b"))
        outcomes.append((first.result(), second.result()))
        try:
            async with asyncio.TaskGroup() as children:
                children.create_task(fail())
                await asyncio.Event().wait()
        except* ValueError as errors:
            outcomes.append(len(errors.exceptions))

    task = tasks.start(group())
    assert task is not None
    await task
    assert outcomes == [("a", "b"), 1]


@pytest.mark.feature("L16")
async def test_cancellation() -> None:
    """A coroutine may cancel itself in its first step, and its task may be cancelled while it waits."""
    tasks = Tasks()
    outcomes: list[str] = []

    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise

    task = tasks.start(cancels_itself())
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        await task
    task = tasks.start(asyncio.Event().wait())
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == ["cancelled"]
    assert asyncio.current_task() is not None
    assert tasks.start(asyncio.sleep(0)) is not None
    await asyncio.sleep(0.01)
    assert len(tasks) == 0


@pytest.mark.feature("L16")
async def test_nested() -> None:
    """A coroutine may start another in its own first step; each is its own task."""
    tasks = Tasks()
    seen: list[Any] = []

    async def inner(*, wait: bool) -> None:
        seen.append(asyncio.current_task())
        if wait:
            await asyncio.sleep(0)

    async def outer(*, wait: bool) -> None:
        me = asyncio.current_task()
        tasks.start(inner(wait=wait))
        assert asyncio.current_task() is me
        seen.append(me)

    for wait in (False, True):
        seen.clear()
        assert tasks.start(outer(wait=wait)) is None
        assert len(set(map(id, seen))) == 2
    await asyncio.sleep(0.01)
    assert len(tasks) == 0


@pytest.mark.feature("L16")
async def test_nothing_is_kept() -> None:
    """A coroutine's frame is freed when it has ended, whether it waited or not."""
    tasks = Tasks()

    class Held: ...

    async def keeps(held: Held, *, wait: bool) -> None:
        if wait:
            await asyncio.sleep(0)

    gc.collect()
    for wait in (False, True):
        held = Held()
        ref = weakref.ref(held)
        task = tasks.start(keeps(held, wait=wait))
        if task is not None:
            await task
        await asyncio.sleep(0)
        del held, task
        assert ref() is None


@pytest.mark.feature("A23")
async def test_finish() -> None:
    """At the end tasks have a bounded time, and are then cancelled."""
    tasks = Tasks()
    outcomes: list[str] = []

    async def takes(seconds: float, name: str) -> None:
        try:
            await asyncio.sleep(seconds)
            outcomes.append(f"{name} ended")
        except asyncio.CancelledError:
            outcomes.append(f"{name} cancelled")
            raise

    tasks.start(takes(0.01, "quick"))
    tasks.start(takes(60, "slow"))
    await tasks.finish(0.1)
    assert outcomes == ["quick ended", "slow cancelled"]
    assert len(tasks) == 0
