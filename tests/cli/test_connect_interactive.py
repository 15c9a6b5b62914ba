"""``madang connect`` as people use it: at a terminal, and with lines from a pipe."""

from __future__ import annotations

import asyncio
import signal
import stat

from madang.cli.commands import COMMANDS
from tests.cli.running import WEBSOCKET, connect, end, start
from tests.cli.terminal import CTRL_C, CTRL_D, TAB, UP, Terminal
from tests.client.servers import MadangBackend, NodeBackend
from tests.hosts import ROOT

# -------------------------------------------------------------------------------------------------------- at a terminal


async def test_a_session(node_backend: NodeBackend, terminal: Terminal) -> None:
    """A line emits, a line with ``?`` asks and shows the answer with its time, events come above the prompt."""
    await terminal.start(f"{node_backend.url}?who=person", *WEBSOCKET)
    await terminal.shows(".help tells")
    await terminal.shows("/ • connected: id ")
    await terminal.shows("/>")
    terminal.enter('please said {"a": 1, "b": [1, 2]} "two words" bare')
    await terminal.shows('/ ← said {"a": 1, "b": [1, 2]} "two words" "bare"')
    terminal.enter("? echo 1 안녕")
    await terminal.shows('/ = echo 1 "안녕"  (')
    await terminal.shows(" ms)")
    assert ["/", "echo", 1, "안녕"] in await node_backend.heard("person", 3)
    terminal.type(CTRL_D)
    assert await terminal.ended() == 0


async def test_the_server_asks(node_backend: NodeBackend, terminal: Terminal) -> None:
    """An event that wants an answer has a number, under which it is answered, once."""
    await terminal.start(node_backend.url, *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter('"please ask" "how old?" {"in": "years"}')
    await terminal.shows('/ ← how old? {"in": "years"}  (asks; to answer: .answer 1 VALUE)')
    await terminal.shows("/ 1?>")
    terminal.enter('.answer 1 7 {"or": 8}')
    await terminal.shows('/ ← answered 7 {"or": 8}')
    terminal.enter(".answer 1 7")
    await terminal.shows("no question 1")
    terminal.enter(".answer")
    await terminal.shows(".answer NUMBER VALUE")


async def test_completion(madang_only: MadangBackend, terminal: Terminal) -> None:
    """Tab completes names of events, in quotes if need be, commands, namespaces and files."""
    (terminal.home / "picture one.png").write_bytes(b"1")
    (terminal.home / "photograph.png").write_bytes(b"PNG")
    await terminal.start(f"{madang_only.url}?who=tab", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter("please 'chat message' 1")
    await terminal.shows("← chat message 1")
    terminal.type(f"cha{TAB}")
    await terminal.shows('"chat message"')
    terminal.enter(" 2")
    await terminal.shows('/> "chat message" 2')
    terminal.type(f"? echo @pho{TAB}")
    await terminal.shows("photograph.png")
    terminal.enter("")
    await terminal.shows('= echo {"$bytes": "UE5H"}')
    terminal.type(f"? e{TAB}")
    await terminal.shows("echo")
    terminal.enter(" 3")
    await terminal.shows("= echo 3")
    terminal.type(f".o{TAB}")
    await terminal.shows(".of")
    terminal.enter(" /chat")
    await terminal.shows("/chat • connected")
    terminal.type(f".of /{TAB}{TAB}")
    await terminal.shows("/chat")
    terminal.type(CTRL_C, f".namesp{TAB}")
    await terminal.shows("aces")  # of what was there before, only what changes is written anew
    terminal.enter("")
    await terminal.shows("* /chat  id ")
    assert ["/", "chat message", 2] in await madang_only.heard("tab", 4)


async def test_what_is_being_typed_stays(madang_only: MadangBackend, terminal: Terminal) -> None:
    """An event that comes while somebody types is shown above, and what was typed is still there and goes on."""
    await terminal.start(f"{madang_only.url}?who=typist", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.type("echo one tw")
    await terminal.shows("tw")
    await madang_only.emit("typist", "news", {"of": "the day"})
    await terminal.shows('← news {"of": "the day"}')
    await terminal.shows("/> echo one tw")
    terminal.enter("o")
    await terminal.shows('← echo "one" "two"')


async def test_ctrl_c(madang_only: MadangBackend, terminal: Terminal) -> None:
    """Ctrl-C clears what was typed, and ends the session when there is nothing to clear."""
    await terminal.start(f"{madang_only.url}?who=careful", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.type("please dangerous")
    await terminal.shows("dangerous")
    terminal.type(CTRL_C)
    terminal.enter("please safe")
    await terminal.shows("← safe")
    terminal.type(CTRL_C)
    assert await terminal.ended() == 130
    assert [event for _, event, *_ in await madang_only.heard("careful", 3)] == ["connect", "please", "disconnect"]


async def test_a_hostile_server(madang_only: MadangBackend, terminal: Terminal) -> None:
    """Nothing that a server sends reaches the terminal as a command: not in names, values, reasons, nor by Tab."""
    await terminal.start(f"{madang_only.url}?who=victim", *WEBSOCKET, NO_COLOR="")
    await terminal.shows("/>")
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e\r\n"
    await madang_only.emit("victim", "e" + evil, evil, {evil: [evil]})
    await terminal.shows("e\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\u007f\\u202e\\u000d\\u000a")
    await terminal.shows("/>")
    terminal.type(f"? {TAB}")
    await terminal.shows('"e\\u001b]0;owned')
    terminal.type(CTRL_C)
    terminal.enter("? echo safe")
    await terminal.shows('= echo "safe"')
    assert "\x1b]" not in terminal.written.replace("\x1b]2;", "")
    assert not set("\x07\x9b\x7f\u202e") & set(terminal.written)
    assert "31m" not in terminal.written.replace("\\u009b31m", "").replace("\x1b[31m", "")


async def test_refused_and_let_in(madang_only: MadangBackend, terminal: Terminal) -> None:
    """A refusal says why and what to do, and doing that lets one in; what is presented is not kept in the history."""
    await terminal.start(f"{madang_only.url}/auth", *WEBSOCKET)
    await terminal.shows('/auth • the server refused: not allowed {"code": 401}')
    await terminal.shows(".auth, then .connect")
    await terminal.shows("/auth (offline)>")
    terminal.enter('.auth {"token": "good"}')
    await terminal.shows("/auth presents it")
    terminal.enter(".connect")
    await terminal.shows("/auth • connected")
    terminal.enter("? echo in")
    await terminal.shows('= echo "in"')
    terminal.type(CTRL_D)
    await terminal.ended()
    kept = terminal.home / "madang" / "connect_history"
    assert kept.read_text().splitlines() == [".connect", "? echo in"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_history(madang_only: MadangBackend, terminal: Terminal) -> None:
    """Lines are there in the next session, but for those that begin with a space."""
    await terminal.start(madang_only.url, *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter("please remembered")
    terminal.enter(" please secret")
    await terminal.shows("← secret")
    terminal.type(CTRL_D)
    assert await terminal.ended() == 0
    await terminal.close()
    await terminal.start(madang_only.url, *WEBSOCKET)
    await terminal.shows("/>")
    terminal.type(UP)
    await terminal.shows("please remembered")
    terminal.enter(" again")
    await terminal.shows('← remembered "again"')


async def test_namespaces(madang_only: MadangBackend, terminal: Terminal) -> None:
    """``.of`` joins a namespace and talks to it, ``.leave`` goes back, and events say where they came from."""
    await terminal.start(f"{madang_only.url}?who=guest", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter(".of chat")
    await terminal.shows("/chat • connected")
    await terminal.shows("/chat>")
    terminal.enter("please here")
    await terminal.shows("/chat ← here")
    await madang_only.emit("guest", "there", nsp="/")
    await terminal.shows("/ ← there")
    terminal.enter(".leave")
    await terminal.shows("/chat • disconnected (io client disconnect)")
    await terminal.shows("/>")
    terminal.enter(".leave")
    await terminal.shows("/ (offline)>")
    terminal.enter("later 1")
    await terminal.shows("kept until .connect")
    terminal.enter(".connect")
    await terminal.shows("/ • connected")
    heard = await madang_only.heard("guest", 7)
    assert ["/", "later", 1] in heard
    assert ["/chat", "disconnect", "client namespace disconnect"] in heard


async def test_a_lost_connection(madang_only: MadangBackend, terminal: Terminal) -> None:
    """What becomes of the connection is told, and the server's questions of before are gone with it."""
    await terminal.start(f"{madang_only.url}?who=traveller", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter("'please ask' why")
    await terminal.shows("/ 1?>")
    await madang_only.cut("traveller")
    await terminal.shows("/ • disconnected (transport close")
    await terminal.shows("; connecting again")
    await terminal.shows("/ • connected: id ")
    await terminal.shows("/>")
    terminal.enter(".answer 1 x")
    await terminal.shows("open: none")
    terminal.enter(".disconnect")
    await terminal.shows("/ • disconnected (io client disconnect)")
    terminal.enter(".volatile x")
    await terminal.shows("dropped")
    terminal.enter(".info")
    await terminal.shows("connection  closed")


async def test_binary(node_backend: NodeBackend, terminal: Terminal) -> None:
    """Bytes are sent from a file, abbreviated in what is shown, and saved whole, but never over another file."""
    data = bytes(range(256)) * 20
    (terminal.home / "in.bin").write_bytes(data)
    await terminal.start(f"{node_backend.url}?who=sender", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter('please got @in.bin {"deep": {"$file": "in.bin"}}')
    await terminal.shows("/ ← got  (2 binaries; .save FILE NUMBER keeps it)")
    await terminal.shows('…", "size": 5120}')
    terminal.enter(".save out.bin 2")
    await terminal.shows("5,120 bytes are in out.bin")
    terminal.enter(".save out.bin")
    await terminal.shows("is there already")
    terminal.enter(".save other.bin 3")
    await terminal.shows("no binary 3")
    assert (terminal.home / "out.bin").read_bytes() == data
    terminal.enter("x @missing.bin")
    await terminal.shows("'missing.bin' cannot be read: No such file")
    assert not any("x" in entry for entry in await node_backend.heard("sender", 2))


async def test_long_messages(madang_only: MadangBackend, terminal: Terminal) -> None:
    """A long message is indented and cut, with a note; ``.whole`` shows it to its end."""
    await terminal.start(f"{madang_only.url}?who=reader", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter(".whole")
    await terminal.shows("nothing was left out")
    await madang_only.emit("reader", "list", [{"number": number} for number in range(500)])
    await terminal.shows('      {\r\n        "number": 1\r\n'.replace("\r", ""))
    await terminal.shows("characters more; .whole shows all of it")
    terminal.enter(".whole")
    await terminal.shows('"number": 499')


async def test_mistakes(madang_only: MadangBackend, terminal: Terminal) -> None:
    """A command that is not there is told with the nearest one, and a line that cannot be read is not sent."""
    await terminal.start(f"{madang_only.url}?who=clumsy", *WEBSOCKET)
    await terminal.shows("/>")
    terminal.enter(".conect")
    await terminal.shows("there is no command .conect; did you mean .connect?")
    terminal.enter('x {"a": 1')
    await terminal.shows("begins like JSON but is not")
    terminal.enter("connect 1")
    await terminal.shows("reserved event name")
    terminal.enter("{}")
    await terminal.shows("a line begins with an event's name")
    terminal.enter("?")
    await terminal.shows("an event's name is missing")
    terminal.enter(".mute noise")
    await terminal.shows("not displayed: noise")
    terminal.enter("please noise")
    terminal.enter("please sound")
    assert "← noise" not in await terminal.shows("← sound")
    terminal.enter(".unmute")
    await terminal.shows("not displayed: none")
    terminal.enter(".help")
    for command in COMMANDS:
        await terminal.shows(f"  {command}")
    terminal.enter(".quit")
    assert await terminal.ended() == 0
    assert [event for _, event, *_ in await madang_only.heard("clumsy", 4)] == [
        "connect",
        "please",
        "please",
        "disconnect",
    ]


async def test_nobody_there(free_port: int, terminal: Terminal) -> None:
    """Without a server the prompt is there all the same, and says that it tries."""
    await terminal.start(f":{free_port}", *WEBSOCKET)
    await terminal.shows("/ (connecting)>")
    await terminal.shows("cannot connect to http://localhost")
    await terminal.shows("is the server running")
    await terminal.shows("still no connection; trying again")
    terminal.type(CTRL_D)
    assert await terminal.ended() == 0


async def test_a_simple_terminal(madang_only: MadangBackend, terminal: Terminal) -> None:
    """A terminal that cannot move its cursor gets lines, without colours."""
    await terminal.start(madang_only.url, *WEBSOCKET, TERM="dumb", NO_COLOR="")
    await terminal.shows("/ • connected")
    terminal.type("please said 1\n")
    await terminal.shows("/ ← said 1")
    terminal.type("\n", CTRL_D)
    assert await terminal.ended() == 0
    assert "\x1b" not in terminal.written


async def test_without_the_extra(madang_only: MadangBackend, terminal: Terminal) -> None:
    """Where prompt_toolkit is not installed, one line says what would add it, and lines are read all the same."""
    absent = terminal.home / "absent"
    absent.mkdir()
    (absent / "sitecustomize.py").write_text('import sys\nsys.modules["prompt_toolkit"] = None\n')
    await terminal.start(madang_only.url, *WEBSOCKET, PYTHONPATH=f"{absent}:{ROOT / 'src'}")
    await terminal.shows("pip install 'madang[cli]'")
    await terminal.shows("/ • connected")
    terminal.type("please said 1\n")
    await terminal.shows("/ ← said 1")
    terminal.type(".quit\n")
    assert await terminal.ended() == 0


# ---------------------------------------------------------------------------------------------------------- from a pipe


async def test_lines_from_a_pipe(madang_only: MadangBackend) -> None:
    """The same lines come from a pipe, one after the other, in plain text; the last need not end in a newline."""
    ran = await connect(
        f"{madang_only.url}?who=pipe", *WEBSOCKET, said='please said "x"\n\n? echo {"a": 1}\n.of /chat\nlast 1'
    )
    assert (ran.status, ran.errors) == (0, "")
    assert '/ = echo {"a": 1}  (' in ran.out
    assert "\x1b" not in ran.out
    assert ["/chat", "last", 1] in await madang_only.heard("pipe", 6)


async def test_a_pipe_with_mistakes(madang_only: MadangBackend) -> None:
    """What goes wrong is told on standard error; the status is that of the first mistake, and the rest is done."""
    ran, unanswered, refused = await asyncio.gather(
        connect(madang_only.url, *WEBSOCKET, "--timeout", "0.5", said=".nope\n? nobody answers\n? echo 1\n"),
        connect(madang_only.url, *WEBSOCKET, "--timeout", "0.5", said="? nobody\n"),
        connect(f"{madang_only.url}/auth", *WEBSOCKET, said="x\n"),
    )
    assert ran.status == 2
    assert "no command .nope" in ran.errors
    assert "nobody: no answer in time" in ran.errors
    assert "= echo 1" in ran.out
    assert unanswered.status == 4
    assert refused.status == 1
    assert "not allowed" in refused.out


async def test_a_pipe_without_end(madang_only: MadangBackend) -> None:
    """Ctrl-C ends it while lines still come, with status 130 and not a word of Python."""
    process = await start(f"{madang_only.url}?who=yes", *WEBSOCKET, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"? echo 1\n" * 50_000)
    await madang_only.heard("yes", 3)
    process.send_signal(signal.SIGINT)
    assert (await end(process)).status == 130


async def test_a_pipe_without_a_connection(madang_only: MadangBackend) -> None:
    """What is emitted after the connection has ended for good cannot be sent, and that is told with status 3."""
    ran = await connect(f"{madang_only.url}?who=late", *WEBSOCKET, said="? echo 1\n.disconnect\nlost 1\n")
    assert (ran.status, "not all of it could be sent" in ran.errors) == (3, True)
    assert [event for _, event, *_ in await madang_only.heard("late", 3)] == ["connect", "echo", "disconnect"]


async def test_a_pipe_and_nobody_there(free_port: int) -> None:
    """Without a server lines from a pipe are not read, and the status is 3."""
    ran = await connect(f":{free_port}", *WEBSOCKET, "--timeout", "0.5", said="x\n")
    assert ran.status == 3
    assert "cannot connect" in ran.errors
