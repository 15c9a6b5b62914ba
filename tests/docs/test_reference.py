"""The tables of docs/ against the code: options, command line, values, errors."""

from __future__ import annotations

import ast
import dataclasses
import enum
import json
import math
import re
from collections import deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
import pydantic
import pytest

import madang
from madang import errors
from madang.adapters.nats.options import NatsOptions
from madang.adapters.postgres.options import PostgresOptions
from madang.adapters.redis.options import RedisOptions
from madang.cli.commands import COMMANDS
from madang.cli.main import main
from madang.client.options import ClientKeywords, ClientOptions
from madang.client.socket import IO_CLIENT, IO_SERVER
from madang.engine.client_options import ClientEngineOptions
from madang.engine.cors import CorsOptions
from madang.engine.options import CookieOptions, EngineOptions
from madang.engine.transport import PARSE_ERROR, PING_TIMEOUT, TRANSPORT_CLOSE, TRANSPORT_ERROR
from madang.protocol.socketio import DefaultParser
from madang.server.options import ServerOptions
from madang.server.presence import PresenceOptions
from tests.hosts import ROOT


def section(page: str, heading: str) -> str:
    """The text below a heading of a page, up to the next one."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    match = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{page} has no heading {heading!r}"
    return match.group(1)


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without heads and backquotes."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row, after in zip(cells[2:], lines[2:], strict=True) if "---" not in after]


def default_of(field: dataclasses.Field[Any]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@pytest.mark.parametrize(
    ("heading", "options"),
    [
        ("Server", ServerOptions),
        ("RedisAdapter", RedisOptions),
        ("PostgresAdapter", PostgresOptions),
        ("NatsAdapter", NatsOptions),
        ("Server and Engine", EngineOptions),
        ("Client", ClientOptions),
        ("The client's way to its server", ClientEngineOptions),
    ],
    ids=str,
)
def test_every_option_and_its_default(heading: str, options: Any):
    """docs/options.md names each option once, with the default that the code has."""
    wanted = {field.name: default_of(field) for field in dataclasses.fields(options)}
    told = [(row[0], row[1]) for row in rows(section("options.md", heading))]
    assert {name: math.inf if default == "inf" else ast.literal_eval(default) for name, default in told} == wanted
    assert len(told) == len(wanted)


def test_every_option_of_presence():
    """docs/presence.md names each of its options, with its default."""
    told = [(row[0], ast.literal_eval(row[1])) for row in rows(section("presence.md", "Options"))]
    assert told == [(field.name, field.default) for field in dataclasses.fields(PresenceOptions)]


def test_what_a_client_takes_by_name():
    """The keywords that type checkers know of are the options, all of them."""
    options = {field.name for kind in (ClientOptions, ClientEngineOptions) for field in dataclasses.fields(kind)}
    assert set(get_type_hints(ClientKeywords)) == options


def test_every_reason_of_a_disconnect():
    """docs/client.md tells of each reason that a client's `disconnect` may have whether it comes back."""
    told = {row[0] for row in rows(section("client.md", "The life of a connection"))}
    assert told == {IO_SERVER, IO_CLIENT, PING_TIMEOUT, TRANSPORT_CLOSE, TRANSPORT_ERROR, PARSE_ERROR}


@pytest.mark.parametrize(("heading", "options"), [("cors", CorsOptions), ("cookie", CookieOptions)])
def test_every_key_of_an_option(heading: str, options: Any):
    """docs/options.md names each key of `cors` and `cookie`."""
    assert [row[0] for row in rows(section("options.md", heading))] == list(options.__annotations__)


def test_the_command_line(capsys: pytest.CaptureFixture[str]):
    """docs/hosting.md names each option of `madang run`."""
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    there = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert {row[0] for row in rows(section("hosting.md", "madang run"))} == there


def test_the_terminal_client(capsys: pytest.CaptureFixture[str]):
    """docs/connect.md names each option of `madang connect`, each command of its prompt, and each exit status."""
    with pytest.raises(SystemExit):
        main(["connect", "--help"])
    out = capsys.readouterr().out
    there = set(re.findall(r"^  (?:-\w[^-]*, )?(--[a-z-]+)", out, re.MULTILINE)) - {"--help"}
    told = {
        row[0]
        for heading in ("For scripts", "What the server is shown", "The way to the server")
        for row in rows(section("connect.md", heading))
    }
    assert told == there
    assert [row[0].split()[0] for row in rows(section("connect.md", "Commands of the prompt"))] == list(COMMANDS)
    statuses = re.findall(r"^  (\d+) ", out.rpartition("exit statuses:")[2], re.MULTILINE)
    assert [row[0].split(",")[0] for row in rows(section("connect.md", "Exit statuses"))] == statuses


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Message(msgspec.Struct):
    text: str


class Model(pydantic.BaseModel):
    name: str


KNOWN: dict[str, Any] = {
    known.__name__: known
    for known in (Color, Point, Message, Model, datetime, date, time, timedelta, timezone, Decimal, UUID, deque)
} | {"UTC": UTC}


@pytest.mark.parametrize("row", rows(section("values.md", "From Python to JavaScript")), ids=lambda row: row[0])
def test_what_a_value_becomes(row: list[str]):
    """docs/values.md tells the JSON of each value."""
    sent = DefaultParser().encode_event("/", ["x", eval(row[0], dict(KNOWN))])
    assert json.loads(sent.text[2:]) == ["x", json.loads(row[1])]


def test_every_exception():
    """docs/errors.md draws the tree as the code has it, and says of each public exception when it is raised."""
    tree = re.search(r"```text\n(.*?)```", section("errors.md", "The tree"), re.DOTALL)
    assert tree is not None
    assert errors.__doc__ is not None
    assert tree.group(1).strip() in re.sub(r"^ {4}", "", errors.__doc__, flags=re.MULTILINE)
    public = {
        name
        for name in madang.__all__
        if isinstance(kind := getattr(madang, name), type) and issubclass(kind, madang.MadangError)
    }
    assert {row[0] for row in rows(section("errors.md", "Each of them"))} == public


@pytest.mark.parametrize(
    ("page", "headings"),
    [("from-node.md", ("Server", "Socket")), ("from-python-socketio.md", ("Calls", "What behaves differently"))],
)
def test_the_names_for_those_who_come_from_elsewhere(page: str, headings: tuple[str, ...]):
    """What the tables call on `io`, `socket`, `client` and `madang` is there."""
    owners = {"io": madang.Server, "socket": madang.Socket, "client": madang.Client, "madang": madang}
    cells = [row[-1] for heading in headings for row in rows(section(page, heading))]
    told = {name for cell in cells for name in re.findall(r"\b(io|socket|client|madang)\.(?!io\b)(\w+)", cell)}
    assert len(told) > 20
    assert {(owner, name) for owner, name in told if not hasattr(owners[owner], name)} == set()
