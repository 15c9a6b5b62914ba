"""Names of people and rooms."""

from __future__ import annotations

import unicodedata

import pytest

from examples.chat import names


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("민지", "민지"),
        ("  Jun  ", "Jun"),
        ("Kim \t Minji", "Kim Minji"),
        (unicodedata.normalize("NFD", "민지"), "민지"),
    ],
)
def test_a_name_is_tidied(written, kept):
    """Space around a name goes, space inside is one space, and Hangul is composed."""
    assert names.tidy(written) == kept


@pytest.mark.parametrize(
    ("written", "code"),
    [("", "name_empty"), (" \n ", "name_empty"), ("가" * 25, "name_too_long"), ("a\x00b", "name_unprintable"),
     ("a\u202eb", "name_unprintable"), ("a\u200bb", "name_unprintable")],
)  # fmt: skip
def test_a_name_nobody_can_go_by(written, code):
    """A name that is empty, too long or cannot be shown is refused, and the code says which."""
    with pytest.raises(names.BadName) as caught:
        names.tidy(written)
    assert caught.value.code == code


def test_the_longest_name():
    """A name may have 24 characters, counted as people count."""
    assert len(names.tidy("가" * 24)) == 24


def test_names_that_look_the_same_are_the_same():
    """Capital letters and full-width forms do not make another name."""
    assert names.key("MINJI") == names.key("minji") == names.key("\uff2d\uff49\uff4e\uff4a\uff49")
    assert names.key("민지") != names.key("민재")
