"""Offsets in events that were encoded without them: for any parser the same as if they had been encoded with them."""

from __future__ import annotations

from typing import Any

import pytest

from madang.protocol.encoded import Encoded
from madang.protocol.offsets import UNREAD, with_offset, without_offset
from madang.protocol.socketio import DefaultParser


class Own(DefaultParser):
    """A parser of somebody's own."""


@pytest.mark.parametrize("parser", [DefaultParser(), Own()], ids=["default", "own"])
@pytest.mark.parametrize("namespace", ["/", "/chat"])
@pytest.mark.parametrize("args", [("a",), ("a", 1, {"b": ["]"]}), ("a", b"\x00", [b"\x01"]), (7, "가")])
@pytest.mark.parametrize("known", [True, False])
def test_as_if_encoded_with_it(parser: DefaultParser, namespace: str, args: tuple[Any, ...], known: bool):
    """The bytes are those of the event with one argument more; the event itself stays as it is."""
    plain = parser.encode_event(namespace, args)
    before = Encoded(plain.text, plain.attachments)
    plain.event = args if known else None
    wanted = parser.encode_event(namespace, (*args, "QX9fk2a.k3ZqA-1f"))
    got = with_offset(plain, "QX9fk2a.k3ZqA-1f", namespace, parser)
    assert (got.text, got.attachments) == (wanted.text, wanted.attachments)
    assert (plain.text, plain.attachments) == (before.text, before.attachments)
    assert got.event == (args if known or type(parser) is Own else UNREAD)


def test_taken_away_again():
    """What was read of it is the event without the offset."""
    assert without_offset(["a", 1, "QX9fk2a.k3ZqA-1f"]) == ("a", 1)
