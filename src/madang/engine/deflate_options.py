"""The option `per_message_deflate` of both ends: typed, checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypedDict

from ..errors import OptionError

OF_CLIENTS: Final = ("threshold", "level", "mem_level")
"""The keys that a client has: it always asks for no context to be kept."""

_RANGES: Final = {
    "server_max_window_bits": (9, 15),
    "client_max_window_bits": (9, 15),
    "level": (1, 9),
    "mem_level": (1, 9),
}


class PerMessageDeflate(TypedDict, total=False):
    """The `per_message_deflate` option of a server, as a dict (RFC 7692).

    Attributes:
        threshold: bytes from which on a message is compressed. Default 1024; 0 for all.
        server_no_context_takeover: whether the server forgets each message before it compresses the next. Default True.
            If False, similar small messages become smaller, but each client costs up to 256 KiB, and a broadcast is
            compressed anew for each recipient.
        client_no_context_takeover: whether clients have to do the same. Default True. If False, each client costs up to
            32 KiB for what it may refer to.
        server_max_window_bits: how far back the server looks for repetitions, as a power of two, 9 to 15. Default 15,
            which is 32 KiB.
        client_max_window_bits: the same for clients; below 15, one that cannot be told so is spoken to without
            compression. Default 15.
        level: from 1, fast, to 9, small. Default 6.
        mem_level: from 1, little memory, to 9, fast. Default 8.
    """

    threshold: int
    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int
    level: int
    mem_level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateSettings:
    """The same, whole and checked; see `PerMessageDeflate`."""

    threshold: int = 1024
    server_no_context_takeover: bool = True
    client_no_context_takeover: bool = True
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    level: int = 6
    mem_level: int = 8

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range; the message names the key.
        """
        for name in ("server_no_context_takeover", "client_no_context_takeover"):
            value: Any = getattr(self, name)
            if not isinstance(value, bool):
                raise OptionError(f"per_message_deflate: {name} must be True or False, not {value!r}")
        if not _is_whole(self.threshold) or self.threshold < 0:
            raise OptionError(f"per_message_deflate: threshold must be a number of bytes, not {self.threshold!r}")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not _is_whole(value) or not least <= value <= most:
                raise OptionError(f"per_message_deflate: {name} must be {least} to {most}, not {value!r}")

    @classmethod
    def of(cls, given: Any, known: Sequence[str] | None = None) -> DeflateSettings | None:
        """What may be given as the option `per_message_deflate`; None if messages are not to be compressed.

        Args:
            given: True, False, None or a dict.
            known: the keys that the dict may have. Default: all.

        Raises:
            OptionError: it is none of these, has an unknown key, or a value out of range.
        """
        if given is None or given is False:
            return None
        if given is True:
            return cls()
        known = known if known is not None else [field.name for field in fields(cls)]
        if not isinstance(given, Mapping):
            raise OptionError(f"per_message_deflate must be True, False or a dict of {', '.join(known)}, not {given!r}")
        values: Mapping[Any, Any] = given  # pyright: ignore[reportUnknownVariableType]
        for name in values:
            if name not in known:
                raise OptionError(f"per_message_deflate: unknown key {name!r}{_hint(str(name), known)}")
        return cls(**values)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _hint(name: str, known: Sequence[str]) -> str:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    near = difflib.get_close_matches(snake, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
