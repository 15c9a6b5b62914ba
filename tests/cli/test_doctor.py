"""``madang doctor``: what it says of servers that are well, and of proxies that are not."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from typing import Any

import pytest
import socketio
from starlette.middleware.cors import CORSMiddleware

import madang
from madang.cli.doctor.command import wanted_by
from madang.cli.doctor.examination import examine
from madang.cli.doctor.findings import Finding, Findings
from madang.cli.main import command_line, main
from madang.errors import MadangError
from tests.cli.proxies import behind, plain_answer, without_upgrade
from tests.client.servers import Backend, MadangBackend, madang_backend
from tests.client.tools import Papers, over_tls
from tests.hosts import listening

ALL = [
    *("dns", "tcp", "path", "handshake", "cors", "polling", "sessions", "large POST"),
    *("websocket", "compression", "upgrade", "namespace", "large frame", "idle", "idle polling"),
]


class Found:
    """What the doctor found."""

    def __init__(self, findings: Findings, text: str) -> None:
        self.all = {finding.check: finding for finding in findings.all}
        self.text = text

    def __getitem__(self, check: str) -> Finding:
        assert check in self.all, self.text
        return self.all[check]

    def bad(self) -> list[str]:
        return [check for check, finding in self.all.items() if finding.verdict == "failed"]

    def notes(self) -> list[str]:
        return [check for check, finding in self.all.items() if finding.verdict == "note"]

    def failed(self, check: str, *words: str) -> None:
        """See that this failed, and that what is said of it has these words."""
        finding = self[check]
        assert finding.verdict == "failed", self.text
        said = " ".join((finding.seen, *finding.advice))
        assert [word for word in words if word not in said] == [], self.text


async def doctor(url: str, *arguments: str, idle: float = 0) -> Found:
    """Examine a server."""
    out = io.StringIO()
    findings = Findings(out)
    options = command_line().parse_args(["doctor", url, "--timeout", "5", "--idle", str(idle), *arguments])
    await examine(wanted_by(options), findings)
    return Found(findings, out.getvalue())


# --------------------------------------------------------------------------------------------------------- all is well


async def test_all_is_well(backend: Backend):
    """With Node's server and with madang's every check is made, and none fails."""
    found = await doctor(backend.url, "--echo", "echo", idle=0.1)
    assert (found.bad(), found.notes()) == ([], []), found.text
    assert sorted(found.all) == sorted([*ALL, "echo"])


async def test_python_socketio():
    """python-socketio's server is examined as well as any, and nothing of it is broken by that."""
    sio = socketio.AsyncServer(async_mode="asgi", monitor_clients=False)
    sio.on("connect", lambda *_: None)
    async with listening(socketio.ASGIApp(sio), "uvicorn") as url:
        found = await doctor(url, idle=0.1)
        assert (found.bad(), found.notes()) == ([], []), found.text
        assert sorted(found.all) == sorted(ALL)
        (await doctor(f"{url}/nosuch", "--sessions", "1")).failed("namespace", "no namespace of this name")
        await sio.shutdown()


async def test_over_tls(madang_only: MadangBackend, tmp_path):
    """A certificate that is trusted is told of with its end; one that ends soon is worth a note."""
    papers = Papers(tmp_path)
    async with over_tls(madang_only.url, papers.serving()) as url:
        found = await doctor(url, "--cacert", str(papers.ca), "--sessions", "1")
    assert found.bad() == [], found.text
    assert found.notes() == ["tls"]
    assert "Renew it" in " ".join(found["tls"].advice)


async def test_a_namespace_with_auth(backend: Backend):
    """`--namespace` or the URL's path is joined with `--auth`; a refusal is a failure if they were given."""
    found = await doctor(backend.url, "--namespace", "/auth", "--auth", "token=good", "--sessions", "1")
    assert found.bad() == [], found.text
    assert "/auth lets us in" in found.text
    found = await doctor(f"{backend.url}/auth", "--auth", "token=bad", "--sessions", "1")
    found.failed("namespace", "not allowed", "--auth")
    assert found.bad() == ["namespace"]
    assert (await doctor(f"{backend.url}/auth", "--sessions", "1", idle=0.1)).notes() == ["namespace"]


async def test_a_namespace_that_is_not_there(backend: Backend):
    """A URL whose path names no namespace of the server is told of, since clients that are given it cannot connect."""
    (await doctor(f"{backend.url}/nosuch", "--sessions", "1")).failed("namespace", "no namespace of this name")


async def test_one_transport_alone(leaks):
    """A server that takes WebSocket alone is examined over that, and one that takes polling alone over that."""
    async with leaks(), madang_backend(transports=["websocket"]) as backend:
        found = await doctor(backend.url, "--echo", "echo")
        assert (found.bad(), found.notes()) == ([], ["polling"]), found.text
        assert found["echo"].verdict == "ok"
    async with leaks(), madang_backend(transports=["polling"]) as backend:
        found = await doctor(backend.url, idle=0.05)
        assert found.bad() == ["websocket"], found.text
        assert found["idle polling"].verdict == "ok"


# ------------------------------------------------------------------------------------------------------ proxies' faults


async def test_upgrade_stripped(backend: Backend):
    """A proxy that drops `Upgrade` is told of, with nginx's lines for it; polling is well all the same."""
    async with behind(backend.url, asks=without_upgrade) as url:
        found = await doctor(url)
    found.failed("websocket", "do not arrive", "proxy_set_header Upgrade $http_upgrade")
    assert found.bad() == ["websocket"]


async def test_no_sticky_sessions(node_backend: Backend, madang_only: MadangBackend):
    """Two servers in turn do not know each other's sessions: that is said, and WebSocket is examined on its own."""
    for urls in ((node_backend.url, madang_only.url), (madang_only.url, node_backend.url)):
        async with behind(*urls) as url:
            found = await doctor(url)
        found.failed("sessions", "4 of 4", "Session ID unknown", "ip_hash", "stickiness")
        assert found.bad() == ["sessions"], found.text
        assert found["websocket"].verdict == "ok"


async def test_sticky_by_a_cookie(madang_only: MadangBackend, node_backend: Backend):
    """Sessions that stay with their server by a cookie are well, with a note for clients without cookies."""
    async with (
        behind(madang_only.url, replies=lambda head: head[:-2] + b"Set-Cookie: at=m; Path=/\r\n\r\n") as url,
        behind(url, answers=lambda head: plain_answer("400 Bad Request", '{"code":1,"message":"Session ID unknown"}')
            if "sid=" in head and "Cookie: at=m" not in head else None) as sticky,
    ):  # fmt: skip
        found = await doctor(sticky)
    assert (found.bad(), found.notes()) == ([], ["sessions"]), found.text
    assert "withCredentials" in " ".join(found["sessions"].advice)


async def test_held_back(madang_only: MadangBackend):
    """A proxy that keeps what polls are answered is told of; nobody waits longer for it than `--timeout`."""
    async with behind(madang_only.url, holds=True) as url:
        found = await doctor(url, "--timeout", "0.5")
    found.failed("polling", "no answer within 0.5 s", "proxy_buffering off")


async def test_idle_connections_cut(leaks):
    """A proxy that cuts what is quiet is told from a server that says good-bye, with when it did it and its options."""
    async with leaks(), madang_backend() as backend, behind(backend.url, idle=0.3) as url:
        found = await doctor(url, idle=20)
    found.failed("idle", "nobody said good-bye", "0.3 s after its last message", "every 25 s", "proxy_read_timeout")
    found.failed("idle polling", "proxy_read_timeout", "timeout tunnel")


async def test_idle_connections_kept_by_pings(leaks):
    """Where the server pings more often than the proxy cuts, idle connections live on."""
    async with (
        leaks(),
        madang_backend(ping_interval=0.1, ping_timeout=5.0) as backend,
        behind(backend.url, idle=2) as url,
    ):
        found = await doctor(url, idle=0.5)
    assert found.bad() == [], found.text
    assert "0 pings" not in found["idle"].seen


async def test_closed_by_the_server(leaks):
    """When the server itself ends the connection, that is not blamed on a proxy."""
    async with leaks(), madang_backend() as backend:
        backend.io.on("connection", lambda socket: backend.io.engine and asyncio.get_running_loop().call_later(
            0.1, socket.disconnect, True))  # fmt: skip
        found = await doctor(backend.url, "--sessions", "1", idle=20)
    found.failed("idle", "the server itself ended it")


async def test_bodies_too_large(madang_only: MadangBackend):
    """A proxy that refuses large bodies is told of with its option, and small ones are well."""

    def refuse(head: str) -> bytes | None:
        large = "Content-Length: 2621" in head
        return plain_answer("413 Request Entity Too Large", "<html>", "Content-Type: text/html") if large else None

    async with behind(madang_only.url, answers=refuse) as url:
        found = await doctor(url)
    found.failed("large POST", "413", "client_max_body_size")
    assert found.bad() == ["large POST"]


# --------------------------------------------------------------------------------------------------------- wrong places


async def test_another_path(leaks):
    """Socket.IO at another path is found, whether it is that of the URL, one without slash, or there twice."""
    async with leaks(), madang_backend(path="/yard/socket.io") as backend:
        found = await doctor(f"{backend.url}/yard", "--sessions", "1")
        found.failed("path", "/socket.io/: ", "answers at /yard/socket.io/", 'path: "/yard/socket.io/"')
        assert found.bad() == ["path"], found.text
    async with leaks(), madang_backend(path="/socket.io", add_trailing_slash=False) as backend:
        assert (await doctor(backend.url, "--sessions", "1")).bad() == []
    async with leaks(), madang_backend(path="/socket.io/socket.io") as backend:
        found = await doctor(f"{backend.url}/socket.io", "--sessions", "1")
        found.failed("path", "twice", "mount it at /socket.io")
        assert found.bad() == ["path"]
        assert (await doctor(backend.url, "--path", "socket.io/socket.io", "--sessions", "1")).bad() == []


async def test_a_prefix_that_is_kept(madang_only: MadangBackend):
    """Where the proxy hands on a prefix that the server knows nothing of, what the server says of it is repeated."""

    def only_below_app(head: str) -> bytes | None:
        return None if " /app/" in head else plain_answer("404 Not Found")

    async with behind(madang_only.url, answers=only_below_app) as url:
        found = await doctor(f"{url}/app")
    found.failed("path", "404", "at /app/socket.io/: ", "The prefix /app stands before it")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (plain_answer("404 Not Found", "<html>", "Content-Type: text/html"), ("404", "nginx", "/ws/", "proxy_pass")),
        (plain_answer("502 Bad Gateway", "<html>"), ("502", "does not reach the server")),
        (plain_answer("200 OK", "<html>app", "Content-Type: text/html"), ("a page", "Another application")),
        (plain_answer("301 Moved", "", "Location: https://a.example/socket.io/"), ("https://a.example", "redirect")),
        (plain_answer("302 Found", "", "Location: /login"), ("/login", "redirecting")),
        (plain_answer("401 Unauthorized"), ("401", "auth_basic")),
        (plain_answer("200 OK", '96:0{"sid":"a"}'), ("Socket.IO 2",)),
        (plain_answer("400 Bad Request", "The plain HTTP request was sent to HTTPS port"), ("https://127.0.0.1",)),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ("no HTTP", "SSH-2.0")),
        (b"", ("closed without an answer",)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ("no HTTP",)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ("no HTTP",)),
    ],
)
async def test_not_socket_io(answer: bytes, words: tuple[str, ...]):
    """Whatever answers in place of Socket.IO is named, with what to change; then there is nothing more to examine."""
    async with behind(answers=lambda head: answer) as url:
        found = await doctor(url)
    found.failed("path", *words)
    assert found.bad() == ["path"]
    assert list(found.all) == ["dns", "tcp", "path"]


async def test_nobody_there(free_port: int):
    """A port without a server, and a name without an address, are told apart."""
    (await doctor(f":{free_port}")).failed("tcp", "Is the server running")
    (await doctor("http://nowhere.invalid")).failed("dns", "there is no address")


# --------------------------------------------------------------------------------------------------------- TLS and CORS


async def test_certificates(madang_only: MadangBackend, tmp_path):
    """An authority that is not known, a wrong name, and no TLS at all are told apart; the rest is examined anyway."""
    papers = Papers(tmp_path)
    stranger = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    stranger.load_cert_chain(*papers._sign("stranger", "subjectAltName=DNS:other.example"))
    async with over_tls(madang_only.url, papers.serving()) as url:
        found = await doctor(url, "--sessions", "1")
        found.failed("tls", "certificate", "fullchain.pem", "--cacert")
        assert found.bad() == ["tls"], found.text
        found = await doctor(url, "--insecure", "--sessions", "1")
        assert (found.bad(), found.notes()) == ([], ["tls"])
    async with over_tls(madang_only.url, stranger) as url:
        found = await doctor(url.replace("127.0.0.1", "localhost"), "--cacert", str(papers.ca), "--sessions", "1")
        found.failed("tls", "localhost", "other.example", "server_name")
        assert found.bad() == ["tls"], found.text
    (await doctor(madang_only.url.replace("http", "https"))).failed("tls", "speaks no TLS", "http://")


ORIGIN = "https://page.example"


async def test_cors(leaks):
    """An origin that is let in is well; one that is refused is told of with the option that must name it."""
    async with leaks(), madang_backend(cors={"origin": ORIGIN, "credentials": True}) as backend:
        found = await doctor(backend.url, "--origin", ORIGIN, "--sessions", "1")
        assert found.bad() == [], found.text
        assert "with cookies" in found["cors"].seen
        found = await doctor(backend.url, "--origin", "https://other.example", "--sessions", "1")
        found.failed("cors", "https://other.example", "403", "cors_allowed_origins")
        assert found.bad() == ["cors"]
        async with behind(backend.url, replies=lambda head: head.replace(b"access-control-allow-origin", b"x")) as url:
            (await doctor(url, "--origin", ORIGIN)).failed("cors", "no Access-Control-Allow-Origin")
        async with behind(backend.url, asks=lambda head: head.replace(b"Host: ", b"Host: inner.")) as url:
            found = await doctor(url, "--sessions", "1")
            assert (found.bad(), found.notes()) == ([], ["cors"]), found.text
            assert "proxy_set_header Host" in " ".join(found["cors"].advice)


async def test_cors_doubled(leaks):
    """CORS headers that come twice, or with two values, are told of, with those who are known for adding some."""
    second = b"Access-Control-Allow-Origin: *\r\n\r\n"
    async with leaks(), madang_backend(cors={"origin": ORIGIN}) as backend:
        async with behind(backend.url, replies=lambda head: head[:-2] + second) as url:
            found = await doctor(url, "--origin", ORIGIN, "--sessions", "1")
        found.failed("cors", "twice", f"{ORIGIN}, *", "add_header", "CORSMiddleware")
        joined = ORIGIN.encode() + b", *"
        async with behind(backend.url, replies=lambda head: head.replace(ORIGIN.encode(), joined)) as url:
            (await doctor(url, "--origin", ORIGIN, "--sessions", "1")).failed("cors", "several values")


@pytest.mark.parametrize("inner", ["python-socketio", "madang"])
async def test_a_middleware_around(inner: str):
    """Starlette's CORSMiddleware doubles what python-socketio answers, and is told of; madang's answer it replaces."""
    io = madang.Server(cors={"origin": ORIGIN})
    sio = socketio.AsyncServer(async_mode="asgi", monitor_clients=False, cors_allowed_origins=[ORIGIN])
    app = io if inner == "madang" else socketio.ASGIApp(sio)
    async with listening(CORSMiddleware(app, allow_origins=[ORIGIN]), "uvicorn") as url:
        found = await doctor(url, "--origin", ORIGIN, "--sessions", "1")
        await io.close()
        await sio.shutdown()
    if inner == "madang":
        assert "cors" not in found.bad(), found.text
    else:
        found.failed("cors", "twice", "CORSMiddleware around python-socketio")


# --------------------------------------------------------------------------------------------------- the command itself


async def command(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["doctor", *arguments])


async def test_for_machines(madang_only: MadangBackend, capsys):
    """`--json` gives a line for each finding and one for the whole; the exit status is 0, or 1 if something failed."""
    few = ("--json", "--idle", "0", "--sessions", "1")
    assert await command(madang_only.url, *few) == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["check"] for line in lines[:-1]] == ALL[:-2]
    assert lines[-1] == {"check": "summary", "failed": 0, "notes": 0, "ok": True}
    async with behind(answers=lambda head: plain_answer("502 Bad Gateway")) as url:
        assert await command(url, *few) == 1
    last = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-2:]
    assert (last[0]["verdict"], last[1]["ok"]) == ("failed", False)


async def test_wrong_usage(capsys):
    """What cannot be examined is told in a line on standard error, with status 2."""
    assert await command("ftp://a.example") == 2
    assert await command(":1", "--origin", "a.example") == 2
    errors = capsys.readouterr().err
    assert "the scheme must be http" in errors
    assert "--origin is to be given with its scheme" in errors
    with pytest.raises(MadangError):
        wanted_by(command_line().parse_args(["doctor", ":1", "--header", "none"]))


def test_terminals_that_can_write_little():
    """A terminal that knows ASCII alone gets marks and text in ASCII; nothing that came from outside commands one."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    findings = Findings(out)
    findings.ok("a", "good")
    findings.failed("b", "bad \x1b[31m 안녕", "mend it")
    findings.finish()
    out.seek(0)
    assert out.read().splitlines() == [
        "[ok]   a: good",
        "[FAIL] b: bad \\u001b[31m \\uc548\\ub155",
        "    mend it",
        "One thing does not work.",
    ]


def test_limits_of_proxies():
    """The time after which a connection was cut is held against what proxies are known for."""
    from madang.cli.doctor.advice import known_limit

    assert "nginx" in known_limit(60.2)[0]
    assert "Cloudflare" in known_limit(100.9)[0]
    assert known_limit(77) == ()
