"""What can be said of a cluster over Redis."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypedDict, cast
from urllib.parse import urlencode

from ..engine.options import refuse_unknown, require_positive
from ..errors import OptionError
from .redis_connection import split_url


class RedisKeywords(TypedDict, total=False):
    """What `RedisAdapter` takes by name; see `RedisOptions`."""

    key: str
    requests_timeout: float
    publish_on_specific_response_channel: bool
    routing: Literal["room", "pattern"]
    queue_limit: int
    queue_bytes: int
    max_message: int
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """The options of a cluster over Redis.

    Attributes:
        key: what the names of all channels begin with; the same on all servers. Default ``"socket.io"``, as in Node.
        requests_timeout: seconds for which the answers of other servers are awaited. Default 5.
        publish_on_specific_response_channel: whether answers go to the server that has asked alone. Default False, as
            in Node: servers older than its version 8 would not hear them.
        routing: ``"room"``: a server subscribes to the rooms that have members here; ``"pattern"``: to all, as Node
            does, and drops what is for others by the channel's name. Default ``"room"``.
        queue_limit: messages that may wait while Redis is slow or away. Default 100 000.
        queue_bytes: bytes that they may have. Default 64 MiB.
        max_message: bytes that one message between servers may have. Default 16 MiB.
        timeout: seconds in which Redis must answer; then the connection is made anew. Default 5.
    """

    key: str = "socket.io"
    requests_timeout: float = 5.0
    publish_on_specific_response_channel: bool = False
    routing: Literal["room", "pattern"] = "room"
    queue_limit: int = 100_000
    queue_bytes: int = 67_108_864
    max_message: int = 16_777_216
    timeout: float = 5.0

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "requests_timeout", "queue_limit", "queue_bytes", "max_message", "timeout")
        if self.routing not in ("room", "pattern"):
            raise OptionError(f'routing is "room" or "pattern", not {self.routing!r}')


_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_TYPES: Final[dict[str, type]] = {field.name: type(field.default) for field in fields(RedisOptions)}


def options_from(url: str, given: RedisKeywords) -> tuple[str, RedisOptions]:
    """The URL for redis-py, and our options, which may stand in the URL's query; `given` goes before that.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """
    refuse_unknown(given, RedisOptions)
    plain, query = split_url(url)
    ours = {name: _read(name, query.pop(name)) for name in list(query) if name in _TYPES}
    rest = f"{plain}?{urlencode(query)}" if query else plain
    return rest, RedisOptions(**cast("Any", ours | given))


def _read(name: str, text: str) -> Any:
    kind = _TYPES[name]
    try:
        if kind is bool:
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError(text)
            return text.lower() in _TRUE
        return kind(text)
    except ValueError:
        raise OptionError(f"{name} in the adapter's URL cannot be {text!r}") from None
