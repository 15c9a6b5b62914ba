"""The tests that adapters of one's own can be put to: on ours, on those of docs/adapters.md, and on one with faults."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

import madang
import madang.testing
from madang.adapters import BroadcastOptions
from tests.docs.snippets import snippets
from tests.hosts import ROOT

PAGE = types.ModuleType("the_page")
sys.modules["the_page"] = PAGE
for snippet in snippets(ROOT / "docs" / "adapters.md"):
    if snippet.language == "python":
        exec(compile(snippet.code, str(snippet), "exec"), PAGE.__dict__)


@pytest.mark.feature("S1", "S2")
class TestMemory(madang.testing.AdapterBehaviour):
    """Rooms in memory."""

    def adapter(self) -> Any:
        return None


@pytest.mark.feature("S2", "S3")
class TestHub(PAGE.TestHub):  # type: ignore[name-defined,misc]
    """The backend of docs/adapters.md, with three servers."""


@pytest.mark.feature("S2")
class TestCounting(PAGE.TestCounting):  # type: ignore[name-defined,misc]
    """The adapter of docs/adapters.md."""


class Forgetful(madang.MemoryAdapter):
    """Has one fault, by its name."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def leave(self, sink: Any, room: madang.Room) -> None:
        if self.fault != "leaving":
            super().leave(sink, room)

    def members(self, options: BroadcastOptions) -> list[Any]:
        if self.fault == "excepting":
            options = BroadcastOptions(options.rooms)
        return super().members(options)

    def broadcast(self, encoded: Any, options: BroadcastOptions) -> None:
        for _ in range(2 if self.fault == "sending twice" else 1):
            super().broadcast(encoded, options)

    def remove(self, sink: Any) -> None:
        if self.fault != "forgetting":
            super().remove(sink)


@pytest.mark.feature("S2")
@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("leaving", "test_rooms_of_a_socket"),
        ("excepting", "test_rooms"),
        ("sending twice", "test_everyone"),
        ("forgetting", "test_sending_away"),
    ],
)
async def test_a_fault_is_found(fault: str, test: str) -> None:
    """An adapter with a fault does not pass."""

    class Behaviour(madang.testing.AdapterBehaviour):
        def adapter(self) -> Any:
            return lambda context: Forgetful(fault)

    with pytest.raises(AssertionError):
        await getattr(Behaviour(), test)()


@pytest.mark.parametrize("test", ["test_everyone", "test_finding_sockets", "test_questions", "test_servers"])
async def test_two_that_do_not_know_each_other(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers with rooms in memory are no cluster, and are not taken for one."""
    monkeypatch.setattr("madang.testing.adapters.Cluster.complete", lambda cluster: cluster.settled())

    class Behaviour(madang.testing.AdapterBehaviour):
        servers = 2

        def adapter(self) -> Any:
            return None

        async def impatient(self) -> None:
            with madang.testing.clock():
                await getattr(self, test)()

    with pytest.raises((AssertionError, madang.WaitTimeout)):
        await Behaviour().impatient()
