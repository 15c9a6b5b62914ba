"""The micro-benchmarks of the parsers run, and measure what they say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks import codec
from tests.hosts import ROOT


@pytest.mark.feature("Y8")
def test_the_table():
    """Each parser is measured with each kind of event, in both directions."""
    command = [sys.executable, "benchmarks/codec.py", "--seconds", "0.001", "--only", "mixed"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    _, *lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines] == [["mixed", name] for name in codec.PARSERS]
    assert all(float(figure) > 0 for line in lines for figure in line[2:])


@pytest.mark.parametrize("name", codec.PARSERS)
@pytest.mark.parametrize("event", codec.EVENTS)
def test_what_is_measured(name: str, event: str):
    """What is decoded is what was encoded: nothing is measured that fails."""
    args, parser = codec.EVENTS[event], codec.PARSERS[name]()
    encoded = parser.encode_event("/", args)
    packet = parser.decode(encoded.text) if encoded.text else parser.decode_binary(encoded.attachments[0])
    decoded = parser.decode_args(packet)
    assert decoded[0] == args[0]
    assert len(decoded) == len(args)
