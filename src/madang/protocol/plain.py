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
        text = encoded.text
        payload = text[2:] if text.startswith(b"42[") else parser.decode(text).payload
        return whole(loads(payload), encoded.attachments)
    encoder = JsonEncoder()
    return whole(json.loads(encoder.encode(encoded.event)), encoder.take_attachments())


def whole(values: list[Any], attachments: tuple[bytes, ...]) -> list[Any]:
    """Values with the attachments in their places."""
    if attachments:
        reconstruction = Reconstruction(values, len(attachments))
        for data in attachments:
            reconstruction.add(data)
    return values
