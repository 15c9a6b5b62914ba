"""FastAPI's dependencies in handlers and middleware: ``user: User = Depends(current_user)``, as in a route.

It needs FastAPI, ``pip install "madang[fastapi]"``, and stands on the functions that FastAPI's own routes are made of.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

from fastapi import HTTPException, params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from fastapi.exceptions import FastAPIError
from starlette.background import BackgroundTasks
from starlette.requests import HTTPConnection, Request

from .errors import ConnectError, EventError, HandlerError
from .events.signature import annotations_of, is_foreign_marker
from .server.socket import Socket

R = TypeVar("R")

_SOCKET: Final = "madang.socket"
_GIVEN: Final = (HTTPConnection, BackgroundTasks)
"""What FastAPI gives to a parameter by its annotation alone."""


class _Refused(EventError, ConnectError):
    """A dependency has refused: the client of an event is told so in its answer, that of a middleware is not let in."""

    def __init__(self, status: int, detail: Any) -> None:
        message = detail if isinstance(detail, str) else "refused"
        EventError.__init__(self, message, code="refused", data={"status": status, "detail": detail})


async def current_socket(request: Request) -> Socket[Any]:
    """A dependency: the socket that the handler is called for.

    Raises:
        RuntimeError: it is asked for in a route, where there is none.
    """
    socket = request.scope.get(_SOCKET)
    if socket is None:
        raise RuntimeError("current_socket is for dependencies of Socket.IO handlers; a route has no socket")
    return cast("Socket[Any]", socket)


CurrentSocket: TypeAlias = Annotated[Socket[Any], params.Depends(current_socket)]
"""The annotation for a dependency's parameter that wants the socket."""


class Inject:
    """A decorator, below ``@io.on(...)`` and the like, for functions with dependencies among their parameters.

    Parameters with ``Depends``, ``Security``, ``Query``, ``Header`` or ``Cookie``, and those that are annotated with
    ``Request`` or ``BackgroundTasks``, are FastAPI's to fill, from the client's handshake; no client can send them. All
    others stay as they were, and in their order. The function must take the socket first.

    Dependencies are solved for each call anew, each once; those that yield end when the function has ended. A
    ``HTTPException`` is told to the client: as an `EventError` with ``data`` ``{"status", "detail"}``, or, in a
    middleware, as a `ConnectError` with the same. What does not fit a parameter of a dependency is told with 422.

    Args:
        app: whose ``dependency_overrides`` count, and what dependencies see as ``request.app``. Default: none.
    """

    def __init__(self, app: Any = None) -> None:
        self.app = app

    def __call__(self, function: Callable[..., R | Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
        """The function, as it is to be registered.

        Raises:
            HandlerError: it does not take the socket first, or FastAPI cannot give what a parameter asks for.
        """
        hints = annotations_of(function)
        own, injected = _parted(function, hints)
        name = getattr(function, "__qualname__", repr(function))
        if not own or own[0].kind is inspect.Parameter.KEYWORD_ONLY:
            raise HandlerError(f"{name} must take the socket as its first parameter, before its dependencies")
        dependant = _dependant(name, injected)
        app = self.app

        async def call(*args: Any) -> R:
            socket = _socket_of(args)
            if socket is None:
                raise HandlerError(
                    f"{name}: inject is for handlers that get the socket, which those of socket.on do not"
                )
            async with AsyncExitStack() as outer, AsyncExitStack() as inner:
                request = _request(socket, app, outer, inner)
                try:
                    solved = await solve_dependencies(
                        request=request,
                        dependant=dependant,
                        dependency_overrides_provider=app,
                        async_exit_stack=outer,
                        embed_body_fields=False,
                    )
                    if solved.errors:
                        raise _Refused(422, [_told(error) for error in solved.errors])
                    result: Any = function(*args, **solved.values)
                    if inspect.isawaitable(result):
                        result = await result
                except HTTPException as error:
                    raise _Refused(error.status_code, error.detail) from error
            if solved.background_tasks is not None:
                await solved.background_tasks()
            return cast("R", result)

        _take_part(call, function, own, hints)
        return call


inject: Final = Inject()
"""`Inject` without an application."""


def _socket_of(args: tuple[Any, ...]) -> Any:
    """The socket: the first argument, or the one behind the `self` of a method; None if there is none."""
    return next((one for one in args[:2] if isinstance(cast("object", one), Socket)), None)


def _take_part(wrapper: Any, function: Any, own: list[inspect.Parameter], hints: dict[str, Any]) -> None:
    """Let `wrapper` look like the function, but for the parameters that no client may send."""
    functools.update_wrapper(wrapper, function, updated=())
    del wrapper.__wrapped__
    wrapper.__signature__ = inspect.Signature(own)
    wrapper.__annotations__ = {one.name: hints[one.name] for one in own if one.name in hints}


def _parted(
    function: Callable[..., Any], hints: dict[str, Any]
) -> tuple[list[inspect.Parameter], list[inspect.Parameter]]:
    """The parameters that stay, and those that FastAPI fills, which are given by name."""
    own: list[inspect.Parameter] = []
    injected: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        given = isinstance(hint, type) and issubclass(hint, _GIVEN)
        if given or is_foreign_marker(parameter.default, hint):
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise HandlerError(f"{parameter.name!r} is positional-only, but dependencies are given by name")
            injected.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hint))
        else:
            own.append(parameter.replace(annotation=hints.get(parameter.name, parameter.empty)))
    return own, injected


def _dependant(name: str, injected: list[inspect.Parameter]) -> Dependant:
    """What FastAPI knows of the dependencies."""

    def wanted() -> None:
        """Stands for the handler, with its dependencies alone."""

    cast("Any", wanted).__signature__ = inspect.Signature(injected)
    try:
        dependant = get_dependant(path="/", call=wanted)
    except (FastAPIError, AssertionError, TypeError) as error:
        raise HandlerError(f"{name}: FastAPI cannot give its dependencies: {error}") from error
    if dependant.body_params:
        raise HandlerError(f"{name}: there is no body; what the client sends are the parameters without Body and Form")
    return dependant


def _request(socket: Socket[Any], app: Any, outer: AsyncExitStack, inner: AsyncExitStack) -> Request:
    """The client's handshake, as dependencies see it."""
    shaken = socket.request
    scope: dict[str, Any] = dict(shaken.scope or {}) if shaken is not None else {}
    scope |= {
        "type": "http",
        "method": "GET",
        "path_params": {},
        "fastapi_inner_astack": outer,
        "fastapi_function_astack": inner,
        "fastapi_middleware_astack": outer,
        _SOCKET: socket,
    }
    if shaken is not None:
        path = shaken.path
        scope |= {"path": path, "raw_path": path.encode("latin-1", "replace"), "headers": list(shaken.raw_headers)}
        scope |= {"query_string": shaken.query_string.encode("latin-1", "replace"), "client": shaken.remote}
        scope |= {"scheme": shaken.scheme}
    else:
        scope |= {"path": "/", "headers": [], "query_string": b"", "client": None, "scheme": "http"}
    scope.setdefault("root_path", "")
    if app is not None:
        scope["app"] = app
    return Request(scope)


def _told(error: Any) -> dict[str, Any]:
    """What a client is told of a value that does not fit: where and why, and not the value itself."""
    return {"loc": list(error["loc"]), "msg": str(error["msg"]), "type": str(error["type"])}
