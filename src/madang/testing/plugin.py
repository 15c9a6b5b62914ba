"""The plugin for pytest: the fixtures `madang_client` and `madang_clock`, with whatever runs the coroutine tests.

Both are plain fixtures; what has to be done in the test's own loop, before and after it, is put around the test
function. So it does not matter which plugin runs the loop.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

import pytest

from ..errors import UsageError
from .client import MemoryClient, connect
from .clock import Clock


class Clients:
    """The clients of one test; see `ClientFactory`."""

    def __init__(self) -> None:
        self.closing = contextlib.AsyncExitStack()

    async def __call__(self, *args: Any, **options: Any) -> MemoryClient:
        """Connect a client."""
        return await self.closing.enter_async_context(connect(*args, **options))


@pytest.fixture
def madang_client() -> Clients:
    """Connects clients of servers in memory, as `connect` does, and closes them when the test function ends."""
    return Clients()


@pytest.fixture
def madang_clock() -> Clock:
    """The clock of the test's loop, which jumps: ``await madang_clock.advance(30)``."""
    return Clock()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Put what the fixtures need around a test that has them."""
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    clients, clock = fixtures.get("madang_client"), fixtures.get("madang_clock")
    if not isinstance(item, pytest.Function) or (clients is None and clock is None):
        return (yield)
    function = item.obj
    if not inspect.iscoroutinefunction(function):
        raise UsageError("madang_client and madang_clock are for tests that are coroutine functions: async def test_…")
    item.obj = _around(function, clients, clock)
    try:
        return (yield)
    finally:
        item.obj = function


def _around(function: Callable[..., Any], clients: Clients | None, clock: Clock | None) -> Callable[..., Any]:
    """A test function that starts the clock before, and closes the clients after."""

    @functools.wraps(function)
    async def test(*args: Any, **values: Any) -> None:
        with clock or contextlib.nullcontext():
            async with clients.closing if clients is not None else contextlib.nullcontext():
                await function(*args, **values)

    return test
