"""What each test of this folder has to stand: nothing is left behind, and asyncio has no errors to log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from tests.conftest import Leaks
from tests.faults.talk import descriptors


@pytest.fixture(autouse=True)
async def nothing_left(leaks: Leaks, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """No task, timer or open file is left behind by a test, and no exception that nobody has asked for."""
    open_before = descriptors()
    async with leaks():
        yield
    deadline = time.monotonic() + 1.0
    while descriptors() > open_before:
        assert time.monotonic() < deadline, f"{descriptors() - open_before} files or sockets left open"
        await asyncio.sleep(0.01)
    for when in ("setup", "call", "teardown"):
        records = [record for record in caplog.get_records(when) if record.name == "asyncio"]
        assert not [record for record in records if record.levelno >= logging.ERROR], records
