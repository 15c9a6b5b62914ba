"""What a client does for a server that recovers sessions: it says how far it has come, and takes what it has missed."""

from __future__ import annotations

from typing import Any

import pytest

import madang
from tests.hostile.liar import OPEN, Lie, Victim, endure

pytestmark = pytest.mark.feature("W4", "W25")


def meets(asks: str, *packets: str) -> Lie:
    """A session that expects a CONNECT, sends packets, and is then lost."""

    async def tell(victim: Victim) -> None:
        await victim.accept()
        await victim.send(OPEN)
        assert (await victim.text()).decode() == asks
        await victim.send(*packets)
        await victim.goes_on()

    return tell


async def heard_from(*lies: Lie, **options: Any) -> list[Any]:
    """What a client hears in these sessions."""
    heard: list[Any] = []

    def setup(client: madang.Client) -> None:
        client.on("news", lambda *args: heard.append(args))
        client.on("connect", lambda: heard.append((client.id, client.recovered)))

    told = await endure(*lies, setup=setup, **options)
    assert [one.reason for one in told] == ["transport close"] * len(lies)
    return heard[:-1]  # the last one is the good server's


async def test_offsets() -> None:
    """The offset of the last event, and the private id, go with CONNECT; the handler gets neither."""
    heard = await heard_from(
        meets("40", '40{"sid":"a","pid":"p"}', '42["news",1,"AAAAAAA"]', '42["news","two","AAAAAAB"]'),
        meets(
            '40{"pid":"p","offset":"AAAAAAB"}',
            '42["news",3,"AAAAAAC"]',
            '40{"sid":"a","pid":"p"}',
            '42["news",4,"AAAAAAD"]',
        ),
        meets('40{"pid":"p","offset":"AAAAAAD"}', '40{"sid":"b","pid":"q"}'),
        meets('40{"pid":"q"}', '40{"sid":"c"}', '42["news","AAAAAAE"]', '42["news",5,"AAAAAAF"]'),
        meets("40", '40{"sid":"d"}'),
    )
    first: list[Any] = [("a", False), (1,), ("two",)]
    second: list[Any] = [(3,), ("a", True), (4,)]
    assert heard == [*first, *second, ("b", False), ("c", False), ("AAAAAAE",), (5, "AAAAAAF"), ("d", False)]


async def test_with_auth() -> None:
    """What `auth` gives stands beside private id and offset."""
    heard = await heard_from(
        meets('40{"token":1}', '40{"sid":"a","pid":"p"}', '42["news",1,"AAAAAAA"]'),
        meets('40{"pid":"p","offset":"AAAAAAA","token":1}', '40{"sid":"a","pid":"p"}'),
        auth={"token": 1},
    )
    assert heard == [("a", False), (1,), ("a", True)]


@pytest.mark.parametrize("last", ['"AAAAAAA"', '"1700000000000-0"', '"65f0c0ffee65f0c0ffee65f0"', '"AAAAAAA.x"'])
async def test_each_adapter(last: str) -> None:
    """The offsets of the known adapters are known by their looks."""
    heard = await heard_from(
        meets("40", '40{"sid":"a","pid":"p"}', f'42["news",{last}]'),
        meets(f'40{{"pid":"p","offset":{last}}}', '40{"sid":"a","pid":"p"}'),
    )
    assert heard == [("a", False), (), ("a", True)]


@pytest.mark.parametrize("event", ['["news",1,"a word"]', '["news",7]', '["news"]', '["news",{"a":1}]'])
async def test_events_without_an_offset(event: str) -> None:
    """An event without one leaves the last one as it is, and its arguments too."""
    heard = await heard_from(
        meets("40", '40{"sid":"a","pid":"p"}', '42["news",0,"AAAAAAA"]', f"42{event}"),
        meets('40{"pid":"p","offset":"AAAAAAA"}', '40{"sid":"a","pid":"p"}'),
    )
    assert len(heard) == 4
    assert heard[2] != (0,)
