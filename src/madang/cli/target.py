"""From the options of ``madang connect`` to a client."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import ssl
from collections.abc import Sequence
from typing import Any, Final, cast

from ..client import Client, ClientSocket
from ..errors import OptionError

AUTH: Final = "MADANG_AUTH"
"""The environment's variable that is presented if ``--auth`` is not given."""

_LOOK_AGAIN: Final = 0.01
"""Seconds."""

_LOCAL: Final = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(?=[:/?]|\Z)", re.IGNORECASE)


def url_of(said: str) -> str:
    """The URL that somebody meant: ``:3000`` is this machine, which speaks http unless told otherwise."""
    if re.match(r":\d", said):
        said = f"localhost{said}"
    return f"http://{said}" if _LOCAL.match(said) else said


def make_client(options: argparse.Namespace) -> Client:
    """A client that is not connected yet, with a socket for each namespace that is to be joined.

    Raises:
        OptionError: an option has no sense.
    """
    settings: dict[str, Any] = {
        "auto_connect": False,
        "force_new": True,
        "timeout": options.timeout,
        "ack_timeout": options.timeout,
        "reconnection": not options.no_reconnect,
        "reconnection_delay": 0.5,
        "extra_headers": dict(header_of(said) for said in options.header),
        "with_credentials": options.cookies,
        "proxy": options.proxy,
        "ssl_context": (tls := tls_of(options)),
        "ssl_verify": tls is not None or not options.insecure,
    }
    if options.path is not None:
        settings["path"] = options.path if options.path.startswith("/") else f"/{options.path}"
    if options.transport:
        settings["transports"] = options.transport
    if options.query:
        settings["query"] = dict(pair_of(said, "--query") for said in options.query)
    auth = auth_of(options.auth)
    client = Client(url_of(options.url), auth=auth, **settings)
    for namespace in options.of:
        client.of(namespace, auth=auth)
    return client


def sockets_of(client: Client) -> list[ClientSocket]:
    """The client's namespaces, its own first."""
    return list(client.manager.sockets.values())


async def handed_over(client: Client) -> None:
    """Wait until nothing that was emitted is left in this process."""
    await client.drained()
    while client.manager.buffered:  # noqa: ASYNC110 - nothing tells when the system has taken it from the loop
        await asyncio.sleep(_LOOK_AGAIN)


def list_of(answer: Any) -> list[Any]:
    """An answer as the list of values that it was: the client gives several as a tuple."""
    if answer is None:
        return []
    values: list[Any] = list(answer) if isinstance(answer, tuple) else [answer]  # pyright: ignore[reportUnknownArgumentType]
    return values


def header_of(said: str) -> tuple[str, str]:
    """``Name: value``.

    Raises:
        OptionError: there is no colon.
    """
    header, colon, value = said.partition(":")
    if not colon or not header.strip():
        raise OptionError(f"--header is to be given as 'Name: value', not {said!r}")
    return header.strip(), value.strip()


def pair_of(said: str, option: str) -> tuple[str, str]:
    """``name=value``.

    Raises:
        OptionError: there is no ``=``.
    """
    key, equals, value = said.partition("=")
    if not equals or not key:
        raise OptionError(f"{option} is to be given as name=value")  # what was said may be a secret
    return key, value


def auth_of(given: Sequence[str]) -> dict[str, Any] | None:
    """What is presented to the server: all that ``--auth`` gives, or the environment's.

    Raises:
        OptionError: it is neither an object, a file of one, nor ``name=value``. The message does not repeat it.
    """
    said = given or ([os.environ[AUTH]] if os.environ.get(AUTH) else [])
    if not said:
        return None
    auth: dict[str, Any] = {}
    for part in said:
        auth |= _auth_part(part)
    return auth


def _auth_part(said: str) -> dict[str, Any]:
    text = said.strip()
    if text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read().strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise OptionError(f"the file of --auth, {text[1:]!r}, cannot be read: {reason}") from None
    elif not text.startswith("{"):
        return dict([pair_of(text, "--auth (or " + AUTH + ")")])
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise OptionError(f"--auth (or {AUTH}) is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise OptionError('--auth is to be a JSON object such as \'{"token": "…"}\'')
    return cast("dict[str, Any]", value)


def tls_of(options: argparse.Namespace) -> ssl.SSLContext | None:
    """A context of its own, for a private authority or a client's certificate.

    Raises:
        OptionError: a file cannot be read, or is no certificate.
    """
    if options.key is not None and options.cert is None:
        raise OptionError("--key goes with --cert, the certificate that it belongs to")
    if options.insecure and options.cacert is not None:
        raise OptionError("--insecure looks at no certificate, and --cacert says which to trust: leave one of them out")
    if options.cacert is None and options.cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=options.cacert)
        if options.cert is not None:
            context.load_cert_chain(options.cert, options.key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        files = ", ".join(path for path in (options.cacert, options.cert, options.key) if path is not None)
        raise OptionError(f"no certificate or key can be read from {files}: {error}") from None
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    raise ValueError("the key has a password; give one without")
