"""Static files beside the endpoint."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

import madang
from tests.hosts import ALL_HOSTS, Host, listening

pytestmark = pytest.mark.feature("B8")


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A folder with what a small page needs, and beside it what is nobody's business."""
    root = tmp_path / "web"
    (root / "static" / "deep").mkdir(parents=True)
    (root / "index.html").write_text("<h1>마당</h1>")
    (root / "static" / "app.js").write_text("let x;")
    (root / "static" / "deep" / "index.html").write_text("deep")
    (root / "static" / "large.bin").write_bytes(os.urandom(300_000))
    (root / "static" / ".secret").write_text("no")
    (root / "static" / "empty.css").write_text("")
    (tmp_path / "outside.txt").write_text("no")
    (root / "static" / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "static" / "inner.js").symlink_to(root / "static" / "app.js")
    return root


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def _app(web: Path, app: Any = None, **options: Any) -> madang.ASGIApp:
    return madang.ASGIApp(
        madang.Server(**options), app, static_files={"/": web / "index.html", "/static": str(web / "static")}
    )


@pytest.mark.parametrize("host", [host for host in ALL_HOSTS if host != "native"])
async def test_on_every_host(http: httpx.AsyncClient, web: Path, host: Host):
    """A file and a folder are served beside the endpoint, with their types, to GET and HEAD."""
    async with listening(_app(web), host) as url:
        for path, kind, text in (
            ("/", "text/html", "<h1>마당</h1>"),
            ("/static/app.js", "text/javascript", "let x;"),
            ("/static/deep/", "text/html", "deep"),
            ("/static/empty.css", "text/css", ""),
        ):
            got = await http.get(url + path)
            assert (got.status_code, got.text) == (200, text)
            assert got.headers["content-type"] in (
                f"{kind}; charset=utf-8",
                f"{kind.replace('text/java', 'application/java')}; charset=utf-8",
            )
            head = await http.head(url + path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(text.encode()))
        large = await http.get(f"{url}/static/large.bin")
        assert large.content == (web / "static" / "large.bin").read_bytes()
        assert large.headers["content-type"] == "application/octet-stream"
        assert (await http.get(f"{url}/socket.io/?EIO=4&transport=polling")).text.startswith("0{")


async def test_on_the_native_host(http: httpx.AsyncClient, web: Path):
    """`static_files` is an option of `run`, `serve` and `start` as well."""
    io = madang.Server()
    running = await io.start(port=0, static_files={"/static": web / "static"})
    try:
        assert (await http.get(f"{running.url}/static/app.js")).text == "let x;"
        assert (await http.get(f"{running.url}/other")).status_code == 404
        assert (await http.get(f"{running.url}/socket.io/?EIO=4&transport=polling")).text.startswith("0{")
    finally:
        await running.stop()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../outside.txt",
        "/static/%2e%2e/%2e%2e/outside.txt",
        "/static/..%2f..%2foutside.txt",
        "/static/link.txt",
        "/static/.secret",
        "/static//etc/passwd",
        "/static/deep",
        "/static/none.js",
        "/static/app.js/x",
        "/static/a%00b",
        "/static/..%5coutside.txt",
        "/static/" + "x" * 5000,
        "/index.html",
        "/statically",
    ],
)
async def test_nothing_else(web: Path, path: str):
    """Nothing outside of the folder is served, nothing hidden, and nothing that is not there."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is received")

    scope = {"type": "http", "method": "GET", "path": unquote(path), "headers": [], "query_string": b""}
    await _app(web)(scope, receive, send)
    assert sent[0]["status"] == 404


async def test_a_link_within_the_folder(http: httpx.AsyncClient, web: Path):
    """A link that stays in the folder is followed."""
    async with listening(_app(web), "uvicorn") as url:
        assert (await http.get(f"{url}/static/inner.js")).text == "let x;"


async def test_not_modified(http: httpx.AsyncClient, web: Path):
    """Who has a file gets 304, by its tag or its time, until it has changed."""
    async with listening(_app(web), "uvicorn") as url:
        first = await http.get(f"{url}/static/app.js")
        tag, time = first.headers["etag"], first.headers["last-modified"]
        for headers in ({"if-none-match": tag}, {"if-none-match": f"W/{tag}"}, {"if-modified-since": time}):
            got = await http.get(f"{url}/static/app.js", headers=headers)
            assert (got.status_code, got.content) == (304, b"")
        for headers in ({"if-none-match": '"x"', "if-modified-since": time}, {"if-modified-since": "yesterday"}):
            assert (await http.get(f"{url}/static/app.js", headers=headers)).status_code == 200
        (web / "static" / "app.js").write_text("let yy;")
        os.utime(web / "static" / "app.js", (2e9, 2e9))
        assert (await http.get(f"{url}/static/app.js", headers={"if-none-match": tag})).text == "let yy;"


async def test_the_other_application(http: httpx.AsyncClient, web: Path):
    """What is no file is the other application's, other methods too; of two URLs the longer one counts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"other " + scope["method"].encode()})

    async with listening(_app(web, app), "uvicorn") as url:
        assert (await http.get(f"{url}/none")).text == "other GET"
        assert (await http.post(f"{url}/static/app.js")).text == "other POST"
        assert (await http.get(f"{url}/static/none")).text == "other GET"
        assert (await http.get(f"{url}/static/app.js")).text == "let x;"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"static": "."}, "begins with a slash"),
        ({"/": "no/such/file"}, "cannot be found"),
        ({"/": 3}, "must stand for a file or folder"),
        (["/"], "must be a dict"),
    ],
)
def test_bad_options(given: Any, words: str):
    """What cannot be served is refused at once, in words that say what to change."""
    with pytest.raises(madang.OptionError, match=words):
        madang.ASGIApp(madang.Server(), static_files=given)
