# pyright: strict
"""Types follow modifiers: they stay with timeout, rooms, volatile and compress; many clients give a list."""

from typing import assert_type

import madang

VOTE = madang.ServerEvent[[str], bool]("vote")
NEWS = madang.ServerEvent[[str, int], None]("news")

io = madang.Server()


async def many(socket: madang.Socket) -> None:
    assert_type(await io.emit_with_ack(VOTE, "now?"), madang.Replies[bool])
    assert_type(await io.timeout(3).emit_with_ack(VOTE, "now?"), madang.Replies[bool])
    assert_type(await io.to("room").emit_with_ack(VOTE, "now?", timeout=3), madang.Replies[bool])
    assert_type(await io.to("room").emit_with_ack(VOTE, "now?", partial=True), madang.Replies[bool])
    assert_type(await io.in_("a").except_("b").local.volatile.emit_with_ack(VOTE, "now?"), madang.Replies[bool])
    assert_type(await socket.broadcast.timeout(3).emit_with_ack(VOTE, "now?"), madang.Replies[bool])
    assert_type(await socket.to("room").compress(False).emit_with_ack(VOTE, "now?"), madang.Replies[bool])
    answers: list[bool] = await io.emit_with_ack(VOTE, "now?")
    missing = (await io.emit_with_ack(VOTE, "now?", timeout=3, partial=True)).missing_ids
    assert_type(missing, frozenset[str])
    await io.emit_with_ack(VOTE, 3)  # error
    await io.to("room").emit_with_ack(VOTE, 3, timeout=3)  # error
    await io.to("room").emit_with_ack(VOTE, "now?", partial=3)  # error
    print(answers)


async def one_by_one(socket: madang.Socket) -> None:
    async for reply in io.to("room").ask(VOTE, "now?", timeout=3):
        assert_type(reply, madang.Reply[bool])
        assert_type(reply.value, bool)
        assert_type(reply.id, str | None)
    assert_type(io.of("/n").ask(VOTE, "now?"), madang.ReplyStream[bool])
    assert_type(await socket.broadcast.ask(VOTE, "now?"), madang.Replies[bool])
    io.ask(VOTE, 3)  # error
    io.ask(VOTE, 3, timeout=3)  # error


async def one(socket: madang.Socket) -> None:
    assert_type(await socket.timeout(3).emit_with_ack(VOTE, "now?"), bool)
    assert_type(await socket.volatile.compress(True).emit_with_ack(VOTE, "now?"), bool)
    for found in await io.fetch_sockets():
        assert_type(await found.emit_with_ack(VOTE, "now?"), bool)
        assert_type(await found.emit_with_ack(VOTE, "now?", timeout=3), bool)
        found.emit(NEWS, "x", 1)
        found.emit(NEWS, "x")  # error
    await socket.timeout(3).emit_with_ack(VOTE, 3)  # error


def send(socket: madang.Socket) -> None:
    io.to("room").emit(NEWS, "x", 1)
    io.to("room").volatile.emit(NEWS, "x", 1)
    io.except_("room").emit(NEWS, 1, "x")  # error
    io.local.compress(False).emit(NEWS, "x")  # error
    socket.broadcast.emit(NEWS, "x", 1)
    socket.broadcast.emit(NEWS, "x")  # error
    socket.to("room").emit(NEWS, "x")  # error
    socket.volatile.emit(NEWS, "x")  # error
    socket.to("room").emit("news", "anything", "goes")
