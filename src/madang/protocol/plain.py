"""An encoded event as plain values again: what its clients decode, with the bytes in their places."""

from __future__ import annotations

import json
from typing import Any

from .binary import Reconstruction
from .encoded import Encoded
from .msgpack import MsgpackParser
from .parser import Packet, Parser
from .socketio import DefaultParser
from .values import JsonEncoder, loads


def event_values(encoded: Encoded, parser: Parser) -> list[Any]:
    """Name and arguments of an event, as whoever gets it decodes them."""
    if isinstance(parser, DefaultParser):
        text = encoded.text
        payload = text[2:] if text.startswith(b"42[") else DefaultParser.decode(parser, text).payload
        return whole(loads(payload), encoded.attachments)
    if not encoded.event or type(parser) is MsgpackParser:
        return decoded(encoded, parser)
    encoder = JsonEncoder()
    return whole(json.loads(encoder.encode(encoded.event)), encoder.take_attachments())


def decoded(encoded: Encoded, parser: Parser) -> list[Any]:
    """Name and arguments of an event, as its clients decode them."""
    args: Any = parser.decode_args(packet_of(encoded, parser))
    return whole(list(args), encoded.attachments if encoded.text else ())


def packet_of(encoded: Encoded, parser: Parser) -> Packet:
    """An encoded packet as who gets it reads it, attachments aside."""
    return parser.decode(encoded.text) if encoded.text else parser.decode_binary(encoded.attachments[0])


def whole(values: list[Any], attachments: tuple[bytes, ...]) -> list[Any]:
    """Values with the attachments in their places."""
    if attachments:
        reconstruction = Reconstruction(values, len(attachments))
        for data in attachments:
            reconstruction.add(data)
    return values
