"""Who may reach the server from a browser: the origin check, and the CORS headers that tell the browser.

Same-origin requests and requests without an Origin header (anything but a browser) are always let in. Everything else
must be named in the `cors` option, on HTTP and on WebSocket alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, cast
from urllib.parse import urlsplit

from ..errors import HandshakeError, OptionError
from .http import Request

Origin: TypeAlias = (
    "str | re.Pattern[str] | bool | Callable[[str], bool] | Sequence[str | re.Pattern[str] | Callable[[str], bool]]"
)

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ALLOWED_BYTES = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch


class CorsOptions(TypedDict, total=False):
    """The `cors` option.

    Attributes:
        origin: ``"*"``, one origin, a compiled pattern, a function of the origin, a list of these, or True for any
            (the request's own is named in the answer). Default: none beyond same-origin.
        methods: for preflight answers. Default ``["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]``.
        credentials: whether cookies may be sent along; never with an origin of ``"*"`` or True.
        allowed_headers: request headers a browser may send. Default: those it asks for.
        exposed_headers: response headers a page may read.
        max_age: seconds a preflight answer may be kept.
        options_success_status: status of a preflight answer. Default 204.
    """

    origin: Origin
    methods: str | Sequence[str]
    credentials: bool
    allowed_headers: str | Sequence[str]
    exposed_headers: str | Sequence[str]
    max_age: int
    options_success_status: int


CorsDelegate: TypeAlias = Callable[[Request], "CorsOptions | None"]


def _joined(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _validated(options: object) -> CorsOptions:
    if not isinstance(options, Mapping):
        raise OptionError(f"cors must be a dict such as {{'origin': 'https://example.com'}}, not {options!r}")
    cors = cast("CorsOptions", dict(cast("Mapping[str, Any]", options)))
    unknown = set(cors) - set(CorsOptions.__annotations__)
    if unknown:
        known = ", ".join(sorted(CorsOptions.__annotations__))
        raise OptionError(f"unknown cors option {sorted(unknown)[0]!r}; known are {known}")
    origin = cors.get("origin")
    anything = origin is True or origin == "*" or (isinstance(origin, list | tuple) and "*" in origin)
    if anything and cors.get("credentials"):
        raise OptionError("cors: an origin of '*' or True never goes with credentials; name the origins instead")
    for entry in cast("Sequence[object]", origin if isinstance(origin, list | tuple) else [origin]):
        if isinstance(entry, str) and entry not in ("*", "null") and "://" not in entry:
            raise OptionError(f"cors: {entry!r} is no origin; write it with its scheme, such as 'https://{entry}'")
    return cors


class Cors:
    """The origin check and the CORS headers of one engine.

    Args:
        options: the `cors` option: a dict, a function that gives one for each request, or None.

    Raises:
        OptionError: an unknown name, an origin without scheme, or ``"*"`` with credentials.
    """

    __slots__ = ("_delegate", "_options")

    def __init__(self, options: CorsOptions | CorsDelegate | None) -> None:
        self._delegate = options if callable(options) else None
        self._options = None if options is None or callable(options) else _validated(options)

    def _options_for(self, request: Request) -> CorsOptions | None:
        if self._delegate is None:
            return self._options
        options = self._delegate(request)
        return None if options is None else _validated(options)

    def check(self, request: Request) -> None:
        """Let the request in or refuse it.

        Raises:
            HandshakeError: code 3 if the Origin header has bytes that no header may have, code 4 if the origin is
                neither the server's own nor named in the `cors` option.
        """
        origin = _origin_of(request)
        if origin is None:
            self._check_script(request)
            return
        if is_same_origin(origin, request):
            return
        options = self._options_for(request)
        if options is None or not _allows(options.get("origin"), origin):
            raise HandshakeError(
                4,
                f"origin {origin} is not allowed; the server's cors option must name it: cors={{'origin': '{origin}'}}",
                {"name": "ORIGIN_REFUSED", "origin": origin},
            )

    def _check_script(self, request: Request) -> None:
        """A script that a foreign page loads (JSONP) comes without Origin; newer browsers say so in another way."""
        if "j" not in request.query or request.headers.get("sec-fetch-site") != "cross-site":
            return
        options = self._options_for(request)
        setting = options.get("origin") if options is not None else None
        if setting is not True and setting != "*":
            message = "JSONP from another site is not allowed; use a client with CORS"
            raise HandshakeError(4, message, {"name": "ORIGIN_REFUSED", "origin": None})

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """The CORS headers for the answer to a request; none if no `cors` option is set or the origin is foreign."""
        options = self._options_for(request)
        if options is None:
            return []
        origin = request.headers.get("origin")
        setting = options.get("origin")
        if setting == "*":
            headers = [("access-control-allow-origin", "*")]
        elif origin is not None and _allows(setting, origin):
            headers = [("access-control-allow-origin", origin), ("vary", "Origin")]
        else:
            return [("vary", "Origin")]
        if options.get("credentials"):
            headers.append(("access-control-allow-credentials", "true"))
        if exposed := options.get("exposed_headers"):
            headers.append(("access-control-expose-headers", _joined(exposed)))
        return headers

    def preflight(self, request: Request) -> tuple[int, list[tuple[str, str]]] | None:
        """Status and headers of the answer to an OPTIONS request, or None if no `cors` option is set."""
        options = self._options_for(request)
        if options is None:
            return None
        headers = self.headers(request)
        if headers and headers[0][0] == "access-control-allow-origin":
            methods = options.get("methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
            headers.append(("access-control-allow-methods", _joined(methods)))
            asked = request.headers.get("access-control-request-headers")
            allowed = options.get("allowed_headers", asked)
            if "allowed_headers" not in options:
                headers.append(("vary", "Access-Control-Request-Headers"))
            if allowed:
                headers.append(("access-control-allow-headers", _joined(allowed)))
            if "max_age" in options:
                headers.append(("access-control-max-age", str(options["max_age"])))
        return options.get("options_success_status", 204), headers


def _origin_of(request: Request) -> str | None:
    for name, value in request.raw_headers:
        if name == b"origin":
            if _ALLOWED_BYTES(value) is None:
                raise HandshakeError(3, context={"name": "INVALID_ORIGIN"})
            return value.decode("latin-1")
    return None


def _allows(setting: Any, origin: str) -> bool:
    if setting is None or isinstance(setting, bool):
        return setting is True
    if isinstance(setting, str):
        return setting == "*" or setting.rstrip("/").lower() == origin.lower()
    if isinstance(setting, re.Pattern):
        return cast("re.Pattern[str]", setting).search(origin) is not None
    if callable(setting):
        return bool(setting(origin))
    return any(_allows(entry, origin) for entry in setting)


def is_same_origin(origin: str, request: Request) -> bool:
    """Whether a page from `origin` was served by the host that the request names.

    The scheme is not compared, since a proxy that ends TLS hides it; a port that is the scheme's default counts as
    absent. ``X-Forwarded-Host`` counts as well: a browser cannot send it across origins without a preflight.
    """
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if not parts.scheme or parts.hostname is None:
        return False
    default = _DEFAULT_PORTS.get(parts.scheme)
    wanted = (parts.hostname.lower(), port if port is not None else default)
    for name in ("host", "x-forwarded-host"):
        for host in request.headers.get(name, "").split(","):
            if host and _host_and_port(host.strip(), default) == wanted:
                return True
    return False


def _host_and_port(host: str, default: int | None) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    return None if parts.hostname is None else (parts.hostname.lower(), port if port is not None else default)
