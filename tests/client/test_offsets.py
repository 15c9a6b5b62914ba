"""Recovery of a session that was lost for a moment, seen from the client; and what an offset is, and what is none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import madang
from madang.client.offsets import Progress
from tests.client.tools import QUICK, SOON, WEBSOCKET, Heard

NOW = 1_790_000_000.0


def yeast(seconds: float) -> str:
    """A time as the adapter in memory writes it."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
    number, text = round(seconds * 1000), ""
    while number:
        number, digit = divmod(number, 64)
        text = digits[digit] + text
    return text


def progress(now: float = NOW) -> Progress:
    made = Progress(lambda: now)
    made.begin("pid")
    return made


@pytest.mark.parametrize(
    "offset", [yeast(NOW), f"{yeast(NOW)}.1", "1790000000000-0", f"{int(NOW):08x}0123456789abcdef"]
)
@pytest.mark.parametrize("now", [NOW, NOW + 86400 * 300, 86400.0], ids=["same", "ahead", "no clock"])
def test_offsets_are_taken_away(offset: str, now: float):
    """The offset of each official adapter is known as one, also by a client whose clock is wrong."""
    args = ["event", 1, offset]
    assert progress(now).take(args, False) == offset
    assert args == ["event", 1]


@pytest.mark.parametrize(
    "last", ["hello", "a sentence", "Q34K6m0!", "1790000000000", "1790000000000-", "0" * 23, "F" * 24, 7, None]
)
def test_what_is_no_offset(last: Any):
    """A last argument that does not look like an offset is left where it is."""
    args = ["event", last]
    assert progress().take(args, False) is None
    assert args == ["event", last]


def test_offsets_go_on_for_as_long_as_the_session():
    """However long a session lasts, its offsets are known: each is near to the one before."""
    made = progress()
    at = NOW
    while at < NOW + 3 * 366 * 86400:
        assert made.take(["event", yeast(at)], False) == yeast(at)
        at += 30 * 86400


def test_a_text_that_was_taken_for_an_offset():
    """If a text was taken for an offset by mistake, the real ones are still known."""
    made = progress()
    assert made.take(["volatile", yeast(NOW - 5 * 366 * 86400)], False) is not None
    assert made.take(["event", yeast(NOW)], False) == yeast(NOW)
    assert made.take(["volatile", yeast(NOW - 5 * 366 * 86400)], False) is None


def test_no_offset_without_a_private_id_or_with_an_answer_wanted():
    """A server that keeps nothing adds no offset, and none does to a question."""
    args = ["event", yeast(NOW)]
    assert Progress(lambda: NOW).take(args, False) is None
    assert progress().take(args, True) is None
    assert len(args) == 2


def recovering(url: str, who: str, **options: Any) -> madang.Client:
    away = {"reconnection_delay": 0.3, "reconnection_delay_max": 0.3}  # long enough for what is to be missed
    given = (
        QUICK | away | {"transports": WEBSOCKET, "timeout": SOON, "path": "/recovery.socket.io", "query": {"who": who}}
    )
    return madang.Client(url, **(given | options))


@pytest.mark.feature("W25", "W4", "W13")
@pytest.mark.parametrize("by", ["handler", "any", "stream"])
async def test_what_was_missed(node_backend: Any, settled: None, by: str):
    """What was missed comes before ``connect``, once, in order and without its offset, however one listens."""
    who = f"recovery {by} {time.time()}"
    client = recovering(node_backend.url, who)
    heard = Heard()
    try:
        async with asyncio.timeout(SOON):
            client.on("connect", lambda: heard("connect", client.recovered))
            await client.connected
            first = client.id
            if by == "handler":
                client.on("news", lambda *args: heard(*args))
            elif by == "any":
                client.on_any(lambda event, *args: heard(*args))
            else:
                stream = client.events("news")

                async def listen() -> None:
                    async for event in stream:
                        heard(*event.args)

                client.spawn(listen())
            await node_backend.publish(who, "news", 1, "text")
            await heard.count(2)
            client.manager.engine.fail("transport error", None)  # type: ignore[union-attr]
            await node_backend.publish(who, "news", 2, "Q2h6OG0")
            await node_backend.publish(who, "news", b"bytes", "text")
            await heard.count(5)
            assert client.id == first
            assert sorted(heard.all[2:], key=str) == sorted(
                [(2, "Q2h6OG0"), (b"bytes", "text"), ("connect", True)], key=str
            )
            if by != "stream":  # which gives its events in a task of its own
                assert heard.all[2:] == [(2, "Q2h6OG0"), (b"bytes", "text"), ("connect", True)]
            await node_backend.publish(who, "news", 3)
            assert (await heard.count(6))[5] == (3,)
    finally:
        await client.close()
