"""`ask`: the answers of many, one by one as they come; and who did not answer, however they were asked."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import madang
from madang.events.replies import PendingReplies
from madang.testing import ClientFactory, Clock, MemoryClient


async def voters(connect: ClientFactory, io: madang.Server, *votes: tuple[float, Any]) -> list[MemoryClient]:
    """Clients that answer ``vote``, each after its seconds with its value."""

    async def voter(after: float, value: Any) -> MemoryClient:
        client = await connect(io)

        @client.on("vote")
        async def vote(*question: object) -> Any:
            await asyncio.sleep(after)
            return value

        return client

    return [await voter(*vote) for vote in votes]


def waiting(io: madang.Server) -> int:
    """How many answers of clients are awaited."""
    return sum(len(socket._acks or ()) for socket in io.sockets.values())


@pytest.mark.feature("M6")
@pytest.mark.parametrize("by", ["server", "namespace", "room", "socket"])
async def test_answers_as_they_come(
    madang_client: ClientFactory, madang_clock: Clock, io: madang.Server, by: str
) -> None:
    """Each answer comes when its client gives it, with all its values and the socket's id; then it ends."""
    late, early = await voters(madang_client, io, (2, "late"), (1, ("early", "more")))
    asker = await madang_client(io)
    io.sockets[late.id].join("room")
    io.sockets[early.id].join("room")
    target: Any = {
        "server": io.except_(asker.id),
        "namespace": io.of("/").to("room"),
        "room": io.to("room"),
        "socket": io.sockets[asker.id].broadcast,
    }[by]
    replies = target.ask("vote", 1, timeout=5)
    assert (replies.missing, replies.missing_ids) == (2, {late.id, early.id})
    heard = [(reply.id, reply.value, reply.values, madang_clock.time()) async for reply in replies]
    assert heard == [
        (early.id, "early", ("early", "more"), pytest.approx(1)),
        (late.id, "late", ("late",), pytest.approx(2)),
    ]
    assert (replies.missing, replies.missing_ids, replies.counted) == (0, frozenset(), True)


@pytest.mark.feature("M6", "M9")
async def test_asking_everyone_or_nobody(madang_client: ClientFactory, io: madang.Server) -> None:
    """`io.ask` means everyone; asking nobody ends at once; the event leaves at the call, not when it is awaited."""
    (client,) = await voters(madang_client, io, (0, None))
    assert [reply async for reply in io.to("nobody").ask("vote")] == []
    replies = io.ask("vote", b"\x01")
    io.emit("after")
    await client.receive("after")
    assert client.received == [("vote", [b"\x01"]), ("after", [])]
    (reply,) = [reply async for reply in replies]
    assert (reply.value, reply.values) == (None, ())
    assert repr(reply) == f"<Reply () of {client.id}>"


@pytest.mark.feature("M7")
async def test_some_do_not_answer_in_time(madang_client: ClientFactory, madang_clock: Clock, io: madang.Server) -> None:
    """When the time is up it ends without an error, says who is missing, and waits for nobody any more."""
    one, slow, gone = await voters(madang_client, io, (0, "yes"), (60, "no"), (60, "no"))
    replies = io.ask("vote", timeout=3)
    slow_id, gone_id = slow.id, gone.id
    asyncio.get_running_loop().call_later(1, gone.disconnect)
    assert [(reply.id, reply.value) async for reply in replies] == [(one.id, "yes")]
    assert madang_clock.time() == pytest.approx(3)
    assert (replies.missing, replies.missing_ids) == (2, {slow_id, gone_id})
    assert waiting(io) == 0
    assert [reply async for reply in replies] == []


@pytest.mark.feature("M7")
async def test_partial_answers_in_one_call(
    madang_client: ClientFactory, madang_clock: Clock, io: madang.Server
) -> None:
    """Awaited, `ask` and `emit_with_ack(partial=True)` give what came and who is missing; the error has the same."""
    one, slow = await voters(madang_client, io, (0, "yes"), (60, "no"))
    replies = await io.ask("vote", timeout=1)
    assert (replies, replies.missing, replies.missing_ids) == (["yes"], 1, {slow.id})
    replies = await io.emit_with_ack("vote", timeout=1, partial=True)
    assert (replies, replies.missing, replies.missing_ids) == (["yes"], 1, {slow.id})
    with pytest.raises(madang.AckTimeout, match="1 of 2 clients did not answer") as error:
        await io.emit_with_ack("vote", timeout=1)
    assert (error.value.responses, error.value.missing, error.value.missing_ids) == (["yes"], 1, {slow.id})
    assert (await io.to(one.id).emit_with_ack("vote", partial=True)).missing == 0
    assert waiting(io) == 0


@pytest.mark.feature("M8")
async def test_no_time_limit_given(madang_client: ClientFactory, madang_clock: Clock, io: madang.Server) -> None:
    """Without a timeout it ends after five seconds; `timeout()` says otherwise."""
    await voters(madang_client, io, (60, "no"))
    assert (await io.ask("vote")).missing == 1
    assert madang_clock.time() == pytest.approx(5)
    assert (await io.timeout(2).ask("vote")).missing == 1
    assert madang_clock.time() == pytest.approx(7)


@pytest.mark.feature("M6", "G15")
@pytest.mark.parametrize("how", ["break", "close", "dropped", "cancelled"])
async def test_leaving_early(madang_client: ClientFactory, io: madang.Server, how: str) -> None:
    """Whoever stops listening leaves nothing behind, neither awaited answers nor streams; late answers are ignored."""
    hold = asyncio.Event()
    one, other = await voters(madang_client, io, (0, 1), (0, 2))
    other.off("vote")
    other.on("vote", hold.wait)
    if how == "break":
        async for reply in io.ask("vote", timeout=3600):
            assert reply.id == one.id
            break
    elif how == "close":
        replies = io.ask("vote", timeout=3600)
        await anext(replies)
        assert replies.missing_ids == {other.id}
        replies.close()
        handle = replies._pending._handle
        assert (replies.missing_ids, [reply async for reply in replies]) == ({other.id}, [])
    elif how == "dropped":
        io.ask("vote", timeout=3600)
    else:
        task = asyncio.ensure_future(anext(io.to(other.id).ask("vote", timeout=3600)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
    for _ in range(3):
        await asyncio.sleep(0)
    assert waiting(io) == 0
    assert how != "close" or handle.cancelled()
    gc.collect()
    kinds = (PendingReplies, madang.ReplyStream, madang.Reply)
    left = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    assert len(left) <= (2 if how == "close" else 1 if how == "break" else 0)
    hold.set()
    assert await io.to(one.id).emit_with_ack("vote") == [1]


@pytest.mark.feature("M6")
async def test_asking_wrongly(io: madang.Server) -> None:
    """A reserved name, a dynamic namespace and another thread are refused where the mistake is made."""
    with pytest.raises(madang.ReservedEventName):
        io.ask("connect")
    with pytest.raises(madang.OptionError, match="ask goes to one namespace"):
        io.of("/room/{id}").to("x").ask("vote")
    await (await io.start(port=0, host="127.0.0.1")).stop()
    with pytest.raises(madang.UsageError, match="ask waits in the event loop"):
        await asyncio.to_thread(io.ask, "vote")
