"""Options that stand in the query of a cluster's URL, and the URL without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..engine.options import refuse_unknown
from ..errors import OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")

Options = TypeVar("Options", bound="DataclassInstance")


def settings_from(
    url: str, schemes: Sequence[str], example: str, given: Mapping[str, Any], kind: type[Options]
) -> tuple[str, Options]:
    """The URL for the driver, and our options, which may stand in the URL's query; `given` goes before that.

    Args:
        url: the URL.
        schemes: those that it may have.
        example: a URL as it should be, for the error.
        given: what was given by name.
        kind: a dataclass of options, each with a default.

    Raises:
        OptionError: a URL of another scheme, an unknown option, or a value out of range.
    """
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise OptionError(f"a URL such as {example} is wanted, not {url!r}")
    rest, options = settings_in(parse_qsl(parts.query, keep_blank_values=True), given, kind)
    return urlunsplit(parts._replace(query=rest)), options


def settings_in(query: Iterable[tuple[str, str]], given: Mapping[str, Any], kind: type[Options]) -> tuple[str, Options]:
    """What is left of a query without our options, and these; see `settings_from`.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """
    refuse_unknown(given, kind)
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    types: dict[str, type] = {name: str if default is None else type(default) for name, default in defaults.items()}
    query = list(query)
    ours = {name: _read(name, text, types[name]) for name, text in query if name in types}
    rest = urlencode([(name, text) for name, text in query if name not in types])
    return rest, kind(**{**ours, **given})


def _read(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError(text)
            return text.lower() in _TRUE
        return kind(text)
    except ValueError:
        raise OptionError(f"{name} in the adapter's URL cannot be {text!r}") from None
