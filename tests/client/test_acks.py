"""Answers, with either server: to what the client asks, to what it is asked, in time, late, and never."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import madang
from madang import AckTimeout, SocketClosed, testing
from tests.client.tools import SOON, Heard, until

NEVER = 99


# ------------------------------------------------------------------------------------------------- the server answers


@pytest.mark.feature("W7")
async def test_answers_find_their_questions(make_client):
    """Questions are numbered from 0 for each namespace, and each gets its own answer."""
    client = await make_client.joined()
    chat = client.of("/chat")
    await chat.connected
    sent: list[str] = []
    client.manager.engine.on("packet_create", lambda encoded: sent.append(bytes(encoded.text).decode()))
    asked = [socket.emit_with_ack("echo", number) for number in range(3) for socket in (client, chat)]
    async with asyncio.timeout(SOON):
        assert await asyncio.gather(*asked) == [0, 0, 1, 1, 2, 2]
    assert sent == [f'4{prefix}{number}["echo",{number}]' for number in range(3) for prefix in ("2", "2/chat,")]


@pytest.mark.feature("W7")
async def test_a_question_is_sent_by_the_call(anyhow, backend):
    """`emit_with_ack` sends at once, before its result is awaited, and in order with `emit`."""
    client = await anyhow.joined()
    client.emit("a")
    answer = client.emit_with_ack("echo", "b")
    client.emit("c")
    assert [entry[1] for entry in await backend.heard(client.who, 4)] == ["connect", "a", "echo", "c"]
    assert await answer == "b"


@pytest.mark.feature("W8")
@pytest.mark.parametrize("how", ["keyword", "flag"])
async def test_no_answer_in_time(make_client, how):
    """Without an answer in time the question fails, and what comes later is ignored."""
    client = await make_client.joined()
    ask = client.timeout(0.01).emit_with_ack if how == "flag" else client.emit_with_ack
    with pytest.raises(AckTimeout):
        await ask("nth", NEVER, "x", **({} if how == "flag" else {"timeout": 0.01}))
    assert await client.timeout(SOON).emit_with_ack("echo", 1) == 1
    assert client._acks == {}


@pytest.mark.feature("W8")
async def test_a_late_answer_is_ignored(anyhow, backend):
    """An answer that comes after the time, or to no question at all, or for the second time, does no harm."""
    client = await anyhow.joined()
    with pytest.raises(AckTimeout):
        await client.emit_with_ack("nth", NEVER, "late", timeout=0.01)
    for answer in ('30["late"]', '377["unknown"]', "377[]"):
        await backend.raw(client.who, answer)
    assert await client.emit_with_ack("echo", 1) == 1


@pytest.mark.feature("W8", "W12")
async def test_a_timed_out_question_is_not_sent_later(anyhow, backend):
    """A question whose time is over before there is a connection is taken back from what waits."""
    client = anyhow(auto_connect=False)
    with pytest.raises(AckTimeout):
        await client.emit_with_ack("echo", "taken back", timeout=0.01)
    client.emit("kept")
    await client.connect()
    assert await client.emit_with_ack("echo", "asked") == "asked"
    assert (await backend.heard(client.who))[1:] == [["/", "kept"], ["/", "echo", "asked"]]


@pytest.mark.feature("W9")
async def test_the_time_for_all_answers(anyhow):
    """`ack_timeout` is the time that each answer has, unless one is given."""
    client = await anyhow.joined(ack_timeout=0.01)
    with pytest.raises(AckTimeout):
        await client.emit_with_ack("nth", NEVER, "x")
    assert await client.timeout(SOON).emit_with_ack("echo", 1) == 1


async def test_a_cancelled_question_leaves_nothing_behind(anyhow, backend):
    """Cancelling an awaited answer forgets it; one that has not left yet is taken back."""
    client = await anyhow.joined()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.emit_with_ack("nth", NEVER, "x")
    await until(lambda: client._acks == {})
    client.disconnect()
    client.emit_with_ack("echo", "taken back").cancel()
    await until(lambda: client.buffered == 0)
    await client.connect()
    assert await client.emit_with_ack("echo", 1) == 1
    assert [entry for entry in await backend.heard(client.who) if "taken back" in entry] == []


@pytest.mark.feature("W22")
async def test_a_lost_connection_fails_the_questions(make_client, backend):
    """Questions that were sent fail with the connection; the next ones are answered on the next."""
    client = await make_client.joined()
    answers = [client.emit_with_ack("nth", NEVER, "x"), client.emit_with_ack("nth", NEVER, "x", timeout=SOON)]
    await backend.heard(client.who, 3)
    await backend.cut(client.who)
    for answer in answers:
        with pytest.raises(SocketClosed):
            await answer
    assert client._acks == {}
    assert await client.emit_with_ack("echo", 1) == 1


@pytest.mark.feature("W22")
async def test_disconnecting_fails_the_questions(anyhow):
    """So does a disconnect, by the client as by the server."""
    client = await anyhow.joined()
    for end in (client.disconnect, lambda: client.emit("leave", False)):
        await client.connect()
        answer = client.emit_with_ack("nth", NEVER, "x")
        end()
        with pytest.raises(SocketClosed):
            await answer


@pytest.mark.feature("W23", "W12")
async def test_questions_that_wait_keep_their_answers(anyhow, backend):
    """A question asked while there is no connection is not failed by the end of one, but sent with the next."""
    client = await anyhow.joined()
    answers: list[asyncio.Future[Any]] = []
    client.on("disconnect", lambda reason: answers.append(client.emit_with_ack("echo", "kept")))
    await backend.cut(client.who)
    await until(lambda: answers)
    async with asyncio.timeout(SOON):
        assert await answers[0] == "kept"


async def test_ask_in_the_connect_handler(make_client):
    """A handler of ``connect`` may ask and wait for the answer."""
    client = make_client()
    heard = Heard()

    @client.on("connect")
    async def connected() -> None:
        heard(await client.emit_with_ack("echo", "from connect"))

    assert await heard.count(1) == [("from connect",)]


# ------------------------------------------------------------------------------------------------- the client answers


@pytest.mark.feature("W7")
@pytest.mark.parametrize(
    ("gives", "answer"),
    [
        (None, []),
        (1, [1]),
        ("둘", ["둘"]),
        ((1, "two"), [1, "two"]),
        ([1, 2], [[1, 2]]),
        (b"\x00\xff", [b"\x00\xff"]),
        (({"deep": b"x"}, None), [{"deep": b"x"}, None]),
    ],
    ids=repr,
)
async def test_what_a_handler_returns_is_the_answer(make_client, backend, gives, answer):
    """The server gets what the handler of its question returns: nothing, a value, or several."""
    client = await make_client.joined()
    client.on("question", lambda *args: gives)
    assert await backend.ask(client.who, "question", 1, b"2") == answer


@pytest.mark.feature("W7")
async def test_a_coroutine_answers(anyhow, backend):
    """A coroutine function's result is an answer too, and it may ask the server meanwhile."""
    client = await anyhow.joined()

    @client.on("question")
    async def question(number: int) -> int:
        return 1 + await client.emit_with_ack("echo", number)

    assert await backend.ask(client.who, "question", 1) == [2]


@pytest.mark.feature("W7")
async def test_an_answer_by_hand(anyhow, backend):
    """A handler with a parameter for it answers when it likes, once."""
    client = await anyhow.joined()

    @client.on("question")
    async def question(number: int, ack: madang.Ack) -> None:
        assert ack.wanted
        await asyncio.sleep(0)
        ack(number, "by hand")
        ack("again")

    assert await backend.ask(client.who, "question", 1) == [1, "by hand"]
    assert await backend.ask(client.who, "question", 2) == [2, "by hand"]


async def test_a_handler_that_fails_answers_with_an_error(anyhow, backend):
    """If the handler of a question raises, the server learns that, and not why; an EventError says why."""
    client = await anyhow.joined()
    failed = Heard()
    client.on_error(lambda error, socket, event: failed(str(error), event))

    @client.on("question")
    def question(kind: str) -> None:
        raise ValueError("secret") if kind == "bug" else madang.EventError("not now", code="busy")

    assert await backend.ask(client.who, "question", "bug") == [
        {"error": {"code": "internal_error", "message": "internal error"}}
    ]
    assert (await backend.ask(client.who, "question", "told"))[0]["error"]["code"] == "busy"
    assert failed.all[0] == ("secret", "question")


async def test_an_answer_after_the_connection(anyhow, backend):
    """An answer that is given when the connection has gone is dropped, and not sent on the next one."""
    client = await anyhow.joined()
    acks: list[madang.Ack] = []

    @client.on("question")
    def question(ack: madang.Ack) -> None:
        acks.append(ack)

    client.emit("please ask", "question")
    await until(lambda: acks)
    client.disconnect()
    acks[0]("too late")
    await client.connect()
    acks[0]("again")
    assert await client.emit_with_ack("echo", 1) == 1


# ------------------------------------------------------------------------------------------------------------ retries


@pytest.mark.feature("W10")
async def test_retries(make_client, backend):
    """An event without an answer is sent again until one comes; those behind it wait, so the order stays."""
    client = await make_client.joined(retries=3, ack_timeout=0.06)
    answer = client.emit_with_ack("nth", 3, client.who)
    client.emit("echo", "second")
    last = client.emit_with_ack("echo", "third")
    async with asyncio.timeout(SOON):
        assert (await answer, await last) == (3, "third")
    heard = [entry[1:] for entry in await backend.heard(client.who)]
    assert heard == [["connect"], *[["nth", 3, client.who]] * 3, ["echo", "second"], ["echo", "third"]]


@pytest.mark.feature("W10")
async def test_retries_come_to_an_end(anyhow, backend):
    """After `retries` more tries the question fails, and the next one has its turn."""
    client = await anyhow.joined(retries=2, ack_timeout=0.02)
    answer = client.emit_with_ack("nth", NEVER, client.who)
    after = client.timeout(SOON).emit_with_ack("echo", "after")
    with pytest.raises(AckTimeout):
        await answer
    assert await after == "after"
    assert [entry[1] for entry in await backend.heard(client.who)] == ["connect", "nth", "nth", "nth", "echo"]


@pytest.mark.feature("W10", "W7")
async def test_each_try_is_a_question_of_its_own(anyhow):
    """Each try has a number of its own, and so has each event; what is sent is one packet at a time."""
    client = await anyhow.joined(retries=2, ack_timeout=0.03)
    sent: list[bytes] = []
    assert client.manager.engine is not None
    client.manager.engine.on("packet_create", lambda encoded: sent.append(encoded.text))
    answers = [
        client.emit_with_ack("echo", 1),
        client.emit_with_ack("nth", NEVER, "k"),
        client.emit_with_ack("echo", 2),
    ]
    assert sent == [b'420["echo",1]']
    assert await answers[0] == 1
    with pytest.raises(AckTimeout):
        await answers[1]
    assert await answers[2] == 2
    nth = [f'42{number}["nth",{NEVER},"k"]'.encode() for number in (1, 2, 3)]
    assert sent == [b'420["echo",1]', *nth, b'424["echo",2]']


@pytest.mark.feature("W10", "W11")
async def test_what_the_connect_handler_emits_is_sent_once(anyhow, backend):
    """An event that is to be retried, emitted in the handler of ``connect``, is sent once, as is what waited for it."""
    client = anyhow(auto_connect=False, retries=3, ack_timeout=SOON)
    client.emit("echo", "before")
    client.on("connect", lambda: client.emit("echo", "in connect"))
    await client.connect()
    assert await client.emit_with_ack("echo", "last") == "last"
    heard = [entry[1:] for entry in await backend.heard(client.who)]
    assert heard == [["connect"], ["echo", "before"], ["echo", "in connect"], ["echo", "last"]]


@pytest.mark.feature("W10", "W14")
async def test_volatile_events_pass_the_queue(anyhow, backend):
    """A volatile event does not wait behind what is tried again."""
    client = await anyhow.joined(retries=1, ack_timeout=0.5)
    client.emit("nth", NEVER, client.who)
    client.emit("echo", "behind")
    await client.drained()
    client.volatile.emit("volatile")
    assert [entry[1] for entry in await backend.heard(client.who, 3)] == ["connect", "nth", "volatile"]


@pytest.mark.feature("W11", "W10")
async def test_the_queue_goes_on_with_the_next_connection(anyhow, backend):
    """What was not answered when the connection was lost is sent again at once on the next, in its place."""
    client = await anyhow.joined(retries=3, ack_timeout=SOON)
    answer = client.emit_with_ack("nth", 2, client.who)
    second = client.emit_with_ack("echo", "second")
    await backend.heard(client.who, 2)
    await backend.cut(client.who)
    async with asyncio.timeout(SOON):
        assert await answer == 2
        assert await second == "second"
    names = [entry[1] for entry in await backend.heard(client.who) if entry[1] != "disconnect"]
    assert names == ["connect", "nth", "connect", "nth", "echo"]


@pytest.mark.feature("W10", "W12")
async def test_the_queue_waits_for_the_connection(anyhow, backend):
    """Before there is a connection no try is counted."""
    client = anyhow(auto_connect=False, retries=1, ack_timeout=SOON)
    with testing.clock(over_io=True) as clock:
        answer = client.emit_with_ack("echo", 1)
        client.emit("echo", 2)
        await clock.advance(60 * SOON)
    assert not answer.done()
    await client.connect()
    assert await answer == 1
    await backend.heard(client.who, 3)
    assert [entry[1:] for entry in await backend.heard(client.who)] == [["connect"], ["echo", 1], ["echo", 2]]


@pytest.mark.feature("W10")
async def test_closing_fails_what_is_to_be_tried_again(anyhow):
    """When the client is closed, who waits for an answer of the queue learns so."""
    client = await anyhow.joined(retries=5, ack_timeout=SOON)
    answers = [client.emit_with_ack("nth", NEVER, client.who), client.emit_with_ack("echo", 1)]
    await client.close()
    for answer in answers:
        with pytest.raises(SocketClosed):
            await answer
