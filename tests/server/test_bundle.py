"""The browser's client, as the server itself serves it."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import madang
from madang.server.bundle import NAMES, find_bundle
from tests.hosts import ALL_HOSTS, ROOT, Host, listening

PACKAGE = ROOT / "tests" / "js" / "node_modules" / "socket.io"
DIST = PACKAGE / "client-dist"
ETAG = f'"{json.loads((PACKAGE / "package.json").read_bytes())["version"]}"'
PLAIN = {"accept-encoding": "identity"}

pytestmark = pytest.mark.feature("A18", "B7")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers=PLAIN) as client:
        yield client


@pytest.mark.node(
    "attachment.1",
    "attachment.2",
    "attachment.3",
    "attachment.4",
    "attachment.5",
    "attachment.9",
    "attachment.10",
    "attachment.11",
    "attachment.12",
    "attachment.18",
    "uws.12",
    "uws.13",
    "uws.14",
    "uws.15",
    "uws.16",
    "uws.17",
    "uws.18",
    "uws.19",
    "uws.20",
    "uws.21",
    "uws.22",
)
@pytest.mark.parametrize("host", ALL_HOSTS)
async def test_every_file_on_every_host(http: httpx.AsyncClient, host: Host):
    """Each of the eight files comes byte for byte, with type and entity tag, and 304 to who has it."""
    io = madang.Server(serve_client=DIST)
    async with listening(io, host) as url:
        for name in sorted(NAMES):
            got = await http.get(f"{url}/socket.io/{name}?buster=123")
            kind = "application/json" if name.endswith(".map") else "application/javascript"
            assert (got.status_code, got.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
            assert got.content == (DIST / name).read_bytes()
            assert (got.headers["etag"], got.headers["cache-control"]) == (ETAG, "public, max-age=0")
            assert "x-sourcemap" not in got.headers
            head = await http.head(f"{url}/socket.io/{name}")
            assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", ETAG)
            for tag, status in ((ETAG, 304), (f"W/{ETAG}", 304), ('"0.1"', 200)):
                got = await http.get(f"{url}/socket.io/{name}", headers={"if-none-match": tag})
                assert (got.status_code, got.headers["etag"]) == (status, ETAG)
        assert (await http.get(f"{url}/socket.io/socket.io.esm.js")).status_code == 400
        assert (await http.get(f"{url}/abcdefghij/socket.io.js")).status_code == 404


@pytest.mark.node("attachment.13", "attachment.14")
@pytest.mark.parametrize("tag", [ETAG, f"W/{ETAG}", f'"other", W/{ETAG}', "*"])
async def test_not_modified(http: httpx.AsyncClient, tag: str):
    """A browser that has this version gets 304, by the strong and by the weak tag."""
    async with listening(madang.Server(serve_client=PACKAGE)) as url:
        got = await http.get(f"{url}/socket.io/socket.io.js", headers={"if-none-match": tag})
        assert (got.status_code, got.content, got.headers["etag"]) == (304, b"", ETAG)
        other = await http.get(f"{url}/socket.io/socket.io.js", headers={"if-none-match": '"0.1"'})
        assert other.status_code == 200


@pytest.mark.node("attachment.6")
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip,br,deflate", "gzip"), ("deflate", "deflate"), ("deflate;q=0.5, gzip;q=0.9", "gzip"), ("zstd", None)],
)
async def test_compressed(accepted: str, coding: str | None):
    """The files come compressed as the client likes it best, and plain to one that knows no coding of ours."""
    plain = (DIST / "socket.io.min.js").read_bytes()
    io = madang.Server(serve_client=str(DIST))
    async with listening(io) as url, httpx.AsyncClient() as client:
        address = f"{url}/socket.io/socket.io.min.js"
        async with client.stream("GET", address, headers={"accept-encoding": accepted}) as got:
            body = b"".join([part async for part in got.aiter_raw()])
            assert got.headers.get("content-encoding") == coding
            assert got.headers["vary"] == "Accept-Encoding"
    unpack: Any = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[coding]
    assert unpack(body) == plain
    assert (len(body) < len(plain) / 2) is (coding is not None)


@pytest.mark.node("attachment.7")
async def test_brotli(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    """Where a module for Brotli is installed, a client that takes nothing else gets that."""
    module: Any = ModuleType("brotli")
    module.compress = lambda body, quality: b"br:%d:" % quality + body[:10]
    monkeypatch.setitem(sys.modules, "brotli", module)
    async with (
        listening(madang.Server(serve_client=DIST)) as url,
        http.stream("GET", f"{url}/socket.io/socket.io.js", headers={"accept-encoding": "br"}) as got,
    ):
        assert got.headers["content-encoding"] == "br"
        assert (
            b"".join([part async for part in got.aiter_raw()]) == b"br:5:" + (DIST / "socket.io.js").read_bytes()[:10]
        )


@pytest.mark.node("attachment.8")
async def test_cors(http: httpx.AsyncClient):
    """The files carry the headers of the `cors` option, for the origins that it names and for no others."""
    good = "https://good.example"
    async with listening(madang.Server(serve_client=DIST, cors={"origin": good, "credentials": True})) as url:
        address = f"{url}/socket.io/socket.io.esm.min.js"
        got = await http.get(address, headers={"origin": good})
        assert got.headers["access-control-allow-origin"] == good
        assert got.headers["access-control-allow-credentials"] == "true"
        other = await http.get(address, headers={"origin": "https://bad.example"})
        assert other.status_code == 200
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("at", ["/socket.io", "/", "/yard"])
async def test_mounted(http: httpx.AsyncClient, at: str):
    """Mounted, the server has the files where clients have their path, as well as below its own."""
    io = madang.Server(serve_client=DIST)
    async with listening(Starlette(routes=[Mount(at, io)]), "uvicorn") as url:
        base = url if at == "/" else url + at
        places = {"/socket.io": ["/socket.io.js"], "/": ["/socket.io/socket.io.js"]}
        for place in places.get(at, ["/socket.io.js", "/socket.io/socket.io.js"]):
            got = await http.get(base + place)
            assert (got.status_code, got.headers["etag"]) == (200, ETAG), place
        assert (await http.get(f"{base}/other.js")).status_code in (400, 404)
        await io.close()


@pytest.mark.node("attachment.15", "attachment.19", "attachment.20")
async def test_off_and_unknown_names(http: httpx.AsyncClient):
    """Off, and under any other name, such a URL is a bad Engine.IO request; under another path it is nothing."""
    async with listening(madang.Server(serve_client=False)) as url:
        assert (await http.get(f"{url}/socket.io/socket.io.js")).status_code == 400
    async with listening(madang.Server(serve_client=DIST)) as url:
        for name in ("socket.io.esm.js", "package.json", "../package.json", "%2e%2e/package.json", "socket.io.js/"):
            assert (await http.get(f"{url}/socket.io/{name}")).status_code in (400, 404)
        assert (await http.get(f"{url}/abcdefghij/socket.io.js")).status_code == 404
        assert (await http.post(f"{url}/socket.io/socket.io.js")).status_code == 400


async def test_found_or_not(http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Unless told otherwise the server serves what is installed here or above, and is silent where nothing is."""
    monkeypatch.chdir(tmp_path)
    async with listening(madang.Server()) as url:
        assert (await http.get(f"{url}/socket.io/socket.io.js")).status_code == 400
    with pytest.raises(madang.OptionError, match=r"no client is installed in .* npm install socket.io-client"):
        madang.Server(serve_client=True)
    below = tmp_path / "web" / "app"
    installed = tmp_path / "node_modules" / "socket.io-client" / "dist"
    for folder in (below, installed):
        folder.mkdir(parents=True)
    (installed / "socket.io.js").write_text("// ours")
    assert find_bundle(below) == installed
    monkeypatch.chdir(below)
    for io in (madang.Server(), madang.Server(serve_client=True)):
        async with listening(io) as url:
            got = await http.get(f"{url}/socket.io/socket.io.js")
            assert (got.status_code, got.text) == (200, "// ours")
            assert got.headers["etag"].startswith('"')
            assert len(got.headers["etag"]) == 18
            assert (await http.get(f"{url}/socket.io/socket.io.min.js")).status_code == 400


@pytest.mark.parametrize("given", [3, b"x", ["a"]])
def test_bad_options(given: Any):
    """What is neither a flag nor a path is refused at once."""
    with pytest.raises(madang.OptionError, match="serve_client must be True, False or the path"):
        madang.Server(serve_client=given)


def test_a_folder_without_a_client(tmp_path: Path):
    """A folder without the files is refused at once, and the text names the mend."""
    with pytest.raises(madang.OptionError, match=r"has none of socket.io.js.*npm install"):
        madang.Server(serve_client=tmp_path)


async def test_hooks_are_not_asked(http: httpx.AsyncClient):
    """A file is no handshake: neither middleware of the engine nor `allow_request` is asked."""
    asked: list[str] = []
    io = madang.Server(serve_client=DIST, allow_request=lambda request: bool(asked.append(request.path)))
    io.engine.use(lambda request: asked.append(request.path))
    async with listening(io) as url:
        assert (await http.get(f"{url}/socket.io/socket.io.js")).status_code == 200
    assert asked == []


_PROGRAM = """
import { WebSocket } from "ws";
globalThis.WebSocket = WebSocket; // what a browser has
const [url] = process.argv.slice(1);
const code = await (await fetch(url + "/socket.io/socket.io.js")).text();
const module = { exports: {} };
new Function("module", "exports", "globalThis", code)(module, module.exports, globalThis);
const socket = module.exports(url, { transports: ["websocket"] });
socket.emit("from the script", 1, (answer) => { console.log(answer); socket.close(); });
"""


async def test_the_script_is_a_client():
    """A page that loads the script from the server has a client that talks to it."""
    io = madang.Server(serve_client=DIST)
    io.on("from the script", lambda socket, number: number + 1)
    async with listening(io) as url:
        node = await asyncio.create_subprocess_exec(
            "node",
            "--input-type=module",
            "-e",
            _PROGRAM,
            url,
            cwd=ROOT / "tests" / "js",
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            out, _ = await asyncio.wait_for(node.communicate(), 30)
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    assert out == b"2\n"
