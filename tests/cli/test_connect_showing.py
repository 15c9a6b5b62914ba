"""What ``madang connect`` prints: JSON that stays JSON, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.cli.showing import LONGEST, Look, bytes_in, line_of, name

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def commands(text: str) -> list[str]:
    """The characters of a text that could command a terminal."""
    return [character for character in text if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]


def plain(width: int = 80) -> Look:
    return Look(False, lambda: width)


@settings(max_examples=50)
@given(JSON)
def test_a_line_is_json_and_harmless(value: Any) -> None:
    """A line of JSON says what the value was, and holds no control character, however hostile the value."""
    line = line_of(value)
    assert json.loads(line) == value
    assert commands(line) == []


@settings(max_examples=50)
@given(ANY_TEXT, JSON, st.booleans())
def test_a_display_is_harmless(event: str, value: Any, whole: bool) -> None:
    """A displayed message holds no control character but the ends of its own lines."""
    text, _ = plain(20).message(name(event), [value, value], whole=whole)
    assert set(commands(text)) <= {"\n"}
    assert all(line.startswith("    ") for line in text.split("\n")[1:])


@settings(max_examples=50)
@given(ANY_TEXT, JSON)
def test_a_coloured_display_holds_no_colours_of_others(event: str, value: Any) -> None:
    """Without the colours that we give, nothing is left that begins an escape sequence."""
    text, _ = Look(True, lambda: 20).message(name(event), [value])
    rest = text
    for code in ("0", "2", "31", "32", "33", "34", "35", "36", "1"):
        rest = rest.replace(f"\x1b[{code}m", "")
    assert set(commands(rest)) <= {"\n"}


def test_short_and_long() -> None:
    """What fits stands on one line, what does not is indented below."""
    assert plain().message("said", ["hi", {"a": [1]}])[0] == 'said "hi" {"a": [1]}'
    assert plain(12).message("said", ["hi", {"a": [1]}], "  (asks)")[0] == (
        'said  (asks)\n    "hi"\n    {\n      "a": [\n        1\n      ]\n    }'
    )
    assert plain().message("said", [])[0] == "said"


def test_too_long() -> None:
    """Of what is very long only the beginning is displayed, with a note how to see the rest."""
    text, cut = plain().message("big", ["x" * 3 * LONGEST])
    assert cut
    assert len(text) < LONGEST + 200
    assert ".whole" in text
    whole, cut = plain().message("big", ["x" * 3 * LONGEST], whole=True)
    assert not cut
    assert "x" * 3 * LONGEST in whole


def test_bytes() -> None:
    """Bytes are base64 in JSON lines, and abbreviated in the display."""
    data = bytes(1000)
    assert json.loads(line_of([data, b"ab"])) == [{"$bytes": "A" * 1334 + "=="}, {"$bytes": "YWI="}]
    text, _ = plain().message("x", [data, {"deep": b"ab"}])
    assert '{"$bytes": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…", "size": 1000}' in text
    assert '"deep": {"$bytes": "YWI="}' in text
    assert bytes_in([data, {"a": [b"1", "x"], "b": b"2"}]) == [data, b"1", b"2"]


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_infinite_numbers(number: float) -> None:
    """A number beyond a double, which JSON can say and Python reads as infinite, is null, so that the line is JSON."""
    assert json.loads(line_of({"a": [number, 1.5]})) == {"a": [None, 1.5]}


def test_deep_nesting() -> None:
    """What is nested too deeply to be shown is told so."""
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert "nested too deeply" in line_of(value)
    while value:  # take it apart without recursion
        value = value[0]


def test_long_names() -> None:
    """A name is displayed up to a bound."""
    assert len(name("x" * 10_000)) < 300
