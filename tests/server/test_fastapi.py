"""FastAPI's dependencies in handlers and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import fastapi
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Query, Request, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel

import madang
import madang.testing
from madang.errors import HandlerError
from madang.fastapi import CurrentSocket, Inject, current_socket, inject
from tests.server.javascript import ConnectRefused, Js

if TYPE_CHECKING:
    from madang import Socket


class User(BaseModel):
    """Who asks."""

    name: str


bearer = OAuth2PasswordBearer(tokenUrl="token")


def current_user(token: Annotated[str, Depends(bearer)]) -> User:
    """A dependency as routes have it; it runs in a thread."""
    if token == "stranger":
        raise HTTPException(403, "you are not known here")
    return User(name=token)


BEARER = {"extraHeaders": {"Authorization": "Bearer minji"}}


@pytest.mark.usefixtures("mode")
async def test_as_in_a_route(js: Js, io: madang.Server):
    """A dependency of a route works in a handler of an event, whose own arguments are checked as ever."""

    @io.on("say")
    @inject
    async def say(socket: Socket, text: str, times: int = 1, user: User = Depends(current_user)) -> list[Any]:
        return [user.name, text * times, socket.id]

    client = await js.connect(io, **BEARER)
    assert await client.emit_with_ack("say", "a", 2) == ["minji", "aa", client.id]
    # what a client sends beyond its own arguments reaches no dependency
    assert await client.emit_with_ack("say", "a", 1, {"name": "root"}) == ["minji", "a", client.id]
    refused = await client.emit_with_ack("say", 1)
    assert 'invalid argument "text"' in refused["error"]["message"]


async def test_without_the_adapter(io: madang.Server):
    """A dependency in a handler or middleware that is not wrapped is refused when it is registered."""
    with pytest.raises(HandlerError, match=r"'user' is a dependency of FastAPI.*madang\.fastapi\.inject"):

        @io.on("say")
        def say(socket: Socket, text: str, user: User = Depends(current_user)) -> None: ...

    with pytest.raises(HandlerError, match="'user' is a dependency of FastAPI"):

        @io.on("say")
        def annotated(socket: Socket, user: Annotated[User, Depends(current_user)]) -> None: ...

    with pytest.raises(HandlerError, match="'user' is a dependency of FastAPI"):

        @io.use
        def check(socket: Socket, user: User = Depends(current_user)) -> None: ...

    with pytest.raises(HandlerError, match="'user' is a dependency of FastAPI"):

        @io.on("disconnect")
        def gone(socket: Socket, reason: str, user: User = Depends(current_user)) -> None: ...


async def test_refused():
    """What a dependency refuses, or cannot make of the handshake, is told in the answer of the event."""
    io = madang.Server()
    called: list[str] = []

    @io.on("say")
    @inject
    def say(
        socket: Socket,
        user: User = Depends(current_user),
        size: Annotated[int, Query()] = 3,
        *,
        x_yard: str = Header(""),
    ) -> list[Any]:
        called.append(user.name)
        return [size, x_yard]

    async with madang.testing.connect(io) as client:
        told = {"status": 401, "detail": "Not authenticated"}
        error = {"code": "refused", "message": "Not authenticated", "data": told}
        assert await client.call("say") == {"error": error}
    for query, headers, answer in (
        ({"size": "7"}, {"X-Yard": "here"}, [7, "here"]),
        ({}, {}, [3, ""]),
        ({"size": "many"}, {}, 422),
        ({}, {"Authorization": "Bearer stranger"}, 403),
    ):
        headers = {"Authorization": "Bearer minji", **headers}
        async with madang.testing.connect(io, query=query, headers=headers) as client:
            if isinstance(answer, list):
                assert await client.call("say") == answer
                continue
            error = (await client.call("say"))["error"]
            assert (error["code"], error["data"]["status"]) == ("refused", answer)
            if answer == 422:
                assert error["data"]["detail"][0]["loc"] == ["query", "size"]
                assert "many" not in str(error)
    assert called == ["minji", "minji"]


async def test_middleware(js: Js, io: madang.Server):
    """In a middleware the refusal reaches the client's `connect_error`; who is let in has been seen."""
    seen: list[str] = []

    @io.use
    @inject
    async def check(socket: Socket, user: User = Depends(current_user)) -> None:
        seen.append(user.name)
        socket.data["user"] = user.name

    url = await js.serve(io)
    with pytest.raises(ConnectRefused, match="Not authenticated") as caught:
        await js.connect(url)
    assert caught.value.refused.data == {"status": 401, "detail": "Not authenticated"}
    client = await js.connect(url, **BEARER)
    assert (seen, io.sockets[client.id].data) == (["minji"], {"user": "minji"})


async def test_those_that_yield():
    """A dependency that yields ends when the handler has, knows how, and may commit before the answer is sent."""
    io = madang.Server()
    told: list[str] = []

    async def session() -> AsyncIterator[str]:
        told.append("begin")
        try:
            yield "session"
        except ValueError:
            told.append("rollback")
            raise
        else:
            told.append("commit")
        finally:
            told.append("close")

    def plain() -> Iterator[int]:
        yield 1
        told.append("plain ended")

    @io.on("work")
    @inject
    async def work(socket: Socket, fails: bool, db: str = Depends(session), one: int = Depends(plain)) -> str:
        told.append(db)
        if fails:
            raise ValueError("no")
        return "done"

    @io.on("disconnect")
    @inject
    async def gone(socket: Socket, reason: str, db: str = Depends(session)) -> None:
        told.append(reason)

    async with madang.testing.connect(io) as client:
        assert await client.call("work", False) == "done"
        assert told == ["begin", "session", "plain ended", "commit", "close"]
        told.clear()
        assert "error" in await client.call("work", True)
        assert [str(failure.error) for failure in client.failures] == ["no"]
        client.failures.clear()
        assert told == ["begin", "session", "rollback", "close"]
        told.clear()
    await io.close()
    assert told[:2] == ["begin", "client namespace disconnect"]
    assert told[-1] == "close"


async def test_once_for_each_call():
    """What several dependencies share is made once for a call, and anew for the next one."""
    io = madang.Server()
    made: list[object] = []

    def shared() -> object:
        made.append(object())
        return made[-1]

    def first(value: object = Depends(shared)) -> object:
        return value

    @io.on("x")
    @inject
    def handler(
        socket: Socket,
        a: object = Depends(first),
        b: object = Depends(shared),
        c: object = Depends(shared, use_cache=False),
    ) -> list[bool]:
        return [a is b, b is c]

    async with madang.testing.connect(io) as client:
        assert await client.call("x") == [True, False]
        assert await client.call("x") == [True, False]
    assert len(made) == 4


async def test_overrides_and_the_application():
    """`dependency_overrides` of the application count, and `request.app` is it."""
    api = FastAPI()
    io = madang.Server()
    injected = Inject(api)

    @io.on("who")
    @injected
    async def who(socket: Socket, request: Request, user: User = Depends(current_user)) -> list[Any]:
        return [user.name, request.app is api, request.client is not None, request.url.path]

    async with madang.testing.connect(io) as client:
        assert (await client.call("who"))["error"]["message"] == "Not authenticated"
        api.dependency_overrides[current_user] = lambda: User(name="anybody")
        assert await client.call("who") == ["anybody", True, True, "/socket.io/"]
        api.dependency_overrides.clear()
        assert (await client.call("who"))["error"]["message"] == "Not authenticated"


async def test_the_socket_and_what_else_is_given():
    """A dependency may ask for the socket; scopes, background tasks and `async` dependencies work as in a route."""
    io = madang.Server()
    done: list[str] = []

    async def who(socket: CurrentSocket, again: Any = Depends(current_socket)) -> str:
        assert socket is again
        return socket.id

    def scoped(scopes: SecurityScopes, token: Any = Depends(HTTPBearer(auto_error=False))) -> list[str]:
        assert token is None
        return scopes.scopes

    @io.on("x")
    @inject
    async def handler(
        socket: Socket,
        tasks: BackgroundTasks,
        mine: str = Depends(who),
        scopes: list[str] = Security(scoped, scopes=["read"]),
    ) -> list[Any]:
        tasks.add_task(done.append, "later")
        return [mine == socket.id, scopes]

    async with madang.testing.connect(io) as client:
        assert await client.call("x") == [True, ["read"]]
    assert done == ["later"]


def test_what_cannot_be_injected():
    """A function that FastAPI cannot serve is refused when it is decorated, in words that say what to change."""
    with pytest.raises(HandlerError, match="must take the socket as its first parameter"):
        inject(lambda: None)
    with pytest.raises(HandlerError, match="there is no body"):

        @inject
        def body(socket: Socket, text: Annotated[str, fastapi.Body()]) -> None: ...

    def wrong(engine: madang.Engine) -> None: ...

    with pytest.raises(HandlerError, match="FastAPI cannot give its dependencies"):

        @inject
        def handler(socket: Socket, x: Any = Depends(wrong)) -> None: ...

    with pytest.raises(HandlerError, match="'x' is positional-only"):

        @inject
        def positional(socket: Socket, x: Any = Depends(current_user), /) -> None: ...


async def test_two_that_share_their_code():
    """Wrapped functions are told apart: each keeps its own arguments."""
    io = madang.Server()

    @io.on("none")
    @inject
    def none(socket: Socket) -> str:
        return "none"

    @io.on("two")
    @inject
    def two(socket: Socket, a: Any, b: Any) -> list[Any]:
        return [a, b]

    async with madang.testing.connect(io) as client:
        assert await client.call("none", 1, 2) == "none"
        assert await client.call("two", 1, 2) == [1, 2]


async def test_methods():
    """A method of an object has dependencies as a function has."""
    io = madang.Server()

    class Handlers:
        greeting = "hello"

        @inject
        async def on_greet(self, socket: Socket, name: str, end: str = Depends(lambda: "!")) -> str:
            return f"{self.greeting}, {name}{end}"

    io.add_handlers(Handlers())
    async with madang.testing.connect(io) as client:
        assert await client.call("greet", "Minji") == "hello, Minji!"
        assert (await client.call("greet", 3))["error"]["code"] == "invalid_arguments"


async def test_a_handler_of_one_socket():
    """A handler of `socket.on`, which does not get the socket, fails in words that say so."""
    io = madang.Server()

    @io.on("connection")
    def connected(socket: Socket) -> None:
        @socket.on("x")
        @inject
        def handler(given: str, end: str = Depends(lambda: "!")) -> str:
            return given + end

    async with madang.testing.connect(io) as client:
        await client.call("x", "text")
        assert "for handlers that get the socket, which those of socket.on do not" in str(client.failures[0].error)
        client.failures.clear()


async def test_current_socket_in_a_route():
    """In a route there is no socket, and the error says so."""
    with pytest.raises(RuntimeError, match="a route has no socket"):
        await current_socket(Request({"type": "http", "headers": []}))
