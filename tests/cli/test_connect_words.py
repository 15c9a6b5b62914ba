"""Lines and arguments of ``madang connect``: from words to values."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.cli import words
from madang.cli.completing import written
from madang.cli.words import WordError, split, value_of, values_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=3), inner, max_size=3),
    max_leaves=8,
)


def said(line: str) -> list[Any]:
    return values_of(split(line))


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("", []),
        ("   ", []),
        ("add 1 -2.5 1e3", ["add", 1, -2.5, 1000.0]),
        ("x true false null", ["x", True, False, None]),
        ('x {"a": 1, "b": [1, 2]} after', ["x", {"a": 1, "b": [1, 2]}, "after"]),
        ('x [ "a b", "]" ] {}', ["x", ["a b", "]"], {}]),
        ('"chat message" "1" ""', ["chat message", "1", ""]),
        ("'chat message' '1' ''", ["chat message", 1, ""]),
        ("""'{"a": "b c"}'""", [{"a": "b c"}]),
        ("'it's fine' don't say: it's", ["it's fine", "don't", "say:", "it's"]),
        ("x True NaN Infinity 01 1e999 -", ["x", "True", "NaN", "Infinity", "01", "1e999", "-"]),
        (r'"a\nb" a\nb', ["a\nb", r"a\nb"]),
        ("x @@home @", ["x", "@home", "@"]),
        ('x\t{"a":1}\t 안녕 🙂', ["x", {"a": 1}, "안녕", "🙂"]),
        ('x {"$bytes": "AAE="} [{"$bytes": ""}]', ["x", b"\x00\x01", [b""]]),
        ('x {"$bytes": 1} {"$bytes": "AAE=", "more": 1}', ["x", {"$bytes": 1}, {"$bytes": "AAE=", "more": 1}]),
    ],
)
def test_lines(line: str, values: list[Any]) -> None:
    """JSON is one argument with its spaces, quotes make one word, and what is not JSON is text."""
    assert said(line) == values


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('x {"a": 1', "column"),
        ("x {a: 1}", "begins like JSON but is not"),
        ("[hi] there", "begins like JSON"),
        ('x "not closed', "Unterminated string"),
        ("x 'not closed", "is not closed"),
        ('x "a"b', "a space is missing"),
        ('x {"a": NaN}', "NaN is no number"),
        ('x {"a": 1e999}', "1e999 is no number"),
        ('x {"$bytes": "?"}', "not base64"),
        ("x " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_lines_that_cannot_be_read(line: str, why: str) -> None:
    """What begins like JSON and is not is never sent as something else; the message says why."""
    with pytest.raises(WordError, match=why):
        said(line)


@settings(max_examples=50)
@given(st.lists(JSON, max_size=4))
def test_json_in_a_line(values: list[Any]) -> None:
    """Whatever JSON values stand in a line, each is one argument, and comes out as it was."""
    assert said("event " + " ".join(map(json.dumps, values))) == ["event", *values]


@settings(max_examples=50)
@given(st.text())
def test_any_line_is_read_or_refused(line: str) -> None:
    """No line does anything but give words or say what is wrong with it."""
    try:
        found = split(line)
    except WordError:
        return
    assert "".join(line.split()) == "" or found


@settings(max_examples=50)
@given(st.text())
def test_a_name_as_it_is_offered(event: str) -> None:
    """What Tab writes for an event's name is read as that name, whatever is in it."""
    assert [word.text for word in split(written(event))] == [event]


def test_files(tmp_path: Path) -> None:
    """``@file`` and ``{"$file": …}`` are the bytes of files."""
    path = tmp_path / "photo of me.png"
    path.write_bytes(b"\x89PNG\x00\xff")
    assert value_of(f"@{path}") == b"\x89PNG\x00\xff"
    assert said(f"""x '@{path}' {{"data": {{"$file": "{path}"}}}}""") == [
        "x",
        path.read_bytes(),
        {"data": path.read_bytes()},
    ]


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing, a folder, and one that is too large are refused with their name."""
    monkeypatch.setattr(words, "LARGEST_FILE", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    for path, why in (("missing", "No such file"), ("", "directory"), ("large", "larger than 10")):
        with pytest.raises(WordError, match=why):
            value_of(f"@{tmp_path / path}")
    with pytest.raises(WordError, match="null"):
        value_of("@a\0b")


def test_bytes_come_back(tmp_path: Path) -> None:
    """What is printed for bytes may be given back as an argument."""
    data = bytes(range(256))
    assert value_of(json.dumps({"$bytes": base64.b64encode(data).decode()})) == data
