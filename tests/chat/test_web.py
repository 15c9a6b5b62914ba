"""The HTTP side of the chat: page, stock client and log-in."""

from __future__ import annotations

import shutil

import httpx
import pytest

from tests.chat.conftest import ROOT, ChatServer


@pytest.fixture
def http(chat):
    with httpx.Client(base_url=chat.url) as client:
        yield client


def test_the_page_and_its_files_are_served(http):
    """The page, its modules and the stock client are there, each as what it is."""
    types = {
        "/": "text/html",
        "/main.js": "text/javascript",
        "/style.css": "text/css",
        "/icons.svg": "image/svg+xml",
        "/socket.io-client/socket.io.esm.min.js": "text/javascript",
    }
    for path, kind in types.items():
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith(kind), path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    ["/package.json", "/node_modules/socket.io-client/package.json", "/../server.py", "/%2e%2e/chat.db", "/nothing.js"],
)
def test_what_is_not_of_the_page_is_not_served(http, path):
    """Files beside and above the page are not to be had."""
    assert http.get(path).status_code == 404


def test_who_logs_in_gets_a_token(http):
    """A name makes a person with a token of their own."""
    answer = http.post("/login", json={"name": "  민지 "}).json()
    assert answer["user"]["name"] == "민지"
    assert answer["user"]["id"].startswith("u_")
    assert answer["token"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"name": ""}', 422, "name_empty"),
        (b'{"name": "' + b"x" * 25 + b'"}', 422, "name_too_long"),
        (b'{"name": "\\u0000"}', 422, "name_unprintable"),
        (b"{}", 400, "bad_request"),
        (b"\xff", 400, "bad_request"),
        (b'{"name": 7}', 400, "bad_request"),
        (b'{"name": "' + b"x" * 5000 + b'"}', 413, "too_large"),
    ],
)
def test_a_log_in_that_will_not_do_is_refused(http, body, status, code):
    """A log-in that cannot be understood or has no proper name is refused with a code and a reason."""
    answer = http.post("/login", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]


def test_without_the_stock_client_the_page_says_what_to_do(free_port, tmp_path):
    """Where `npm install` was not run, the page says so in both languages, and the server too."""
    shutil.copytree(
        ROOT / "examples" / "chat", tmp_path / "chat", ignore=shutil.ignore_patterns("node_modules", "*.db*")
    )
    server = ChatServer(free_port, tmp_path)
    server.start(package="chat", cwd=tmp_path)
    answer = httpx.get(server.url)
    server.stop()
    assert answer.status_code == 503
    assert "make chat" in answer.text
    assert "npm install" in answer.text
    assert "npm install" in server.log


def test_a_taken_port_is_said_plainly(chat, free_port, tmp_path):
    """On a port that is taken the chat does not start, and says why in one line."""
    second = ChatServer(free_port, tmp_path / "..")
    with pytest.raises(AssertionError, match="did not start"):
        second.start()
    second.kill()


def test_it_ends_when_told_to(chat):
    """On SIGTERM the chat ends cleanly."""
    assert chat.stop() == 0
