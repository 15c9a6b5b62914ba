"""Where both ways of hosting matter, a test runs on the native host and on plain uvicorn."""

from __future__ import annotations

from typing import cast

import pytest

import madang
from tests.hosts import Host
from tests.regressions.peer import serving


@pytest.fixture(params=("native", "uvicorn"))
def host(request: pytest.FixtureRequest) -> Host:
    return cast("Host", request.param)


@pytest.fixture
def io() -> madang.Server:
    """A server with default options."""
    return serving()
