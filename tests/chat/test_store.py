"""The database of the chat: what is kept, for how long, and what a second try does."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from examples.chat.events import User
from examples.chat.store import DEFAULT_ROOMS, Store, TooManyRooms

MINJI = User("u_1", "민지")
JUN = User("u_2", "Jun")


@pytest.fixture
async def store(tmp_path):
    store = Store(tmp_path / "chat.db", keep_messages=5, keep_notifications=3, max_rooms=6)
    await store.open()
    yield store
    await store.close()


async def say(store, *texts, room="madang", user=MINJI):
    return [(await store.add_message(room, user, text, f"{user.id} {text}"))[0] for text in texts]


async def texts(store, room="madang", **between):
    return [message.text for message in (await store.history(room, **between)).messages]


async def test_a_new_house_has_its_first_rooms(store):
    """A new database has the first rooms, in their order."""
    assert [room.id for room in await store.rooms()] == list(DEFAULT_ROOMS)


async def test_a_message_is_kept_with_its_time(store):
    """A message comes back as it was said, by whom and when, to the millisecond."""
    before = datetime.now(UTC)
    [said] = await say(store, "안녕\n하세요")
    assert (said.room, said.user, said.text) == ("madang", MINJI, "안녕\n하세요")
    assert before - timedelta(milliseconds=1) <= said.at <= datetime.now(UTC)
    assert (await store.history("madang")).messages == [said]


async def test_rooms_do_not_mix(store):
    """A room's history has only what was said there."""
    await say(store, "here")
    await say(store, "there", room="bueok")
    assert await texts(store) == ["here"]


async def test_what_was_missed_is_after_what_is_known(store):
    """After an id come only newer messages, in order."""
    known, *_ = await say(store, "a", "b", "c")
    assert await texts(store, after=known.id) == ["b", "c"]


async def test_earlier_messages_come_in_pages(store):
    """The newest of a room come first, and each page says whether there are earlier ones."""
    await say(store, "a", "b", "c")
    last = await store.history("madang", limit=2)
    assert [message.text for message in last.messages] == ["b", "c"]
    assert last.earlier
    first = await store.history("madang", before=last.messages[0].id, limit=2)
    assert [message.text for message in first.messages] == ["a"]
    assert not first.earlier


async def test_a_room_keeps_its_last_messages(store):
    """A room's history is bounded: the oldest messages go, and those of other rooms stay."""
    await say(store, "elsewhere", room="bueok")
    await say(store, *"abcdefg")
    assert await texts(store) == list("cdefg")
    assert await texts(store, "bueok") == ["elsewhere"]


async def test_a_retry_is_not_said_twice(store):
    """The same nonce of the same person is the same message, however often it is sent."""
    first, is_new = await store.add_message("madang", MINJI, "hi", "n1")
    again, is_new_again = await store.add_message("madang", MINJI, "hi", "n1")
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    assert await texts(store) == ["hi"]


async def test_a_nonce_is_the_senders_own(store):
    """Two people may use the same nonce without taking each other's message."""
    await store.add_message("madang", MINJI, "mine", "n1")
    _, is_new = await store.add_message("madang", JUN, "yours", "n1")
    assert is_new
    assert await texts(store) == ["mine", "yours"]


async def test_a_room_is_opened_once(store):
    """A room of the same name, however it is written, is the same room."""
    attic = await store.add_room("Attic")
    assert await store.add_room("ATTIC") == attic
    assert await store.room(attic.id) == attic
    assert (await store.add_room("마당")).id == "madang"


async def test_the_house_has_room_for_so_many_rooms(store):
    """Rooms are bounded; those that are there can still be asked for."""
    await store.add_room("fifth")
    sixth = await store.add_room("sixth")
    with pytest.raises(TooManyRooms):
        await store.add_room("seventh")
    assert await store.add_room("sixth") == sixth


async def test_no_such_room(store):
    """A room that is not there is None."""
    assert await store.room("nowhere") is None


async def test_notifications_are_private_and_bounded(store):
    """A person has only their own notifications, and only the last of them."""
    for text in "abcd":
        await store.add_notification(MINJI.id, JUN, text)
    await store.add_notification(JUN.id, MINJI, "for Jun")
    kept = await store.notifications(MINJI.id)
    assert [notification.text for notification in kept] == ["b", "c", "d"]
    assert {notification.sender for notification in kept} == {JUN}


async def test_notifications_are_read_up_to_one(store):
    """Reading up to a notification leaves newer ones, and other people's, unread."""
    first = await store.add_notification(MINJI.id, JUN, "first")
    await store.add_notification(MINJI.id, JUN, "second")
    await store.add_notification(JUN.id, MINJI, "for Jun")
    await store.mark_read(MINJI.id, first.id)
    assert [notification.read for notification in await store.notifications(MINJI.id)] == [True, False]
    assert [notification.read for notification in await store.notifications(JUN.id)] == [False]


async def test_everything_outlives_the_process(store, tmp_path):
    """What was kept is there when the file is opened again."""
    await say(store, "still here")
    room = await store.add_room("mine")
    await store.close()
    again = Store(tmp_path / "chat.db")
    await again.open()
    assert await texts(again) == ["still here"]
    assert await again.room(room.id) == room
    await again.close()


async def test_old_notifications_go(store, tmp_path):
    """Notifications that are older than a month are gone after the next start."""
    await store.add_notification(MINJI.id, JUN, "old")
    await store.close()
    with sqlite3.connect(tmp_path / "chat.db") as database:
        database.execute("UPDATE notifications SET at = at - ?", (31 * 24 * 3600 * 1000,))
    database.close()
    await store.open()
    assert await store.notifications(MINJI.id) == []


async def test_a_closed_store_says_so(tmp_path):
    """A store that is not open says so instead of failing somewhere inside."""
    with pytest.raises(RuntimeError, match="not open"):
        await Store(tmp_path / "chat.db").rooms()
