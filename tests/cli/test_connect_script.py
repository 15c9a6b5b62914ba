"""``madang connect`` with ``--emit`` and ``--listen``: what scripts get, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import COMMAND, END_WITHIN, WEBSOCKET, connect, end, start
from tests.client.servers import Backend, MadangBackend, NodeBackend
from tests.client.tools import WAYS, Papers, over_tls
from tests.conformance.wire import before
from tests.hosts import ROOT

_numbers = count(1)


def whoever() -> str:
    return f"command {next(_numbers)}"


@asynccontextmanager
async def running(*arguments: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(*arguments, **env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line of its output."""
    assert process.stdout is not None
    return json.loads(await before(END_WITHIN, process.stdout.readline(), "a line of output"))


async def told(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait until it has told something on standard error."""
    assert process.stderr is not None
    while text not in (got := (await before(END_WITHIN, process.stderr.readline(), text)).decode()):
        assert got, f"it ended without telling {text!r}"


# ---------------------------------------------------------------------------------------------------------------- emit


@pytest.mark.parametrize(
    ("backend", "way"),
    [("node", "websocket"), ("node", "polling"), ("node", "upgrade"), ("madang", "upgrade")],
    indirect=["backend"],
)
async def test_emitted_has_left(backend: Backend, way: str, tmp_path: Path) -> None:
    """The process ends only when everything it emitted has been handed over, in order, however large it is."""
    who = whoever()
    transports = [word for name in WAYS[way] for word in ("--transport", name)]
    large = "x" * 400_000
    emits = [word for number in range(4) for word in ("--emit", "part", str(number), json.dumps({"$bytes": "AAEC"}))]
    path = tmp_path / "large"
    path.write_text(large)
    ran = await connect(backend.url, "--query", f"who={who}", *transports, *emits, "--emit", "last", f"@{path}")
    assert (ran.status, ran.out) == (0, ""), ran.errors
    heard = await backend.heard(who, 6)
    assert heard[0] == ["/", "connect"]
    expected = [["/", "part", number, bytes((0, 1, 2))] for number in range(4)]
    assert _plain(heard[1:5]) == _plain(expected)
    assert _plain(heard[5]) == _plain(["/", "last", large.encode()])


def _plain(value: Any) -> Any:
    """With bytes as what they are, from whichever server they come."""
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    return [_plain(item) for item in value] if isinstance(value, list) else value


async def test_answers(backend: Backend) -> None:
    """An answer is a line of JSON: null for no value, the value for one, a list for several; bytes are base64."""
    ran = await connect(
        backend.url,
        *WEBSOCKET,
        "--ack",
        *("--emit", "echo"),
        *("--emit", "echo", '{"a": [1]}'),
        *("--emit", "echo", "1", '"2"', "three"),
        *("--emit", "echo", '{"$bytes": "AAE="}'),
    )
    assert (ran.status, ran.errors) == (0, "")
    assert ran.lines == [None, {"a": [1]}, [1, "2", "three"], {"$bytes": "AAE="}]


async def test_an_answer_that_is_an_error(madang_only: MadangBackend) -> None:
    """An answer that is an error is printed, ends the run with status 1, and what follows is not emitted."""
    who = whoever()
    ran = await connect(
        madang_only.url, *WEBSOCKET, "--query", f"who={who}", "--ack", "--emit", "nth", "x", "--emit", "echo"
    )
    assert ran.status == 1
    assert [line["error"]["code"] for line in ran.lines] == ["invalid_arguments"]
    assert "is an error" in ran.errors
    assert ["/", "echo"] not in await madang_only.heard(who)


async def test_no_answer(madang_only: MadangBackend) -> None:
    """Without an answer in time the status is 4; what was answered before is printed, what follows is not emitted."""
    emits = ("--ack", "--emit", "echo", "1", "--emit", "nobody answers this", "--emit", "echo", "2")
    ran = await connect(madang_only.url, *WEBSOCKET, "--timeout", "0.5", *emits)
    assert (ran.status, ran.lines) == (4, [1])
    assert "no answer" in ran.errors


async def test_a_missing_file(madang_only: MadangBackend) -> None:
    """A file that cannot be read is a clear error, status 2, and nothing is sent: there is no connection even."""
    who = whoever()
    ran = await connect(madang_only.url, "--query", f"who={who}", "--emit", "fine", "--emit", "x", "@/no/such/file")
    assert (ran.status, ran.out) == (2, "")
    assert "/no/such/file" in ran.errors
    assert len(ran.errors.splitlines()) == 1
    assert await madang_only.heard(who) == []


async def test_what_cannot_be_emitted(madang_only: MadangBackend) -> None:
    """A reserved name and a message larger than the server takes are errors that say so, with status 2."""
    reserved, large = await asyncio.gather(
        connect(madang_only.url, *WEBSOCKET, "--emit", "disconnect"),
        connect(madang_only.url, *WEBSOCKET, "--emit", "x", "@/dev/stdin", said="x" * 2_000_000),
    )
    assert (reserved.status, large.status) == (2, 2)
    assert "reserved" in reserved.errors
    assert "more than the 1000000" in large.errors


# -------------------------------------------------------------------------------------------------------------- listen


async def test_listening(backend: Backend) -> None:
    """Each event is one line of JSON on standard output, told from the moment before what is emitted."""
    ran = await connect(
        backend.url,
        *WEBSOCKET,
        *("--emit", "please", "said", '{"안녕": [1, null]}', '{"$bytes": "AP8="}'),
        *("--emit", "please", "other"),
        *("--emit", "please", "said", "2"),
        *("--listen", "said", "--count", "2"),
    )
    assert ran.status == 0, ran.errors
    first, second = ran.lines
    assert first.pop("time").endswith("Z")
    assert first == {"namespace": "/", "event": "said", "args": [{"안녕": [1, None]}, {"$bytes": "AP8="}], "ack": False}
    assert second["args"] == [2]


async def test_lines_come_at_once_and_are_answered(backend: Backend) -> None:
    """A line is there when the event is; who asks is told so in it, and gets what ``--answer`` says."""
    who = whoever()
    async with running(backend.url, *WEBSOCKET, "--query", f"who={who}", "--listen", "--answer", "7", "x") as process:
        await told(process, "connected")
        await backend.emit(who, "one", 1)
        assert (await line(process))["args"] == [1]
        assert await backend.ask(who, "how old?") == [7, "x"]
        asked = await line(process)
        assert (asked["event"], asked["args"], asked["ack"]) == ("how old?", [], True)
        process.send_signal(signal.SIGTERM)
        assert (await end(process)).status == 143
    assert (await backend.heard(who, 2))[-1][1] == "disconnect"


async def test_namespaces(madang_only: MadangBackend) -> None:
    """The URL's path and ``--of`` name namespaces, each with what ``--auth`` presents; each line says where it came."""
    who = whoever()
    url = f"{madang_only.url}/chat?who={who}"
    async with running(
        url, *WEBSOCKET, "--of", "/auth", "--auth", "token=good", "--auth", '{"n": 1}', "--listen"
    ) as process:
        await told(process, "/auth connected")
        await madang_only.emit(who, "here", nsp="/chat")
        assert (await line(process))["namespace"] == "/chat"
        await madang_only.emit(who, "there", nsp="/auth")
        assert (await line(process))["namespace"] == "/auth"
        assert (await madang_only.state(who, "/auth"))["auth"] == {"token": "good", "n": 1}


async def test_time_is_over(madang_only: MadangBackend) -> None:
    """``--for`` ends the listening: well by itself, with status 4 if ``--count`` was not reached."""
    url = madang_only.url
    over, late = await asyncio.gather(
        connect(url, *WEBSOCKET, "--listen", "--for", "0.2"),
        connect(url, *WEBSOCKET, "--listen", "--for", "0.2", "--count", "2", "--emit", "please", "x"),
    )
    assert over.status == 0
    assert late.status == 4
    assert late.events == [["/", "x"]]
    assert "1 of 2 events did not come within 0.2 s" in late.errors


async def test_answers_between_events(madang_only: MadangBackend) -> None:
    """With both, a line is told from others by its key: ``event`` or ``answer``."""
    emits = ("--ack", "--emit", "echo", "1", "2", "--emit", "please", "x")
    ran = await connect(madang_only.url, *WEBSOCKET, *emits, "--listen", "--count", "1")
    assert ran.status == 0, ran.errors
    assert [[line["namespace"], line["answer"], *line["args"]] for line in ran.lines if "answer" in line] == [
        ["/", "echo", 1, 2],
        ["/", "please"],
    ]
    assert [line["event"] for line in ran.lines if "event" in line] == ["x"]


async def test_ctrl_c(madang_only: MadangBackend) -> None:
    """Ctrl-C ends it with status 130, and the server is told."""
    who = whoever()
    async with running(madang_only.url, *WEBSOCKET, "--query", f"who={who}", "--listen") as process:
        await told(process, "connected")
        process.send_signal(signal.SIGINT)
        assert (await end(process)).status == 130
    assert (await madang_only.heard(who, 2))[-1][1:] == ["disconnect", "client namespace disconnect"]


@asynccontextmanager
async def into_pipe(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The command, when it has connected, with a pipe as output; the end to read from is the block's to close."""
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=write, stderr=asyncio.subprocess.PIPE
    )
    os.close(write)
    await told(process, "connected")
    try:
        yield process, read
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("first", [True, False], ids=["while events come", "while nothing comes"])
async def test_a_closed_pipe(madang_only: MadangBackend, first: bool) -> None:
    """When nobody reads its output any more, it ends by itself, with status 0 and not a word."""
    who = whoever()
    async with into_pipe(madang_only.url, *WEBSOCKET, "--query", f"who={who}", "--listen") as (process, read):
        if first:
            await madang_only.emit(who, "x", "y" * 100)
            assert await asyncio.to_thread(os.read, read, 10) == b'{"time": "'
        os.close(read)
        ran = await end(process)
    assert (ran.status, ran.errors) == (0, "")


async def test_an_output_that_is_not_read(madang_only: MadangBackend) -> None:
    """While its output is not read, what comes waits at the server, and Ctrl-C ends it all the same."""
    who = whoever()
    async with into_pipe(madang_only.url, *WEBSOCKET, "--query", f"who={who}", "--listen") as (process, read):
        for _ in range(200):
            madang_only.sockets[who, "/"].emit("flood", "x" * 100_000)
        assert await asyncio.to_thread(os.read, read, 10) == b'{"time": "'
        assert madang_only.sessions[who].transport.buffered > 1_000_000
        process.send_signal(signal.SIGINT)
        assert (await end(process)).status == 130
        os.close(read)


async def test_sent_away(madang_only: MadangBackend) -> None:
    """If the server ends the connection, the listening ends with status 1."""
    ran = await connect(madang_only.url, *WEBSOCKET, "--emit", "leave", "--listen")
    assert ran.status == 1
    assert "io server disconnect" in ran.errors


async def test_it_comes_back(madang_only: MadangBackend) -> None:
    """A lost connection is told, and the listening goes on; with ``--no-reconnect`` it ends with status 3."""
    who, other = whoever(), whoever()
    async with (
        running(madang_only.url, *WEBSOCKET, "--query", f"who={who}", "--listen") as process,
        running(madang_only.url, *WEBSOCKET, "--query", f"who={other}", "--listen", "--no-reconnect") as once,
    ):
        await told(process, "connected")
        await told(once, "connected")
        await madang_only.cut(who)
        await madang_only.cut(other)
        await told(process, "disconnected")
        await told(process, "connected")
        await madang_only.emit(who, "again")
        assert (await line(process))["event"] == "again"
        ran = await end(once)
        assert ran.status == 3
        assert "lost" in ran.errors


# ---------------------------------------------------------------------------------------------- refusals and the like


async def test_refused(node_backend: NodeBackend, madang_only: MadangBackend) -> None:
    """A refusal is told with its message and data, and what to do; status 1. So is an unknown namespace."""
    refused, unknown = await asyncio.gather(
        connect(f"{node_backend.url}/auth", *WEBSOCKET, "--auth", "token=bad", "--emit", "x"),
        connect(f"{madang_only.url}/nowhere", *WEBSOCKET, "--emit", "x"),
    )
    assert (refused.status, refused.out) == (1, "")
    assert 'not allowed {"code": 401}' in refused.errors
    assert "--auth" in refused.errors
    assert unknown.status == 1
    assert "no such namespace" in unknown.errors


async def test_auth_from_elsewhere(madang_only: MadangBackend, tmp_path: Path) -> None:
    """What is presented may stand in a file or in the environment, where no shell's history has it."""
    path = tmp_path / "auth.json"
    path.write_text('{"token": "good"}')
    url = f"{madang_only.url}/auth"
    ran = await asyncio.gather(
        connect(url, *WEBSOCKET, "--auth", f"@{path}", "--emit", "x"),
        connect(url, *WEBSOCKET, "--emit", "x", MADANG_AUTH="token=good"),
        connect(url, *WEBSOCKET, "--auth", "token=bad", "--emit", "x", MADANG_AUTH="token=good"),
    )
    assert [one.status for one in ran] == [0, 0, 1]


async def test_nobody_there(free_port: int) -> None:
    """Without a server it is status 3: at once, or after ``--timeout``, in which one may still come."""
    at_once, tried = await asyncio.gather(
        connect(f":{free_port}", "--no-reconnect", "--emit", "x"),
        connect(f"localhost:{free_port}", *WEBSOCKET, "--timeout", "0.8", "--listen"),
    )
    for ran in (at_once, tried):
        assert (ran.status, ran.out) == (3, "")
        assert f"http://localhost:{free_port}" in ran.errors
        assert "is the server running" in ran.errors
    assert "trying again" not in at_once.errors
    assert "trying again" in tried.errors


async def test_headers_query_and_path(madang_only: MadangBackend) -> None:
    """Headers and the query reach the server; a wrong path is told with the option that mends it."""
    who = whoever()
    url = f"{madang_only.url}?who=url"
    async with running(
        url, *WEBSOCKET, "-H", "X-Team: blue", "--query", f"who={who}", "--query", "a=b=c", "--listen"
    ) as process:
        await told(process, "connected")
        state = await madang_only.state(who)
    assert state["headers"]["x-team"] == "blue"
    assert state["query"]["a"] == "b=c"
    ran = await connect(madang_only.url, "--path", "elsewhere", "--no-reconnect", "--emit", "x")
    assert ran.status == 3
    assert "--path" in ran.errors


async def test_certificates(madang_only: MadangBackend, tmp_path: Path) -> None:
    """An unknown certificate is refused with what mends it; ``--cacert``, ``--cert`` and ``--insecure`` do."""
    papers = Papers(tmp_path)
    emit = (*WEBSOCKET, "--no-reconnect", "--emit", "x")
    certificate, key = papers.client
    async with (
        over_tls(madang_only.url, papers.serving()) as url,
        over_tls(madang_only.url, papers.serving(ask_client=True)) as asking,
    ):
        refused, trusted, insecure, known = await asyncio.gather(
            connect(url, *emit),
            connect(url, "--cacert", str(papers.ca), *emit),
            connect(url, "--insecure", *emit),
            connect(asking, "--insecure", "--cert", certificate, "--key", key, *emit),
        )
    assert [ran.status for ran in (refused, trusted, insecure, known)] == [3, 0, 0, 0]
    assert "--cacert FILE" in refused.errors
    assert trusted.errors == ""
    assert "not verified" in insecure.errors


async def test_every_packet(madang_only: MadangBackend) -> None:
    """``--verbose`` tells of each packet on standard error, and leaves standard output alone."""
    ran = await connect(madang_only.url, *WEBSOCKET, "-v", "--ack", "--emit", "echo", "hi\x1b[2J")
    assert ran.lines == ["hi\x1b[2J"]
    assert "<- CONNECT / " in ran.errors
    assert "-> EVENT / ['echo', 'hi" in ran.errors
    assert "\x1b" not in ran.errors + ran.out


async def test_hostile_words_on_standard_error(madang_only: MadangBackend) -> None:
    """What a server says of a refusal, or names an event, cannot command the terminal."""

    @madang_only.io.of("/evil").use
    def refuse(socket: Any) -> None:
        import madang

        raise madang.ConnectError("no\x1b]0;title\x07\x9b2J", data={"a": "\x1b[2J\u202e"})

    refused, listened = await asyncio.gather(
        connect(f"{madang_only.url}/evil", *WEBSOCKET, "--emit", "x"),
        connect(madang_only.url, *WEBSOCKET, "--emit", "please", "e\x1b[2J", "\x9b1m", "--listen", "--count", "1"),
    )
    assert refused.status == 1
    assert listened.events == [["/", "e\x1b[2J", "\x9b1m"]]
    for ran in (refused, listened):
        assert not set("\x1b\x07\x9b\u202e") & set(ran.out + ran.errors)


# --------------------------------------------------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "the following arguments are required: URL"),
        (["--listen", ":3000"], "required: URL"),
        ([":3000", "--ack"], "--ack goes with --emit"),
        ([":3000", "--count", "2"], "--count goes with --listen"),
        ([":3000", "--for", "2"], "--for goes with --listen"),
        ([":3000", "--listen", "--count", "0"], "1 or more"),
        ([":3000", "--listen", "--for", "-1"], "above 0"),
        ([":3000", "--emit", "x", "--transport", "pigeon"], "pigeon"),
        ([":3000", "--emit", "x", "--auth", "secret"], "name=value"),
        ([":3000", "--emit", "x", "--auth", "{secret"], "no JSON"),
        ([":3000", "--emit", "x", "--auth", "@/no/file"], "/no/file"),
        ([":3000", "--emit", "x", "-H", "secret"], "Name: value"),
        ([":3000", "--emit", "x", "--query", "sid=1"], "belongs to the protocol"),
        ([":3000", "--emit", "x", "--key", "k.pem"], "--key goes with --cert"),
        ([":3000", "--emit", "x", "--cacert", "/no/ca.pem"], "/no/ca.pem"),
        ([":3000", "--emit", "x", "--insecure", "--cacert", "/no/ca.pem"], "leave one of them out"),
        (["ftp://example.com", "--emit", "x"], "http, https, ws or wss"),
        ([":3000", "--emit", "x", "--proxy", "ftp://x"], "proxy"),
    ],
)
def test_wrong_usage(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is told with what is right, without repeating what may be a secret; status 2."""
    from madang.cli.main import main

    try:
        status = main(["connect", *arguments])
    except SystemExit as error:
        status = error.code
    told = capsys.readouterr()
    assert status == 2
    assert why in told.err
    assert "secret" not in told.err.replace("not 'secret'", "")
    assert told.out == ""


def test_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of this machine are spoken to over http if no scheme is given; others over https, as the client does."""
    from madang.cli.target import url_of

    assert [url_of(said) for said in (":3000", ":3000/chat", "localhost", "127.0.0.1:1", "[::1]:3000/x?y=1")] == [
        "http://localhost:3000",
        "http://localhost:3000/chat",
        "http://localhost",
        "http://127.0.0.1:1",
        "http://[::1]:3000/x?y=1",
    ]
    for said in ("localhost.example.com", "example.com:3000", "https://localhost", "127.0.0.1.nip.io"):
        assert url_of(said) == said


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` has examples, how arguments are read, and the exit statuses; ``madang --help`` lists both commands."""
    from madang.cli.main import main

    for arguments in (["connect", "--help"], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    out = capsys.readouterr().out
    for word in ("examples:", "exit statuses:", "arguments of events:", "MADANG_AUTH", "@photo.png", "$bytes"):
        assert word in out
    assert out.count("madang connect ") >= 6
    assert "run " in out.rpartition("commands:")[2]
