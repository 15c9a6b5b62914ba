"""The lines of an interactive session: events, questions, and the commands that begin with a dot."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from ..errors import MadangError
from .session import Session
from .showing import name
from .target import auth_of
from .words import Word, WordError, split, values_of


class Quit(Exception):
    """The session is to end."""


class Command(NamedTuple):
    """A command.

    Attributes:
        run: does it, with what follows its name.
        usage: what may follow.
        about: what it does.
    """

    run: Callable[[Session, str], None]
    usage: str
    about: str


def obey(session: Session, line: str) -> None:
    """Do what a line says; what is wrong with it is displayed.

    Raises:
        Quit: it says that the session is to end.
    """
    line = line.strip()
    try:
        if line.startswith("."):
            word, _, rest = line.partition(" ")
            _command(word).run(session, rest.strip())
        elif line.startswith("?"):
            session.ask(*_event(line[1:]))
        elif line:
            session.emit(*_event(line))
    except MadangError as error:
        session.failed(error)


def _command(word: str) -> Command:
    found = COMMANDS.get(word)
    if found is not None:
        return found
    near = get_close_matches(word, COMMANDS, 1, 0.5)
    meant = f"did you mean {near[0]}?" if near else ".help lists them"
    raise WordError(f"there is no command {word}; {meant} (an event of that name is written in quotes)")


def _event(text: str) -> tuple[str, list[Any]]:
    """The event and the arguments that a line names.

    Raises:
        WordError: it names none.
    """
    words = split(text)
    if not words:
        raise WordError("an event's name is missing")
    return _name(words[0]), values_of(words[1:])


def _name(word: Word) -> str:
    if word.literal and not isinstance(word.value, str):
        raise WordError("a line begins with an event's name; JSON comes after it")
    return word.text


def _arguments(text: str, least: int, most: int, usage: str) -> list[str]:
    words = [word.text for word in split(text)]
    if not least <= len(words) <= most:
        raise WordError(f"to be given as: {usage}")
    return words


# -------------------------------------------------------------------------------------------------------- the commands


def _help(session: Session, rest: str) -> None:
    width = max(len(f"{word} {command.usage}") for word, command in COMMANDS.items())
    lines = [f"  {f'{word} {command.usage}':{width}}  {command.about}" for word, command in COMMANDS.items()]
    session.show("\n".join((_LINES, *lines)))


def _of(session: Session, rest: str) -> None:
    session.enter(_arguments(rest, 1, 1, ".of /NAMESPACE")[0])


def _leave(session: Session, rest: str) -> None:
    session.leave()


def _namespaces(session: Session, rest: str) -> None:
    for namespace, socket in session.client.manager.sockets.items():
        mark = "*" if socket is session.current else " "
        state = f"id {name(socket.id)}" if socket.is_connected else "connecting" if socket.active else "not joined"
        session.show(f"{mark} {name(namespace)}  {state}")


def _auth(session: Session, rest: str) -> None:
    if not rest:
        raise WordError('to be given as: .auth {"token": "…"}, or .auth token=…')
    given = [rest] if rest.startswith(("{", "@")) else rest.split()
    session.current.auth = auth_of(given)
    session.note(f"{name(session.current.nsp)} presents it from the next .connect on")


def _connect(session: Session, rest: str) -> None:
    session.joined.setdefault(session.current.nsp, session.current)
    session.connect()


def _disconnect(session: Session, rest: str) -> None:
    session.disconnect()


def _answer(session: Session, rest: str) -> None:
    words = split(rest)
    if not words or not words[0].text.isdecimal():
        raise WordError("to be given as: .answer NUMBER VALUE…; the number stands behind the question")
    session.answer(int(words[0].text), values_of(words[1:]))


def _volatile(session: Session, rest: str) -> None:
    session.emit(*_event(rest), volatile=True)


def _info(session: Session, rest: str) -> None:
    client = session.client
    engine = client.manager.engine
    lines = [("server", name(client.manager.uri)), ("connection", client.manager.state)]
    if engine is not None and engine.id is not None:
        lines += [
            ("transport", engine.transport.name),
            ("heartbeat", f"every {engine.ping_interval:g} s, late after {engine.ping_timeout:g} s"),
            ("it takes", "any size" if engine.max_payload is None else f"{engine.max_payload:,} bytes in one message"),
        ]
    lines += [("namespace", name(session.current.nsp)), ("id", name(session.current.id or "none: not joined"))]
    lines.append(("waiting", f"{client.buffered:,} bytes to be sent"))
    if session.last_answer is not None:
        lines.append(("last answer", f"after {session.last_answer:.1f} ms"))
    session.show("\n".join(f"{what:>12}  {said}" for what, said in lines))


def _mute(session: Session, rest: str) -> None:
    session.muted.update(_arguments(rest, 0, 100, ".mute EVENT…"))
    session.note(f"not displayed: {' '.join(map(name, sorted(session.muted))) or 'none'}")


def _unmute(session: Session, rest: str) -> None:
    session.muted.difference_update(_arguments(rest, 0, 100, ".unmute EVENT…") or tuple(session.muted))
    _mute(session, "")


def _save(session: Session, rest: str) -> None:
    words = _arguments(rest, 1, 2, ".save FILE, or .save FILE NUMBER")
    number = int(words[1]) if len(words) == 2 and words[1].isdecimal() else 1
    if not 0 < number <= len(session.binaries):
        raise WordError(f"there is no binary {number}; the last message that had any had {len(session.binaries)}")
    data = session.binaries[number - 1]
    try:
        with open(words[0], "xb") as file:
            file.write(data)
    except FileExistsError:
        raise WordError(f"{words[0]!r} is there already; take another name") from None
    except (OSError, ValueError) as error:
        raise WordError(f"{words[0]!r} cannot be written: {error}") from None
    session.note(f"{len(data):,} bytes are in {name(words[0])}")


def _whole(session: Session, rest: str) -> None:
    session.show_whole()


def _quit(session: Session, rest: str) -> None:
    raise Quit


_LINES: Final = """\
  EVENT ARG…                emit an event; "quotes" for a name with spaces
  ? EVENT ARG…              emit it, and display the answer

  Arguments are JSON if they are JSON, spaces and all, else words of text: 1  true  {"a": [1, 2]}  "two words"  word
  @photo.png is the content of a file, @@x the text @x. Tab completes; a line that begins with a space is not kept.
"""

COMMANDS: Final[dict[str, Command]] = {
    ".help": Command(_help, "", "this"),
    ".of": Command(_of, "/NAMESPACE", "talk to a namespace; joins it"),
    ".leave": Command(_leave, "", "leave this namespace"),
    ".namespaces": Command(_namespaces, "", "list those of this connection"),
    ".auth": Command(_auth, "JSON or KEY=VALUE", "what to present to this namespace at the next .connect"),
    ".connect": Command(_connect, "", "connect, after a refusal or a disconnect"),
    ".disconnect": Command(_disconnect, "", "leave all namespaces"),
    ".answer": Command(_answer, "NUMBER VALUE…", "answer what the server asked"),
    ".volatile": Command(_volatile, "EVENT ARG…", "emit, unless it cannot leave at once"),
    ".info": Command(_info, "", "the connection: transport, heartbeat, limits"),
    ".mute": Command(_mute, "EVENT…", "do not display these events"),
    ".unmute": Command(_unmute, "EVENT…", "display them again; without a name, all"),
    ".save": Command(_save, "FILE NUMBER", "keep a binary of the last message that had one; the first, or that one"),
    ".whole": Command(_whole, "", "display the last long message to its end"),
    ".quit": Command(_quit, "", "end; so do Ctrl-D, and Ctrl-C on an empty line"),
}
