"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import fields
from typing import Any, TypeVar, Unpack, cast
from weakref import WeakValueDictionary

from ..engine.client_options import ClientEngineOptions
from ..engine.options import refuse_unknown
from ..transports.dialing import has_http_client
from .options import Auth, ClientKeywords, ClientOptions
from .reconnect import GOODBYE, Manager, shared_key
from .socket import ClientSocket
from .url import Target, parse

F = TypeVar("F", bound=Callable[..., Any])

_shared: WeakValueDictionary[tuple[Any, ...], Manager] = WeakValueDictionary()


class Client(ClientSocket):
    """A Socket.IO client: the namespace that the URL's path names, on a connection that it may share.

    ::

        client = madang.Client("http://localhost:3000", auth={"token": "…"})


        @client.on("chat message")
        async def chat_message(text: str):
            print(text)


        async with client:
            client.emit("chat message", "hello")
            await client.wait_for("disconnect", timeout=None)

    Made in a running loop it begins to connect at once, see the option `auto_connect`; else `connect`, ``async with``
    or ``await client`` begin.

    Args:
        url: the server, and the namespace as its path: ``"http://localhost:3000/chat"``.
        auth: what to present to the server: a dict, or a function or coroutine function that gives one for each
            attempt.
        **options: see `ClientOptions` and `ClientEngineOptions`.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """

    def __init__(self, url: str, *, auth: Auth | None = None, **options: Unpack[ClientKeywords]) -> None:
        given = cast("dict[str, Any]", dict(options))
        if "transports" not in given and not has_http_client():
            given["transports"] = ("websocket",)
        refuse_unknown(given, ClientEngineOptions, ClientOptions)
        own = {field.name for field in fields(ClientOptions)}
        settings = ClientOptions(**{name: value for name, value in given.items() if name in own})
        engine = ClientEngineOptions(**{name: value for name, value in given.items() if name not in own})
        target = parse(url)
        loop = _running_loop()
        super().__init__(_manager(target, settings, engine, loop), target.namespace, auth)
        self._spaces: list[ClientSocket] = []
        self.manager.adopt(self)
        if settings.auto_connect and loop is not None:
            self.connect()

    def of(self, namespace: str, *, auth: Auth | None = None) -> ClientSocket:
        """Another namespace on the same connection; the first call joins it, unless `auto_connect` is off.

        Args:
            namespace: its name, such as ``"/chat"``.
            auth: what to present there.
        """
        name = namespace if namespace.startswith("/") else f"/{namespace}"
        known = name in self.manager.sockets
        socket = self.manager.socket(name, auth)
        if not known:
            self._spaces.append(socket)
        if not known and self.manager.options.auto_connect:
            if _running_loop() is not None:
                socket.connect()
            else:
                socket.active = True  # it joins with the connection
        return socket

    async def close(self, timeout: float = GOODBYE) -> None:
        """Leave all namespaces that this client has joined, and wait until nothing is left; always ends in time.

        Args:
            timeout: seconds that handlers which still run are given; then they are cancelled.
        """
        manager = self.manager
        for socket in (*self._spaces, self):
            socket.disconnect()
            socket.closed_for_good()
        if not any(socket.active for socket in manager.sockets.values()):
            await manager.finish(timeout)

    def on_error(self, handler: F) -> F:
        """Tell `handler(error, socket, event)` of each exception that a handler has raised. A decorator."""
        return self.manager.on_error(handler)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine in the background until it ends or the client is closed, which cancels it."""
        self.manager.spawn(coroutine)

    async def wait(self) -> str:
        """Wait until the client is not connected and will not come back by itself; why.

        That is so once the server's application has refused or disconnected it, once it was disconnected or closed
        here, and once connecting again has been given up.
        """
        return await self._end()

    async def __aenter__(self) -> Client:
        await self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, Any, Client]:
        return self.__aenter__().__await__()

    async def _opened(self) -> None:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise


def connect(url: str, *, auth: Auth | None = None, **options: Unpack[ClientKeywords]) -> Client:
    """A client, for ``async with`` or ``await``, which wait until it is connected.

    ::

        async with madang.connect("http://localhost:3000") as client:
            client.emit("hello", "world")
            async for event in client.events():
                print(event.name, *event.args)

    Args:
        url: see `Client`.
        auth: see `Client`.
        **options: see `ClientOptions` and `ClientEngineOptions`.

    Raises:
        ConnectError: the server's application has refused.
        ConnectionFailed: there was no connection within the option `timeout`.
    """
    return Client(url, auth=auth, **options)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _manager(
    target: Target, options: ClientOptions, engine: ClientEngineOptions, loop: asyncio.AbstractEventLoop | None
) -> Manager:
    """A connection: one that a client of this loop with the same settings has for other namespaces, or a new one."""
    if loop is None or options.force_new or not options.multiplex:
        return Manager(target, options, engine)
    key = (id(loop), *shared_key(target, engine, options))
    known = _shared.get(key)
    if known is not None and known.can_take(target.namespace, loop):
        return known
    manager = Manager(target, options, engine)
    _shared[key] = manager
    return manager
