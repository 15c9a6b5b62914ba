"""What Tab offers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .commands import COMMANDS
from .session import Session
from .showing import visible

_FILES: Final = 200
"""Files of a folder that are offered."""

_NEEDS_QUOTES: Final = tuple("\"'.?@[{")


class Offer(NamedTuple):
    """One way to go on.

    Attributes:
        text: what to write.
        instead_of: how many of the characters before the cursor it replaces.
        about: a word about it.
    """

    text: str
    instead_of: int
    about: str = ""


def offers(session: Session, before: str) -> Iterator[Offer]:
    """What could be meant, by the text before the cursor."""
    before = before.lstrip()
    word, space, rest = before.partition(" ")
    last = before.rpartition(" ")[2]
    if last.startswith("@") and not last.startswith("@@") and last != before:
        yield from _files(last[1:])
    elif word.startswith(".") and not space:
        yield from (
            Offer(known, len(word), command.about) for known, command in COMMANDS.items() if known.startswith(word)
        )
    elif word == ".save":
        yield from _files(rest)
    elif word in (".of", ".leave"):
        yield from _starting(rest, session.client.manager.sockets)
    elif word == ".answer":
        yield from _starting(rest, map(str, session.questions))
    elif word in (".volatile", ".mute", ".unmute"):
        yield from _events(session, rest.lstrip())
    elif before.startswith("?"):
        yield from _events(session, before[1:].lstrip())
    elif not word.startswith("."):
        yield from _events(session, before)


def _starting(begun: str, known: Iterable[str]) -> Iterator[Offer]:
    return (Offer(text, len(begun)) for text in known if text.startswith(begun))


def _events(session: Session, begun: str) -> Iterator[Offer]:
    """The events whose name begins so, the last seen first; those that need quotes get them."""
    plain = begun[1:] if begun.startswith(('"', "'")) else begun
    for event in reversed(session.events):
        if event.startswith(plain):
            yield Offer(written(event), len(begun), "event")


def written(event: str) -> str:
    """An event's name as it is to be written in a line."""
    if not event or any(map(str.isspace, event)) or event.startswith(_NEEDS_QUOTES) or visible(event) != event:
        return visible(json.dumps(event, ensure_ascii=False))
    return event


def _files(begun: str) -> Iterator[Offer]:
    """The files and folders whose path begins so."""
    folder, start = os.path.split(begun)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name.startswith(start))
    except OSError:
        return
    for file, is_folder in found[:_FILES]:
        if (start or not file.startswith(".")) and visible(file) == file and " " not in file:
            yield Offer(file + (os.sep if is_folder else ""), len(start), "folder" if is_folder else "file")
