"""HTTP long-polling: polls, POSTs, JSONP and compression, to the byte."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest

from tests.conformance.told import Serving, polls
from tests.conformance.wire import AT_ONCE, DEADLINE, ENGINE, RS, Polling, address, browser, opened, tcp


class TestPolls:
    @pytest.mark.feature("D1")
    async def test_held_until_there_is_something(self, engine: Serving) -> None:
        """A poll waits for the first message, and is answered as plain text."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            poll = await client.hold()
            assert not poll.done()
            await client.send("4hi")
            response = await asyncio.wait_for(poll, AT_ONCE)
            assert (response.status_code, response.text) == (200, "4hi")
            assert response.headers["content-type"].lower() == "text/plain; charset=utf-8"
            assert response.headers["content-length"] == "3"

    @pytest.mark.feature("D1", "D3", "D16")
    async def test_all_that_waits_goes_at_once(self, engine: Serving) -> None:
        """What was queued between two polls goes in one body, in order, text and base64 mixed."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            await client.send("4one")
            await client.send("4!pair", "bAQID")
            await client.send("4넷")
            assert await client.packets() == ["4one", "4first", "bAQI=", "bAQID", "4넷"]

    @pytest.mark.feature("D4")
    async def test_second_poll(self, engine: Serving) -> None:
        """Two polls at once end the session as a transport error."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            first = await client.hold()
            second = await client.poll(AT_ONCE)
            assert (second.status_code, second.content) == (400, b"")
            assert (await first).text == "1"
            assert await server.ended() == ("transport error", "overlap from client")

    @pytest.mark.feature("D6")
    async def test_aborted_poll(self, engine: Serving) -> None:
        """A poll that the client drops ends the session as a transport error."""
        async with engine() as server, browser(server.url) as http, tcp(server.url) as raw:
            client = await Polling.open(http)
            await raw.write(f"GET {client.url()} HTTP/1.1", "Host: localhost")
            await client.settle()
            await raw.cut()
            assert await server.ended() == ("transport error", "poll connection closed prematurely")
            await client.gone()

    @pytest.mark.feature("D11")
    async def test_server_closes_with_a_poll_open(self, engine: Serving) -> None:
        """An open poll ends with the close packet."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            poll = await client.hold()
            await client.send("4!close")
            assert (await asyncio.wait_for(poll, AT_ONCE)).text == "1"
            assert (await server.ended())[0] == "forced close"
            await client.gone()

    @pytest.mark.feature("D11")
    async def test_server_closes_with_no_poll_open(self, engine: Serving) -> None:
        """With no poll open, the next one brings what was queued, the one after it a noop and the close packet."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            await client.send("4!bye farewell")
            assert await client.packets(AT_ONCE) == ["4farewell"]
            assert await client.packets(AT_ONCE) == ["6", "1"]
            await client.gone()

    @pytest.mark.feature("D12")
    async def test_client_closes(self, engine: Serving) -> None:
        """The client's close packet ends the session as a transport close; what follows it in the POST is not heard."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            poll = await client.hold()
            await client.send("1", "4too late")
            assert (await asyncio.wait_for(poll, AT_ONCE)).text == "6"
            assert await server.ended() == ("transport close", "")
            await client.gone()

    @pytest.mark.feature("D12")
    async def test_client_closes_without_a_poll(self, engine: Serving) -> None:
        """The client may close with no poll open."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            await client.send("1")
            assert await server.ended() == ("transport close", "")
            await client.gone()

    @pytest.mark.feature("D15")
    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    async def test_other_methods(self, engine: Serving, method: str) -> None:
        """A session's URL knows GET and POST only; anything else is an error and does the session no harm."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            assert (await http.request(method, client.url())).status_code in (400, 405, 500)
            await polls(client)


class TestPosts:
    @pytest.mark.feature("D2")
    async def test_answer(self, engine: Serving) -> None:
        """A POST is answered ``ok``, as HTML so that no old browser offers a download."""
        async with engine() as server, browser(server.url) as http:
            response = await (await Polling.open(http)).post("4hi")
            assert (response.status_code, response.text) == (200, "ok")
            assert response.headers["content-type"] == "text/html"
            assert response.headers["content-length"] == "2"

    @pytest.mark.feature("D5")
    async def test_second_post(self, engine: Serving) -> None:
        """Two POSTs at once end the session, and both are answered or cut."""
        async with engine() as server, browser(server.url) as http, tcp(server.url) as raw:
            client = await Polling.open(http)
            await raw.write(f"POST {client.url()} HTTP/1.1", "Host: localhost", "Content-Length: 10", body=b"4hal")
            await client.settle()
            second = await client.post("4hi")
            assert (second.status_code, second.content) == (400, b"")
            assert await server.ended() == ("transport error", "data request overlap from client")
            await client.gone()
            await raw.more(b"f done")
            assert b"200" not in (await asyncio.wait_for(raw.reader.read(64), DEADLINE)).split(b"\r\n")[0]

    @pytest.mark.feature("D6")
    async def test_dropped_post(self, engine: Serving) -> None:
        """A POST that ends in the middle of its body ends the session as a transport error."""
        async with engine() as server, browser(server.url) as http, tcp(server.url) as raw:
            client = await Polling.open(http)
            await raw.write(f"POST {client.url()} HTTP/1.1", "Host: localhost", "Content-Length: 10", body=b"4hal")
            await client.settle()
            await raw.cut()
            assert await server.ended() == ("transport error", "data request connection closed prematurely")
            await client.gone()

    @pytest.mark.feature("D7", "A10")
    @pytest.mark.parametrize("body", ["4" + "x" * 100, "4" + "é" * 50], ids=["letters", "bytes count, not characters"])
    async def test_too_large(self, engine: Serving, body: str) -> None:
        """A body one byte over the limit gets an empty 413; the session lives, and a body of just the limit passes."""
        async with engine(max_http_buffer_size=100) as server, browser(server.url) as http:
            client = await Polling.open(http)
            refused = await client.post(body)
            assert (refused.status_code, refused.content) == (413, b"")
            await client.send("4" + "x" * 99)
            assert await client.packets() == ["4" + "x" * 99]
            await polls(client)

    @pytest.mark.feature("D7", "A10", "B12")
    async def test_too_large_while_it_arrives(self, engine: Serving) -> None:
        """A chunked body is counted as it comes: the 413 is there before the body has ended."""
        async with engine(max_http_buffer_size=100) as server, browser(server.url) as http, tcp(server.url) as raw:
            client = await Polling.open(http)
            chunk = b"28\r\n" + b"4" * 40 + b"\r\n"
            await raw.write(
                f"POST {client.url()} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", body=chunk
            )
            await client.settle()
            await raw.more(chunk)
            await raw.more(chunk)
            status, _, body = await raw.answer(AT_ONCE)
            assert (status, body) == (413, b"")
            await polls(client)

    @pytest.mark.feature("B12", "D2")
    async def test_chunked_body(self, engine: Serving) -> None:
        """A body without a length is read to its end."""
        async with engine() as server, browser(server.url) as http, tcp(server.url) as raw:
            client = await Polling.open(http)
            body = b"3\r\n4ch\r\n5\r\nunked\r\n0\r\n\r\n"
            await raw.write(f"POST {client.url()} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", body=body)
            status, _, answer = await raw.answer()
            assert (status, answer) == (200, b"ok")
            assert await client.packets() == ["4chunked"]

    @pytest.mark.feature("D8")
    async def test_octet_stream(self, engine: Serving) -> None:
        """A binary body has no meaning in protocol 4: 400, and the session is gone."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            response = await client.post(b"4hi", headers={"content-type": "application/octet-stream"})
            assert (response.status_code, response.content) == (400, b"")
            assert await server.ended() == ("transport error", "invalid content")
            await client.gone()

    @pytest.mark.feature("D13")
    async def test_many_packets(self, engine: Serving) -> None:
        """Five hundred packets in one POST all arrive, in order."""
        packets = [f"4{number}" for number in range(500)]
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            await client.send(*packets)
            assert await client.packets() == packets

    @pytest.mark.feature("D14", "G12")
    @pytest.mark.parametrize("body", [b"abc", b"", b"7", b"9x", b"\x1e", b"4ok\x1e", b"4\xff\xfe"])
    async def test_undecodable(self, engine: Serving, body: bytes) -> None:
        """What is no payload gets 400 and ends the session as a parse error."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            assert (await client.post(body)).status_code == 400
            assert (await server.ended())[0] == "parse error"
            await client.gone()

    @pytest.mark.feature("D14", "D17")
    async def test_decoding_stops_at_the_first_bad_packet(self, engine: Serving) -> None:
        """What precedes a bad packet has been received, what follows it has not."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            poll = await client.hold()
            assert (await client.post("4before\x1exyz\x1e4after")).status_code == 400
            response = await asyncio.wait_for(poll, AT_ONCE)
            assert response.text.split(RS) == ["4before", "1"]
            assert (await server.ended())[0] == "parse error"
            await client.gone()


class TestJsonp:
    @pytest.mark.feature("D9")
    async def test_answers_are_calls(self, engine: Serving) -> None:
        """With ``j`` an answer is the call of a numbered function."""
        async with engine() as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling", j="3"))
            assert response.text.startswith("___eio[3](")
            assert response.text.endswith(");")
            client = Polling(http, opened(json.loads(response.text[len("___eio[3](") : -2]))["sid"])
            await self.submit(client, "4hi")
            assert (await client.poll(j="3")).text == '___eio[3]("4hi");'

    @pytest.mark.feature("D9")
    async def test_number_is_only_digits(self, engine: Serving) -> None:
        """Nothing but digits gets from the query into the script."""
        async with engine() as server, browser(server.url) as http:
            response = await http.get(address(ENGINE, "polling", j="1];alert(2);//"))
            assert response.text.startswith('___eio[12]("0{')

    @pytest.mark.feature("D9")
    async def test_line_separators_are_escaped(self, engine: Serving) -> None:
        """The two characters that end a line in old JavaScript are escaped, as are quotes."""
        async with engine() as server, browser(server.url) as http:
            opening = await http.get(address(ENGINE, "polling", j="0"))
            client = Polling(http, opened(json.loads(opening.text[len("___eio[0](") : -2]))["sid"])
            await self.submit(client, '4a\u2028b\u2029c"d')
            assert (await client.poll(j="0")).text == '___eio[0]("4a\\u2028b\\u2029c\\"d");'

    @pytest.mark.feature("D9")
    @pytest.mark.parametrize(
        ("field", "message"),
        [("4plain", "4plain"), ("4a\\nb", "4a\nb"), ("4a\\\\nb", "4a\\nb"), ("4한 & more=1", "4한 & more=1")],
    )
    async def test_form(self, engine: Serving, field: str, message: str) -> None:
        """A POST is a form whose field ``d`` is the payload, with its doubled newlines undone."""
        async with engine() as server, browser(server.url) as http:
            opening = await http.get(address(ENGINE, "polling", j="0"))
            client = Polling(http, opened(json.loads(opening.text[len("___eio[0](") : -2]))["sid"])
            await self.submit(client, field)
            call = (await client.poll(j="0")).text
            assert json.loads(call[len("___eio[0](") : -2]) == message

    @staticmethod
    async def submit(client: Polling, field: str) -> None:
        form = {"content-type": "application/x-www-form-urlencoded"}
        response = await client.post("d=" + quote(field), headers=form, j="0")
        assert (response.status_code, response.text) == (200, "ok")


class TestCompression:
    @pytest.mark.feature("D10", "A13")
    @pytest.mark.parametrize(
        ("accepted", "encoding"),
        [
            ("gzip", "gzip"),
            ("deflate", "deflate"),
            ("gzip, deflate, br", "gzip"),
            ("deflate, gzip", "deflate"),
            ("gzip;q=0.2, deflate;q=0.8", "deflate"),
            ("gzip;q=0, deflate", "deflate"),
            ("*", "gzip"),
            ("br", None),
            ("identity", None),
            ("gzip;q=0", None),
            ("", None),
        ],
    )
    async def test_by_what_the_client_accepts(self, engine: Serving, accepted: str, encoding: str | None) -> None:
        """From 1024 bytes on a poll's answer is compressed with what the client likes best."""
        async with engine() as server, browser(server.url, headers={"accept-encoding": accepted}) as http:
            client = await Polling.open(http)
            await client.send("4!fill 1023")
            response = await client.poll()
            assert response.headers.get("content-encoding") == encoding
            assert response.text == "4" + "x" * 1023

    @pytest.mark.feature("D10", "A13")
    async def test_not_below_the_threshold(self, engine: Serving) -> None:
        """One byte less is sent as it is."""
        async with engine() as server, browser(server.url, headers={"accept-encoding": "gzip"}) as http:
            client = await Polling.open(http)
            await client.send("4!fill 1022")
            response = await client.poll()
            assert "content-encoding" not in response.headers
            assert response.headers["content-length"] == "1023"

    @pytest.mark.feature("D10", "N10")
    async def test_not_if_no_packet_asks(self, engine: Serving) -> None:
        """A message sent without compression is not compressed, unless it shares its answer with one that is."""
        async with engine() as server, browser(server.url, headers={"accept-encoding": "gzip"}) as http:
            client = await Polling.open(http)
            await client.send("4!plain 2000")
            assert "content-encoding" not in (await client.poll()).headers
            await client.send("4!plain 2000", "4small")
            assert (await client.poll()).headers["content-encoding"] == "gzip"

    @pytest.mark.feature("A13")
    async def test_off(self, engine: Serving) -> None:
        """Compression can be turned off."""
        async with (
            engine(http_compression=False) as server,
            browser(server.url, headers={"accept-encoding": "gzip"}) as http,
        ):
            client = await Polling.open(http)
            await client.send("4!fill 2000")
            assert "content-encoding" not in (await client.poll()).headers
