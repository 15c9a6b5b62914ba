"""Who is let in and what the answers' headers say: CORS, origins, cookies, refusals and their bodies."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from madang.engine import Engine, Request
from tests.conformance.told import Serving, echoes, polls
from tests.conformance.wire import (
    ENGINE,
    Polling,
    address,
    browser,
    opened,
    refusal,
    refused_upgrade,
    session,
    tcp,
    websocket,
)

FRIEND = "http://friend.example"
STRANGER = "http://stranger.example"


def add_headers(server: Engine) -> None:
    @server.on("initial_headers")
    def first(headers: list[tuple[str, str]], _: Request) -> None:
        headers.append(("x-first", "yes"))

    @server.on("headers")
    def each(headers: list[tuple[str, str]], _: Request) -> None:
        headers.append(("x-each", "yes"))


def varies(response: httpx.Response) -> set[str]:
    return {name.strip().lower() for name in response.headers.get("vary", "").split(",")} - {""}


class TestCors:
    @pytest.mark.feature("C1")
    @pytest.mark.parametrize(
        "origin",
        [
            FRIEND,
            ["http://other.example", FRIEND],
            re.compile(r"friend\.example$"),
            True,
            lambda origin: origin == FRIEND,
        ],
        ids=["text", "list", "pattern", "anyone", "function"],
    )
    async def test_allowed_origin(self, engine: Serving, origin: Any) -> None:
        """An origin that the option allows, in whatever form, is named in the answers to it."""
        async with engine(cors={"origin": origin}) as server, browser(server.url, headers={"origin": FRIEND}) as http:
            response = await http.get(address(ENGINE, "polling"))
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == FRIEND
            assert "origin" in varies(response)
            client = Polling(http, opened(response.text)["sid"])
            posted = await client.post("4hi")
            assert posted.headers["access-control-allow-origin"] == FRIEND
            assert (await client.poll()).headers["access-control-allow-origin"] == FRIEND

    @pytest.mark.feature("C1")
    async def test_any_origin(self, engine: Serving) -> None:
        """A star is answered with a star, and without credentials."""
        async with engine(cors={"origin": "*"}) as server, browser(server.url, headers={"origin": STRANGER}) as http:
            response = await http.get(address(ENGINE, "polling"))
            assert response.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in response.headers

    @pytest.mark.feature("C1", "C11")
    async def test_errors_can_be_read(self, engine: Serving) -> None:
        """A page from an allowed origin can read refusals too, of whatever kind."""
        async with (
            engine(cors={"origin": FRIEND}, max_http_buffer_size=10) as server,
            browser(server.url, headers={"origin": FRIEND}) as http,
        ):
            client = await Polling.open(http)
            answers = [
                await http.get(address(ENGINE, "polling", sid="nobody")),
                await http.get(address(ENGINE, "polling", eio="3")),
                await client.post("4" + "x" * 20),
                await client.post("garbage"),
            ]
            assert [answer.status_code for answer in answers] == [400, 400, 413, 400]
            assert [answer.headers.get("access-control-allow-origin") for answer in answers] == [FRIEND] * 4

    @pytest.mark.feature("C1")
    async def test_nothing_without_the_option(self, engine: Serving) -> None:
        """Without the option no answer has a CORS header."""
        async with engine() as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling"))
            assert response.status_code == 200
            assert not [name for name in response.headers if name.startswith("access-control")]

    @pytest.mark.feature("C2")
    async def test_preflight(self, engine: Serving) -> None:
        """A preflight request is answered 204 with the default methods and the headers that were asked for."""
        asked = {
            "origin": FRIEND,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-token,content-type",
        }
        async with engine(cors={"origin": [FRIEND]}) as server, browser(server.url) as http:
            response = await http.options(address(ENGINE, "polling"), headers=asked)
            assert (response.status_code, response.content) == (204, b"")
            assert response.headers["access-control-allow-origin"] == FRIEND
            assert response.headers["access-control-allow-methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
            assert response.headers["access-control-allow-headers"] == "x-token,content-type"
            assert varies(response) == {"origin", "access-control-request-headers"}

    @pytest.mark.feature("C2")
    async def test_options_without_the_option(self, engine: Serving) -> None:
        """Without the option an OPTIONS request is a bad handshake method."""
        async with engine() as server, browser(server.url) as http:
            assert refusal(await http.options(address(ENGINE, "polling"))) == (400, 2)

    @pytest.mark.feature("C3")
    async def test_all_settings(self, engine: Serving) -> None:
        """Methods, credentials, allowed and exposed headers, age and status of the preflight are as they are set."""
        cors = {
            "origin": [FRIEND],
            "methods": ["GET", "POST"],
            "credentials": True,
            "allowed_headers": ["x-token"],
            "exposed_headers": ["x-trace", "x-span"],
            "max_age": 600,
            "options_success_status": 200,
        }
        asked = {"origin": FRIEND, "access-control-request-method": "POST"}
        async with engine(cors=cors) as server, browser(server.url) as http:
            response = await http.options(address(ENGINE, "polling"), headers=asked)
            assert response.status_code == 200
            assert response.headers["access-control-allow-methods"] == "GET,POST"
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers["access-control-allow-headers"] == "x-token"
            assert response.headers["access-control-max-age"] == "600"
            opening = await http.get(address(ENGINE, "polling"), headers={"origin": FRIEND})
            assert opening.headers["access-control-allow-credentials"] == "true"
            assert opening.headers["access-control-expose-headers"] == "x-trace,x-span"


class TestOrigin:
    @pytest.mark.feature("C4", "C9")
    @pytest.mark.parametrize("origin", [STRANGER, "null", "http://127.0.0.1:1", "http://127.0.0.1.stranger.example"])
    async def test_foreign_origin(self, engine: Serving, origin: str) -> None:
        """A foreign origin is refused with error 4, on HTTP and on WebSocket, and the server hears of it."""
        async with engine() as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling"), headers={"origin": origin})
            assert refusal(response) == (403, 4)
            assert "access-control-allow-origin" not in response.headers
            answer = await refused_upgrade(
                server.url, address(ENGINE, "websocket"), additional_headers={"origin": origin}
            )
            assert answer.status_code in (400, 403)
            assert [event.split(" ")[0] for event in server.events] == ["4", "4"]

    @pytest.mark.feature("C4", "C1")
    async def test_origin_that_is_not_listed(self, engine: Serving) -> None:
        """Naming one origin lets no other in."""
        async with engine(cors={"origin": FRIEND}) as server, browser(server.url) as http:
            assert refusal(await http.get(address(ENGINE, "polling"), headers={"origin": STRANGER})) == (403, 4)
            target = address(ENGINE, "websocket")
            answer = await refused_upgrade(server.url, target, additional_headers={"origin": STRANGER})
            assert answer.status_code in (400, 403)
            async with session(server.url, additional_headers={"origin": FRIEND}) as ws:
                await echoes(ws)

    @pytest.mark.feature("C4")
    async def test_foreign_request_of_a_session(self, engine: Serving) -> None:
        """Also a request that knows the session's id is refused from a foreign origin, and does the session no harm."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            foreign = {"origin": STRANGER}
            assert refusal(await http.get(client.url(), headers=foreign)) == (403, 4)
            assert refusal(await client.post("4hi", headers=foreign)) == (403, 4)
            target = address(ENGINE, "websocket", client.sid)
            assert (await refused_upgrade(server.url, target, additional_headers=foreign)).status_code in (400, 403)
            await polls(client)

    @pytest.mark.feature("C4")
    async def test_same_origin(self, engine: Serving) -> None:
        """A page served by the same host and port is let in, without any option."""
        async with engine() as server, browser(server.url, headers={"origin": server.url}) as http:
            await polls(await Polling.open(http))
            async with session(server.url, additional_headers={"origin": server.url}) as ws:
                await echoes(ws)

    @pytest.mark.feature("C10")
    async def test_bytes_that_no_header_may_have(self, engine: Serving) -> None:
        """An Origin with a control byte in it is refused with 400."""
        async with engine() as server, tcp(server.url) as raw:
            await raw.write(f"GET {address(ENGINE, 'polling')} HTTP/1.1", "Host: localhost", "Origin: http://a\x7fb")
            status, _, _ = await raw.answer()
            assert status == 400


class TestHeaders:
    @pytest.mark.feature("C7", "C8")
    async def test_on_polling(self, engine: Serving) -> None:
        """Listeners may add headers to the first answer of a session, or to all of them."""
        async with engine(add_headers) as server, browser(server.url) as http:
            opening = await http.get(address(ENGINE, "polling"))
            client = Polling(http, opened(opening.text)["sid"])
            answers = [opening, await client.post("4hi"), await client.poll()]
            assert [answer.headers.get("x-first") for answer in answers] == ["yes", None, None]
            assert [answer.headers.get("x-each") for answer in answers] == ["yes"] * 3

    @pytest.mark.feature("C7", "C8")
    async def test_on_websocket(self, engine: Serving) -> None:
        """On WebSocket the answer is the 101; to an upgrade it is not the session's first."""
        async with engine(add_headers) as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url) as fresh, websocket(server.url, sid=client.sid) as upgrading:
                answers = [fresh.connection.response, upgrading.connection.response]
            assert [answer and answer.headers.get("x-first") for answer in answers] == ["yes", None]
            assert [answer and answer.headers.get("x-each") for answer in answers] == ["yes", "yes"]


class TestCookie:
    @pytest.mark.feature("C5")
    async def test_polling(self, engine: Serving) -> None:
        """The cookie holds the session id and comes with the handshake alone."""
        async with engine(cookie=True) as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling"))
            client = Polling(http, opened(response.text)["sid"])
            assert response.headers["set-cookie"] == f"io={client.sid}; Path=/; HttpOnly; SameSite=Lax"
            assert "set-cookie" not in (await client.post("4hi")).headers
            assert "set-cookie" not in (await client.poll()).headers

    @pytest.mark.feature("C5")
    async def test_own_name(self, engine: Serving) -> None:
        """The cookie's name can be chosen, and the rest of it stays."""
        async with engine(cookie={"name": "sticky"}) as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling"))
            sid = opened(response.text)["sid"]
            assert response.headers["set-cookie"] == f"sticky={sid}; Path=/; HttpOnly; SameSite=Lax"

    @pytest.mark.feature("C5", "D9")
    async def test_jsonp(self, engine: Serving) -> None:
        """A JSONP handshake gets the cookie as well."""
        async with engine(cookie=True) as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling", j="0"))
            assert response.headers["set-cookie"].startswith("io=")

    @pytest.mark.feature("C5")
    async def test_websocket(self, engine: Serving) -> None:
        """A WebSocket handshake gets no cookie."""
        async with engine(cookie=True) as server, session(server.url) as ws:
            assert ws.connection.response is not None
            assert "set-cookie" not in ws.connection.response.headers

    @pytest.mark.feature("C5")
    async def test_off(self, engine: Serving) -> None:
        """No cookie is set unless one is asked for."""
        async with engine() as server, browser(server.url) as http:
            assert "set-cookie" not in (await http.get(address(ENGINE, "polling"))).headers


class TestGate:
    @pytest.mark.feature("C6", "C9", "C11")
    async def test_refused_by_the_application(self, engine: Serving) -> None:
        """A handshake that ``allow_request`` refuses gets error 4; requests of a session are not asked about again."""
        asked: list[str] = []

        def allow(request: Any) -> bool:
            asked.append(request.query["transport"])
            return bool(request.query.get("token") == "good")

        async with engine(allow_request=allow) as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling"))
            assert refusal(response) == (403, 4)
            assert response.json()["message"] == "Forbidden"
            assert (await refused_upgrade(server.url, address(ENGINE, "websocket"))).status_code in (400, 403)
            assert asked == ["polling", "websocket"]
            await polls(await Polling.open(http, token="good"))
            assert asked == ["polling", "websocket", "polling"]

    @pytest.mark.feature("K1", "K2", "C9")
    async def test_middleware(self, engine: Serving) -> None:
        """A middleware sees every request; one that raises refuses it with error 3, and a session lives on."""
        seen: list[str] = []

        def prepare(server: Engine) -> None:
            @server.use
            async def look(request: Request) -> None:
                seen.append(request.method)
                if "x-bad" in request.headers:
                    raise PermissionError("not you")

        async with engine(prepare) as server, browser(server.url) as http:
            client = await Polling.open(http)
            assert refusal(await http.get(client.url(), headers={"x-bad": "1"})) == (400, 3)
            target = address(ENGINE, "websocket", client.sid)
            assert (await refused_upgrade(server.url, target, additional_headers={"x-bad": "1"})).status_code == 400
            await polls(client)
            assert seen == ["GET", "GET", "GET", "POST", "GET"]
            assert server.events == ["3 Bad request MIDDLEWARE_FAILURE"] * 2

    @pytest.mark.feature("A22", "C9")
    async def test_own_session_ids(self, engine: Serving) -> None:
        """A generator of session ids may be a coroutine function; if it fails the handshake does, with error 3."""

        async def generate(request: Request) -> str:
            return request.query["wanted"]  # a KeyError if it is missing

        async with engine(generate_id=generate) as server, browser(server.url) as http:
            assert (await Polling.open(http, wanted="mine")).sid == "mine"
            assert refusal(await http.get(address(ENGINE, "polling"))) == (400, 3)
            assert (await refused_upgrade(server.url, address(ENGINE, "websocket"))).status_code == 400
            assert server.events == ["3 Bad request ID_GENERATION_ERROR"] * 2

    @pytest.mark.feature("A22")
    @pytest.mark.parametrize("wanted", ["mine", "", "a b", 'a"b', 7, None])
    async def test_unusable_session_ids(self, engine: Serving, wanted: Any) -> None:
        """A chosen id that is no safe text, or that a session has, refuses the handshake; the session stays."""
        chosen: list[Any] = ["mine", wanted, wanted]

        async with engine(generate_id=lambda request: chosen.pop(0)) as server, browser(server.url) as http:
            client = await Polling.open(http)
            assert refusal(await http.get(address(ENGINE, "polling"))) == (400, 3)
            assert (await refused_upgrade(server.url, address(ENGINE, "websocket"))).status_code == 400
            assert server.events == ["3 Bad request ID_GENERATION_ERROR"] * 2
            await polls(client)

    @pytest.mark.feature("C9")
    async def test_the_server_hears_of_refusals(self, engine: Serving) -> None:
        """Each refused request is told to the server with code, message and, where several are possible, its cause."""
        async with engine() as server, browser(server.url) as http:
            await http.get(address(ENGINE, "abc"))
            await http.get(address(ENGINE, "polling", sid="nobody"))
            await http.post(address(ENGINE, "polling"))
            await http.get(address(ENGINE, "websocket"))
            await http.get(address(ENGINE, "polling", eio="3"))
            await refused_upgrade(server.url, address(ENGINE, "websocket", sid="nobody"))
            assert server.events == [
                "0 Transport unknown",
                "1 Session ID unknown",
                "2 Bad handshake method",
                "3 Bad request TRANSPORT_HANDSHAKE_ERROR",
                "5 Unsupported protocol version",
                "1 Session ID unknown",
            ]

    @pytest.mark.feature("C11")
    @pytest.mark.parametrize(
        ("target", "code", "message"),
        [
            (address(ENGINE, "abc"), 0, "Transport unknown"),
            (address(ENGINE, "polling", sid="nobody"), 1, "Session ID unknown"),
            (address(ENGINE, "websocket"), 3, "Bad request"),
            (address(ENGINE, "polling", eio="3"), 5, "Unsupported protocol version"),
        ],
    )
    async def test_error_body(self, engine: Serving, target: str, code: int, message: str) -> None:
        """An error is compact JSON of code and message, the code a number."""
        async with engine() as server, browser(server.url) as http:
            response = await http.get(target)
            assert response.status_code == 400
            assert response.headers["content-type"] == "application/json"
            assert response.text == f'{{"code":{code},"message":"{message}"}}'

    @pytest.mark.feature("C12")
    async def test_fixed_headers(self, engine: Serving) -> None:
        """Nothing may be cached; old Internet Explorers are told to leave the text alone."""
        old = {"user-agent": "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko"}
        async with engine() as server, browser(server.url) as http:
            opening = await http.get(address(ENGINE, "polling"))
            client = Polling(http, opened(opening.text)["sid"])
            for response in (opening, await client.post("4hi"), await client.poll()):
                assert response.headers["cache-control"] == "no-store"
                assert "x-xss-protection" not in response.headers
            assert (await http.get(address(ENGINE, "polling"), headers=old)).headers["x-xss-protection"] == "0"
