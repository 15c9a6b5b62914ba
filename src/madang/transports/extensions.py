"""What the two ends of a WebSocket agree on about compression (RFC 7692, section 7.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..engine.deflate_options import DeflateSettings

NAME: Final = "permessage-deflate"

OFFER: Final = f"{NAME}; client_no_context_takeover; server_no_context_takeover"
"""What our client offers: neither end is to keep anything between two messages."""

_LETTER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_TOKEN: Final = re.compile(rf"{_LETTER}+").fullmatch
_QUOTED: Final = re.compile(rf'"((?:{_LETTER}|\\{_LETTER})+)"').fullmatch
_BITS: Final = re.compile(r"[89]|1[0-5]").fullmatch

SMALLEST_WINDOW: Final = 9
"""zlib cannot write raw deflate with a window of 8 bits, though it can read it."""

Extension = tuple[str, list[tuple[str, "str | None"]]]
"""The name of an extension, and its parameters in order."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What holds for one connection.

    Attributes:
        server_takeover: whether the server's messages may refer to earlier ones.
        client_takeover: the same of the client's.
        server_bits: the server's window, as a power of two.
        client_bits: the client's.
        header: the server's answer.
    """

    server_takeover: bool
    client_takeover: bool
    server_bits: int
    client_bits: int
    header: str


def read(header: str) -> list[Extension] | None:
    """The extensions in a header ``Sec-WebSocket-Extensions``; None if it cannot be read (RFC 6455, section 9.1)."""
    found: list[Extension] = []
    for element in header.split(","):  # no quotes can hide a comma: what they hold has to be a token
        name, *rest = (piece.strip(" \t") for piece in element.split(";"))
        if not name and not rest:
            continue  # a list may have empty elements (RFC 9110, section 5.6.1)
        parameters = [_parameter(piece) for piece in rest]
        if not _TOKEN(name) or None in parameters:
            return None
        found.append((name, [parameter for parameter in parameters if parameter is not None]))
    return found


def _parameter(text: str) -> tuple[str, str | None] | None:
    name, sign, value = text.partition("=")
    name, value = name.rstrip(" \t"), value.lstrip(" \t")
    if not _TOKEN(name):
        return None
    if not sign:
        return name, None
    if (quoted := _QUOTED(value)) is not None:
        return name, quoted[1].replace("\\", "")
    return (name, value) if _TOKEN(value) else None


def agree(header: str, settings: DeflateSettings) -> Agreed | None:
    """The server's side: accept the first offer that can be, or none.

    Args:
        header: the client's ``Sec-WebSocket-Extensions``; one that cannot be read offers nothing.
        settings: what the server wants.
    """
    for name, parameters in read(header) or ():
        if name == NAME and (agreed := _accept(parameters, settings)) is not None:
            return agreed
    return None


def _accept(parameters: Sequence[tuple[str, str | None]], settings: DeflateSettings) -> Agreed | None:
    offer = _valid(parameters)
    if offer is None:
        return None
    server_bits = min(offer.get("server_max_window_bits") or 15, settings.server_max_window_bits)
    if server_bits < SMALLEST_WINDOW:
        return None
    client_bits = min(offer.get("client_max_window_bits") or 15, settings.client_max_window_bits)
    if settings.client_max_window_bits < 15 and "client_max_window_bits" not in offer:
        return None  # it could not be told, and might use more
    server_takeover = not (settings.server_no_context_takeover or "server_no_context_takeover" in offer)
    client_takeover = not (settings.client_no_context_takeover or "client_no_context_takeover" in offer)
    words = [NAME]
    if not server_takeover:
        words.append("server_no_context_takeover")
    if not client_takeover:
        words.append("client_no_context_takeover")
    if server_bits < 15 or "server_max_window_bits" in offer:
        words.append(f"server_max_window_bits={server_bits}")
    if client_bits < 15:
        words.append(f"client_max_window_bits={client_bits}")
    return Agreed(server_takeover, client_takeover, server_bits, client_bits, "; ".join(words))


def answered(header: str) -> Agreed | str:
    """The client's side: what the server has answered to `OFFER`, or what is wrong with it, in words."""
    extensions = read(header)
    if extensions is None:
        return "an answer about extensions that cannot be read"
    if len(extensions) != 1 or extensions[0][0] != NAME:
        return "an extension that was not offered"
    answer = _valid(extensions[0][1])
    if answer is None or answer.get("server_max_window_bits", 15) is None:
        return "parameters of permessage-deflate that are unknown, invalid or repeated"
    if "client_max_window_bits" in answer:
        return "a parameter of permessage-deflate that was not offered"
    # we have asked that it keeps nothing; what it does not promise we can read all the same
    takeover = "server_no_context_takeover" not in answer
    return Agreed(takeover, False, answer.get("server_max_window_bits") or 15, 15, header)


def _valid(parameters: Sequence[tuple[str, str | None]]) -> dict[str, int | None] | None:
    """The parameters, windows as numbers; None if one is unknown, invalid or repeated."""
    valid: dict[str, int | None] = {}
    for name, value in parameters:
        if name in valid:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
            valid[name] = None
        elif name in ("server_max_window_bits", "client_max_window_bits"):
            if value is None:
                if name != "client_max_window_bits":
                    return None
                valid[name] = None
            elif _BITS(value):
                valid[name] = int(value)
            else:
                return None
        else:
            return None
    return valid
