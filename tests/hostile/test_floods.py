"""Clients that send far more than their share: the others are served meanwhile, and nothing is lost or reordered."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from madang import Server
from tests.hostile.raw import CLOSE, Raw, frame, raw, text
from tests.hostile.victim import WITHIN
from tests.hosts import Host, listening

SHARE: Final = 64
"""Events of one client in one turn of the loop."""

READ_WITH_THEM: Final = 2048 // len(text('42["mark",1000]'))
"""Events that may stand behind them in one buffer of picows."""

EVENTS: Final = 5000


class Witness:
    """A server that notes which event came when.

    Attributes:
        marks: what came with ``mark``, in order, from all clients.
        ends: how many marks had come when a socket ended.
    """

    def __init__(self) -> None:
        self.io = Server()
        self.marks: list[Any] = []
        self.ends: list[int] = []
        self.all_here = asyncio.Event()
        self.ended = asyncio.Event()
        self.io.on("mark", self.mark)
        self.io.on("disconnect", self.end)

    def mark(self, socket: Any, value: Any) -> None:
        self.marks.append(value)
        if value == EVENTS - 1:
            self.all_here.set()

    def end(self, socket: Any) -> None:
        self.ends.append(len(self.marks))
        self.ended.set()


def flood(client: Raw) -> None:
    """Write many events, which the kernel takes at once."""
    client.writer.write(b"".join(text(f'42["mark",{number}]') for number in range(EVENTS)))


@pytest.mark.feature("L16", "E5")
@pytest.mark.parametrize("host", ["native", "uvicorn"])
async def test_a_flood_does_not_keep_the_others_waiting(host: Host) -> None:
    """When both can be read at once, another client's event is handled after few of a flooder's, and none is lost."""
    witness = Witness()
    async with listening(witness.io, host) as url, raw(url) as flooder, raw(url) as other:
        await flooder.join()
        await other.join()
        flood(flooder)
        other.writer.write(text('42["mark","other"]'))  # no turn of the loop lies between
        await asyncio.wait_for(witness.all_here.wait(), WITHIN)
        place = witness.marks.index("other")
        assert place <= 2 * SHARE + READ_WITH_THEM
        assert [mark for mark in witness.marks if mark != "other"] == list(range(EVENTS))


@pytest.mark.feature("L16")
@pytest.mark.parametrize("farewell", ["a close frame", "the end of the connection"])
async def test_nothing_of_a_flood_is_lost(farewell: str) -> None:
    """What a client sends just before it goes is handled, in order, before its socket ends."""
    witness = Witness()
    async with listening(witness.io) as url, raw(url) as flooder:
        await flooder.join()
        flood(flooder)
        if farewell == "a close frame":
            flooder.writer.write(frame(CLOSE, (1000).to_bytes(2, "big")))
        else:
            flooder.writer.write_eof()
        await asyncio.wait_for(witness.ended.wait(), WITHIN)
        assert witness.marks == list(range(EVENTS))
        assert witness.ends == [EVENTS]
