"""Compressed messages: what was compressed comes back, whatever the other end sends, and headers of any kind."""

from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from madang.engine.deflate_options import DeflateSettings
from madang.transports.deflate import Deflater, Inflater
from madang.transports.extensions import OFFER, Agreed, agree, answered, read

pytestmark = pytest.mark.feature("A12", "V27")

LIMIT = 100_000
TAIL = b"\x00\x00\xff\xff"

# long enough to refer to, and to fill a small window
short = st.binary(min_size=1) | st.text(min_size=1).map(str.encode)
messages = short | short.map(lambda data: data * 999)
bits = st.integers(9, 15)


@given(st.lists(messages), bits, st.booleans(), st.integers(1, 9), st.integers(1, 9))
def test_round_trip(sent: list[bytes], window: int, takeover: bool, level: int, memory: int) -> None:
    """Any messages come back in order, in every window, with and without a context, and zlib reads them too."""
    deflater = Deflater(DeflateSettings(level=level, mem_level=memory), window, takeover)
    inflater = Inflater(window, takeover)
    other = zlib.decompressobj(-window)
    for message in sent:
        payload = deflater.deflate(message)
        assert payload
        assert inflater.inflate(payload, 10_000_000) == message
        if not takeover:
            other = zlib.decompressobj(-window)
        assert other.decompress(payload + TAIL) == message


@given(st.lists(messages, min_size=1), bits, st.data())
def test_messages_of_zlib(sent: list[bytes], window: int, data: st.DataObject) -> None:
    """What zlib has compressed, flushed and ended as it liked, comes back, with the context of all messages before."""
    inflater = Inflater(window, takeover=True)
    stream = zlib.compressobj(wbits=-window)
    before = b""
    for message in sent:
        cut = data.draw(st.integers(0, len(message)))
        payload = stream.compress(message[:cut])
        if data.draw(st.booleans()):
            payload += stream.flush(zlib.Z_FINISH)
            known = (before + message[:cut])[-(1 << window) :]
            stream = zlib.compressobj(wbits=-window, zdict=known) if known else zlib.compressobj(wbits=-window)
        else:
            payload += stream.flush(zlib.Z_SYNC_FLUSH)
        payload += stream.compress(message[cut:]) + stream.flush(zlib.Z_SYNC_FLUSH)
        before += message
        payload = payload.removesuffix(TAIL)
        assert inflater.inflate(payload if payload else b"\x00", 10_000_000) == message


@given(messages, st.integers(0, 1200))
def test_the_limit(message: bytes, limit: int) -> None:
    """A message comes back if it is within the limit, and not if it is beyond."""
    payload = Deflater(DeflateSettings(), 15, False).deflate(message)
    assert Inflater().inflate(payload, limit) == (message if len(message) <= limit else None)


@given(st.binary())
@example(b"")
@example(b"\x00")
@example(b"\x03\x00" * 100)
@example(b"\x01\x09\x00\xf6\xff")
def test_any_bytes(payload: bytes) -> None:
    """Any bytes are a message within the limit, one beyond it, or an error of zlib."""
    try:
        message = Inflater(15, takeover=True).inflate(payload, 500)
    except zlib.error:
        return
    assert message is None or len(message) <= 500


@given(short.map(lambda data: data * 99), st.data())
def test_what_is_cut_short(message: bytes, data: st.DataObject) -> None:
    """A message without its end is an error, and never part of it."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_FIXED)  # no stored blocks, which take any data
    payload = (deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
    cut = data.draw(st.integers(0, len(payload) - 1))
    try:
        got = Inflater().inflate(payload[:cut], LIMIT)
    except zlib.error:
        return
    assert got == message  # only the padding was cut off


parameters = st.sampled_from(
    [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits=8",
        "server_max_window_bits=12",
        'client_max_window_bits="9"',
        "client_max_window_bits",
        "client_max_window_bits=15",
        "x",
        "=",
    ]
)
offers = st.lists(
    st.builds(lambda found: "; ".join(["permessage-deflate", *found]), st.lists(parameters, max_size=4)), max_size=4
).map(", ".join)
settings = st.builds(
    DeflateSettings,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=bits,
    client_max_window_bits=bits,
)


@given(offers | st.text(), settings)
@example(OFFER, DeflateSettings())
def test_what_is_agreed_on(header: str, wanted: DeflateSettings) -> None:
    """Whatever is offered, what is agreed on is within the offer and the option, and the answer says so."""
    agreed = agree(header, wanted)
    if agreed is None:
        return
    ((name, said),) = read(agreed.header) or [("", [])]
    told = dict(said)
    assert (name, len(told)) == ("permessage-deflate", len(said))
    assert ("server_no_context_takeover" in told) is not agreed.server_takeover
    assert ("client_no_context_takeover" in told) is not agreed.client_takeover
    assert int(told.get("server_max_window_bits") or 15) == agreed.server_bits <= wanted.server_max_window_bits
    assert int(told.get("client_max_window_bits") or 15) == agreed.client_bits <= wanted.client_max_window_bits
    assert not (agreed.server_takeover and wanted.server_no_context_takeover)
    assert not (agreed.client_takeover and wanted.client_no_context_takeover)
    if "client_max_window_bits" in told:
        assert "client_max_window_bits" in header
    assert agreed.server_bits >= 9


@given(settings)
def test_our_ends_understand_each_other(wanted: DeflateSettings) -> None:
    """Our client accepts whatever our server answers to it, and both know the same of it."""
    agreed = agree(OFFER, wanted)
    if agreed is None:
        assert wanted.client_max_window_bits < 15  # which our client cannot be told
        return
    understood = answered(agreed.header)
    assert isinstance(understood, Agreed)
    assert understood == agreed


@given(st.text(st.sampled_from('permessage-deflate;,= "\\\t0')) | st.text())
def test_any_header(header: str) -> None:
    """Any text is a list of extensions, or cannot be read; names and values are tokens."""
    for name, found in read(header) or []:
        for word in (name, *(part for pair in found for part in pair if part is not None)):
            assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", word)
