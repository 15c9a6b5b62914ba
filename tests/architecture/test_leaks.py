"""The fixture `leaks`, which other tests trust."""

from __future__ import annotations

import asyncio

import pytest


class Thing:
    """Something that a connection might leave in memory."""


async def test_what_ends_within_the_time_is_no_leak(leaks):
    """Tasks, timers and objects that go away soon after the block are forgiven."""
    async with leaks(Thing):
        task = asyncio.create_task(asyncio.sleep(0.02))
        asyncio.get_running_loop().call_later(0.02, Thing)
        asyncio.get_running_loop().call_later(60, Thing).cancel()
    assert task.done()


async def test_a_task_that_stays_is_a_leak(leaks):
    """The message names the task."""
    with pytest.raises(AssertionError, match=r"'tasks': 1[\s\S]*'forgotten'"):
        async with leaks(within=0.05):
            task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    task.cancel()


async def test_a_timer_that_stays_is_a_leak(leaks):
    """A timer that nobody cancelled is found on asyncio's own loop."""
    with pytest.raises(AssertionError, match="'timers': 1"):
        async with leaks(within=0.05):
            timer = asyncio.get_running_loop().call_later(60, Thing)
    timer.cancel()


async def test_an_object_that_stays_is_a_leak(leaks):
    """Objects of the types that were named are counted."""
    kept = []
    with pytest.raises(AssertionError, match="'Thing': 1"):
        async with leaks(Thing, within=0.05):
            kept.append(Thing())
