"""What a broadcast costs for each recipient on the native host: calls, tasks and encodings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from madang import Server
from madang.compiled import COMPILED
from tests.budgets.counting import Client, Counted, clients

FEW, MANY = 10, 110


def counted_broadcast(send: Callable[[Server], Any], recipients: int) -> tuple[Counter[str], int]:
    """The calls of one broadcast to so many clients, delivery included, and the tasks it made."""
    io = Server()

    @io.on("connection")
    def connected(socket: Any) -> None:
        socket.join("room", "other room")

    with Counted(io) as counted, clients(counted.url, recipients) as members:
        _deliver(counted, members, lambda: send(io))
        counted.tasks_made = 0
        with counted.counting() as calls:
            _deliver(counted, members, lambda: send(io))
        return calls, counted.tasks_made


def _deliver(counted: Counted, members: list[Client], send: Callable[[], Any]) -> None:
    counted.inside(send)
    for member in members:
        member.until(b'["news"')


@pytest.mark.feature("N15", "E10")
@pytest.mark.parametrize(
    "send",
    [
        lambda io: io.emit("news", {"a": 1}),
        lambda io: io.to("room").emit("news", {"a": 1}),
        lambda io: io.to("room").to("other room").except_("nobody").emit("news", {"a": 1}),
        lambda io: io.local.emit("news", {"a": 1}),
    ],
    ids=["everyone", "a room", "two rooms but one", "local"],
)
def test_calls_for_each_recipient(send: Callable[[Server], Any]) -> None:
    """A recipient more costs at most two Python calls, none if compiled, and no task."""
    few, tasks_of_few = counted_broadcast(send, FEW)
    many, tasks_of_many = counted_broadcast(send, MANY)
    slope = (sum(many.values()) - sum(few.values())) / (MANY - FEW)
    assert slope <= (0.05 if COMPILED else 2.0), "\n".join(
        f"{(many - few)[name] / 100:5.2f} {name}" for name, _ in (many - few).most_common(10)
    )
    assert tasks_of_few == tasks_of_many == 0


@pytest.mark.node("messaging-many.20")
@pytest.mark.feature("N15", "E10")
def test_encoded_once() -> None:
    """However many receive it, an event is encoded once and its WebSocket frame is built once."""
    io = Server()
    with Counted(io) as counted, clients(counted.url, MANY) as members:
        _deliver(counted, members, lambda: io.emit("news", "before"))
        sent = counted.inside(lambda: _watched(io))
        with counted.counting() as calls:
            _deliver(counted, members, lambda: io.emit("news", "x" * 1000))
    assert _times(calls, "encode_event") == 1
    assert len(sent) == MANY
    assert len(set(map(id, sent))) == 1
    assert sent[0].frame is not None
    assert sent[0].payload is None
    assert _times(calls, "make_frame") == (0 if COMPILED else 1)


def _watched(io: Server) -> list[Any]:
    """What is written to each socket from now on."""
    sent: list[Any] = []
    for socket in io.sockets.values():

        def write(encoded: Any, write: Any = socket.write) -> None:
            sent.append(encoded)
            write(encoded)

        socket.write = write
    return sent


@pytest.mark.feature("N15", "N12")
def test_encoded_once_for_each_form() -> None:
    """With members on both transports there is one frame and one polling form, however many there are of each."""
    io = Server()
    with Counted(io) as counted, httpx.Client(base_url=counted.url, trust_env=False, timeout=10) as http:
        sids: list[str] = []
        for _ in range(5):
            answer = http.get("/socket.io/?EIO=4&transport=polling")
            sids.append(answer.text.split('"sid":"')[1][:20])
            http.post(f"/socket.io/?EIO=4&transport=polling&sid={sids[-1]}", content="40")
            http.get(f"/socket.io/?EIO=4&transport=polling&sid={sids[-1]}")
        with clients(counted.url, 5) as members, counted.counting() as calls:
            sent = counted.inside(lambda: _watched(io))
            _deliver(counted, members, lambda: io.emit("news", b"bytes", "x" * 200))
            for sid in sids:
                assert "news" in http.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}").text
        for sid in sids:
            http.post(f"/socket.io/?EIO=4&transport=polling&sid={sid}", content="1")
    assert _times(calls, "encode_event") == 1
    assert len(sent) == 10
    assert len(set(map(id, sent))) == 1
    assert sent[0].frame is not None
    assert sent[0].payload is not None
    if not COMPILED:
        assert _times(calls, "make_frame") == _times(calls, "make_payload") == 1


def _times(calls: Counter[str], function: str) -> int:
    return sum(count for name, count in calls.items() if name.endswith(f".{function}"))
