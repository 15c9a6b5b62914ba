"""An encoded event as plain values again: what its clients decode, with the bytes in their places."""

from __future__ import annotations

import json
from typing import Any

from .binary import Reconstruction
from .encoded import Encoded
from .parser import Parser
from .socketio import DefaultParser
from .values import JsonEncoder, loads


def event_values(encoded: Encoded, parser: Parser) -> list[Any]:
    """Name and arguments of an event, as whoever gets it decodes them."""
    if type(parser) is DefaultParser:
        packet = parser.decode(encoded.text)
        return _whole(loads(packet.payload), encoded.attachments)
    encoder = JsonEncoder()
    text = encoder.encode(encoded.event)
    return _whole(json.loads(text), encoder.take_attachments())


def _whole(values: list[Any], attachments: tuple[bytes, ...]) -> list[Any]:
    if attachments:
        reconstruction = Reconstruction(values, len(attachments))
        for data in attachments:
            reconstruction.add(data)
    return values
