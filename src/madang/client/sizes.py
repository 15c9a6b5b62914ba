"""What a message that waits costs."""

from __future__ import annotations

from ..protocol.encoded import Encoded

OVERHEAD = 64
"""Bytes that a message takes beside its own, roughly."""


def size_of(encoded: Encoded) -> int:
    """The bytes of a message, as the bounds on what waits count them."""
    return len(encoded.text) + sum(map(len, encoded.attachments)) + OVERHEAD
