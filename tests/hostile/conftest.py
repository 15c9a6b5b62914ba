"""Bad input goes to the native host and to plain uvicorn alike."""

from __future__ import annotations

from typing import cast

import pytest

from tests.hosts import Host


@pytest.fixture(params=("native", "uvicorn"))
def host(request: pytest.FixtureRequest) -> Host:
    return cast("Host", request.param)
