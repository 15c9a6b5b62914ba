"""Log-in tokens: who may come in, and what is said to who may not."""

from __future__ import annotations

import stat

import pytest

from examples.chat.events import User
from examples.chat.tokens import TokenError, Tokens, load_secret

MINJI = User("u_1", "민지")


@pytest.fixture
def tokens():
    return Tokens(b"secret")


def refusal(tokens, token):
    with pytest.raises(TokenError) as caught:
        tokens.read(token)
    return caught.value.code


def test_a_token_says_whose_it_is(tokens):
    """A token that was issued is read back as the same person."""
    assert tokens.read(tokens.issue(MINJI)) == MINJI


def test_a_token_can_travel_anywhere(tokens):
    """A token is plain ASCII without spaces, whatever the name is."""
    token = tokens.issue(MINJI)
    assert token.isascii()
    assert not any(character.isspace() for character in token)


@pytest.mark.parametrize("nothing", [None, "", 0, {}])
def test_no_token_is_said_to_be_missing(tokens, nothing):
    """Who sends no token hears that it is missing, not that it is wrong."""
    assert refusal(tokens, nothing) == "token_missing"


@pytest.mark.parametrize("nonsense", ["x", ".", "a.b.c", "민지", "e30.", 7, ["a"], {"token": "x"}])
def test_what_is_no_token_is_refused(tokens, nonsense):
    """Anything of any type that is not a token is refused as invalid."""
    assert refusal(tokens, nonsense) == "token_invalid"


def test_a_changed_token_is_refused(tokens):
    """A token of which any one character was changed is refused."""
    token = tokens.issue(MINJI)
    for index, character in enumerate(token):
        changed = token[:index] + ("x" if character != "x" else "y") + token[index + 1 :]
        assert refusal(tokens, changed) == "token_invalid"


def test_a_token_of_another_secret_is_refused(tokens):
    """A token signed with another secret is refused."""
    assert refusal(tokens, Tokens(b"another").issue(MINJI)) == "token_invalid"


def test_a_token_ends():
    """A token is good until its last second, and is then said to have expired."""
    now = 1000.0
    tokens = Tokens(b"secret", lifetime=60, clock=lambda: now)
    token = tokens.issue(MINJI)
    now = 1059.9
    assert tokens.read(token) == MINJI
    now = 1060.0
    assert refusal(tokens, token) == "token_expired"


def test_a_signed_token_of_another_shape_is_refused(tokens):
    """A token whose signature is right but whose content is not ours is refused, not a crash."""
    for body in (b"e30=", b"bnVsbA==", b"!!!", b"a"):
        assert refusal(tokens, f"{body.decode()}.{tokens._sign(body)}") == "token_invalid"


def test_the_secret_is_kept(tmp_path):
    """The secret is made once, is the same after a restart, and only its owner can read it."""
    path = tmp_path / "chat.secret"
    secret = load_secret(path)
    assert len(secret) == 64
    assert load_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_houses_have_two_secrets(tmp_path):
    """A secret is never the same twice."""
    assert load_secret(tmp_path / "a") != load_secret(tmp_path / "b")
