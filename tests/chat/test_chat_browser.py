"""The chat's page in headless Chromium, used as people use it."""

from __future__ import annotations

import json

import pytest

from examples.chat.events import TEXT_LENGTH, User
from examples.chat.store import Store
from examples.chat.tokens import Tokens
from tests.chat.browser import PHONE
from tests.chat.conftest import SECRET


@pytest.fixture
def minji(browser, chat):
    return browser.page("민지", chat.url).log_in("민지")


@pytest.fixture
def jun(browser, chat):
    return browser.page("Jun", chat.url, language="en-US", colorScheme="dark").log_in("Jun")


def use_token(page, token):
    """Put a token where the log-in keeps it, and come back to the page."""
    session = json.dumps({"token": token, "user": {"id": "u_1", "name": "민지"}})
    page.run(f"localStorage.setItem('madang.session', {json.dumps(session)})")
    page.do("reload")


@pytest.mark.feature("J2", "M1", "N2")
def test_two_people_talk(minji, jun):
    """What one person says the other reads, and the first sees that it has arrived."""
    minji.see('#people-list .person:has-text("Jun")')
    minji.see('.note-line:has-text("Jun 님이 들어왔습니다")')
    minji.fill("#text", "안녕하세요!")
    minji.press("#text", "Enter")
    minji.see_mine("안녕하세요!", "sent")
    jun.hear("안녕하세요!")
    jun.say("Hello, 민지.\nGood to see you: https://example.org/tea!")
    minji.see('.message:not(.mine) .bubble a[href="https://example.org/tea"]')
    minji.shot("talk-ko-light")
    jun.shot("talk-en-dark")
    assert minji.problems == jun.problems == []


@pytest.mark.feature("N9")
def test_typing_is_seen_and_goes_by_itself(minji, jun):
    """Who types is seen by the others, and no longer a moment after the last key."""
    jun.do("pressSequentially", "I am thinking", on="#text")
    minji.see('#typing:text-is("Jun 님이 입력하고 있습니다…")')
    minji.shot("typing")
    minji.there("#typing:empty")


@pytest.mark.feature("K3", "K4")
def test_a_bad_token_is_refused_with_its_reason(browser, chat):
    """A token nobody issued leads back to the log-in, which shows the reason, the server's words and the code."""
    page = browser.page("민지", chat.url)
    use_token(page, "made.up")
    page.see('#login-error:has-text("로그인 정보가 올바르지 않습니다")')
    assert "The token is not valid." in page.text("#login-error .raw")
    assert page.text("#login-error code") == "token_invalid"
    page.shot("bad-token-ko")
    page.log_in("민지")


@pytest.mark.feature("K4")
def test_an_expired_token_is_refused_with_its_reason(browser, chat):
    """A token that was good once is said to have expired, in the reader's language."""
    page = browser.page("Jun", chat.url, language="en-US")
    use_token(page, Tokens(SECRET.encode(), lifetime=-1).issue(User("u_1", "Jun")))
    page.see('#login-error:has-text("Your log-in has expired")')
    assert page.text("#login-error code") == "token_expired"


def test_a_name_that_will_not_do_is_refused(browser, chat, minji):
    """A name that is empty, too long or taken is refused at the field, and the next try is free."""
    page = browser.page("Jun", chat.url, language="en-US")
    for name, reason in (
        (" ", "Please write your name."),
        ("x" * 25, "A name can have up to 24 characters."),
        ("민지", "Somebody else is here under that name."),
    ):
        page.fill("#login-name", name)
        page.press("#login-name", "Enter")
        page.see(f'#login-error:has-text("{reason}")')
    page.shot("login-error-en")
    page.log_in("Jun")


@pytest.mark.feature("J16")
def test_a_notification_reaches_all_tabs_of_one_person(browser, chat, minji, jun):
    """A private notification shows in every tab of that person, and is read in all once it is read in one."""
    tab = browser.page("민지", chat.url)
    tab.there('#connection[data-state="connected"]')
    other = browser.page("하루", chat.url).log_in("하루")
    jun.click('#people-list .person:has-text("민지") .notify')
    jun.fill("#notify-text", "부엌으로 와 주세요.")
    jun.shot("notify-dialog")
    jun.click("#notify-dialog .primary")
    for page in (minji, tab):
        page.see('.toast:has-text("부엌으로 와 주세요.")')
        page.see('#bell .badge:text-is("1")')
    jun.see('.toast:has-text("민지 has been notified.")')
    minji.shot("notification-toast")
    minji.click("#bell")
    minji.see('.note:has-text("부엌으로 와 주세요.")')
    minji.shot("notification-list")
    minji.miss("#bell .badge")
    tab.miss("#bell .badge")
    assert other.count(".toast, .note") == 0
    tab.do("reload")
    tab.see('#connection[data-state="connected"]')
    tab.click("#bell")
    tab.see('.note:has-text("부엌으로 와 주세요.")')


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_server_goes_and_comes_back(chat, minji, jun, end):
    """While the server is gone the page says so and keeps what is written; afterwards all of it arrives."""
    minji.say("before")
    jun.hear("before")
    minji.see_mine("before", "sent")  # or it would be one of those that wait
    getattr(chat, end)()
    minji.see('#banner[data-state="reconnecting"]:has-text("다시 연결하는 중")')
    minji.say("written meanwhile")
    minji.say("and one more")
    minji.see_mine("and one more", "queued")
    minji.see('#banner:has-text("메시지 2개")')
    jun.see("#banner:has-text('attempt')")
    minji.shot("reconnecting-ko")
    jun.shot("reconnecting-en-dark")
    chat.start()
    minji.see('#banner[data-state="connected"]')
    minji.shot("connected-again")
    minji.see_mine("written meanwhile", "sent")
    minji.see_mine("and one more", "sent")
    jun.hear("and one more")
    minji.do("reload")
    for text in ("before", "written meanwhile", "and one more"):
        minji.see_mine(text, "sent")
    assert minji.do("allInnerTexts", on=".bubble") == ["before", "written meanwhile", "and one more"]


def test_what_was_missed_is_fetched(browser, chat, minji):
    """Who was offline is told so, and gets what the others said meanwhile."""
    # By its number: to the stock client, "localhost" is there even without a network.
    jun = browser.page("Jun", chat.url.replace("localhost", "127.0.0.1"), language="en-US").log_in("Jun")
    jun.do("setOffline", True)
    jun.see('#banner[data-state="offline"]')
    jun.shot("offline-en")
    minji.say("Jun, are you there?")
    minji.see_mine("Jun, are you there?", "sent")
    jun.do("setOffline", False)
    jun.hear("Jun, are you there?")
    jun.see('#banner:has-text("1 message came while you were away.")')


async def test_a_long_history_comes_in_pages(browser, chat):
    """The newest messages are shown first; older ones come on demand, and what is being read stays in place."""
    store = Store(chat.database)
    await store.open()
    for number in range(120):
        await store.add_message("madang", User("u_1", "하루"), f"message {number}", f"n{number}")
    await store.close()
    page = browser.page("민지", chat.url).log_in("민지")
    page.hear("message 119")
    assert page.count(".bubble") == 50
    page.run("document.getElementById('scroller').scrollTop = 0")
    before = page.run("document.querySelector('.bubble').getBoundingClientRect().top")
    page.click("#earlier")
    page.there('.bubble:text-is("message 20")')
    read = "[...document.querySelectorAll('.bubble')].find(bubble => bubble.textContent === 'message 70')"
    assert abs(page.run(f"{read}.getBoundingClientRect().top") - before) < 60
    page.click("#earlier")
    page.there('.bubble:text-is("message 0")')
    page.miss("#earlier")
    assert page.count(".bubble") == 120
    page.say("the last word")
    page.see_mine("the last word", "sent")
    assert page.run("(s => s.scrollHeight - s.scrollTop - s.clientHeight)(document.getElementById('scroller'))") < 2


def test_a_message_that_is_too_long_is_refused_by_the_server(minji):
    """The server's validation speaks: the message stays, marked as not sent, and can be taken away."""
    minji.fill("#text", "가" * (TEXT_LENGTH + 1))
    minji.see('#compose-count.over:text-is("1자 넘침")')
    minji.press("#text", "Enter")
    minji.see('.message.mine[data-state="failed"]')
    assert f"{TEXT_LENGTH}자까지" in minji.text(".failure .reason")
    assert "서버의 말:" in minji.text(".failure .reason")
    minji.shot("too-long")
    minji.click('.failure button:text-is("지우기")')
    minji.miss(".message.mine")
    minji.say("짧게 쓸게요.")
    minji.see_mine("짧게 쓸게요.", "sent")


@pytest.mark.feature("O3", "O4")
def test_rooms_are_opened_entered_and_left(minji, jun):
    """A new room is there for everybody; what is said in it is counted for those who look at another one."""
    minji.click("#new-room")
    minji.fill("#new-room-name", "뒷마당")
    minji.press("#new-room-name", "Enter")
    minji.see('#room-name:text-is("뒷마당")')
    jun.click('#rooms-others .room:has-text("뒷마당")')
    jun.see('#people-list .person:has-text("민지")')
    jun.click('#rooms-mine .room:has-text("Madang")')
    minji.say("여기예요")
    jun.see('#rooms-mine .room:has-text("뒷마당") .badge:text-is("1")')
    jun.shot("unread-badge")
    jun.click('#rooms-mine .room:has-text("뒷마당")')
    jun.see('.unread-line:has-text("Unread from here")')
    jun.hear("여기예요")
    jun.click("#leave")
    jun.see('#rooms-others .room:has-text("뒷마당")')
    minji.see('.note-line:has-text("Jun 님이 나갔습니다")')


def test_several_tabs_are_one_person(browser, chat, minji, jun):
    """A person with two tabs is there once; the room hears that they left when the last tab has gone."""
    tab = browser.page("민지", chat.url)
    tab.see("#people-list .person:has-text('Jun')")
    assert jun.count('#people-list .person:has-text("민지")') == 1
    # A tab that is closed in the middle of the upgrade is only missed at the next ping.
    for page in (minji, tab):
        page.see('#connection:has-text("WebSocket")')
    minji.do("close")
    tab.do("reload")
    tab.see("#people-list .person:has-text('Jun')")
    tab.see('#connection:has-text("WebSocket")')
    jun.see('#people-list .person:has-text("민지")')
    tab.do("close")
    jun.see('.note-line:has-text("민지 left")')
    assert jun.count(".note-line:has-text('left')") == 1
    jun.miss('#people-list .person:has-text("민지")')


def test_a_phone_has_the_lists_in_drawers(browser, chat, jun):
    """On a small screen the rooms and the people are drawers, and nothing is wider than the screen."""
    phone = browser.page("하루", chat.url, **PHONE)
    phone.see("#login")
    phone.shot("phone-login")
    phone.log_in("하루")
    phone.say("길에서 들어왔어요. 지하철 안이라 조금 느릴 수 있어요.")
    jun.see(".message:not(.mine)")
    phone.shot("phone-talk")
    phone.click(".opens-rooms")
    phone.see("#rooms.open")
    phone.shot("phone-rooms")
    phone.click('#rooms-others .room:has-text("부엌")')
    phone.see('#room-name:text-is("부엌")')
    phone.miss("#rooms")
    phone.click(".opens-people")
    phone.see("#people.open")
    phone.shot("phone-people")
    phone.press("body", "Escape")
    phone.miss("#people")
    assert phone.run("document.documentElement.scrollWidth") == 360


def test_the_language_can_be_changed(browser, chat):
    """The page speaks the browser's language, and the other one at a click, for good."""
    page = browser.page("Jun", chat.url, language="en-US")
    page.see('h1:text-is("Welcome to the madang")')
    page.shot("login-en")
    page.click("#gate .languages [lang=ko]")
    page.see('h1:text-is("마당에 오신 것을 환영합니다")')
    page.shot("login-ko")
    page.log_in("Jun")
    page.do("reload")
    page.see('#rooms h2:text-is("들어온 방")')
    assert page.do("getAttribute", "lang", on="html") == "ko"
    page.click("#house .languages [lang=en]")
    page.see('#rooms h2:text-is("Your rooms")')


def test_everything_can_be_done_with_the_keyboard(minji, jun):
    """Rooms, people and dialogs are reached with Tab and used with Enter and Escape."""
    notify = '#people-list .person:has-text("Jun") .notify'
    minji.see(notify)
    minji.do("focus", on="#text")
    for _ in range(10):
        minji.do("press", "Tab", on=":focus")
        if minji.run("document.activeElement.matches('.notify')"):
            break
    minji.press(notify, "Enter")
    minji.see("#notify-dialog")
    assert minji.run("document.activeElement.id") == "notify-text"
    minji.press("#notify-text", "Escape")
    minji.miss("#notify-dialog")
    assert minji.run("document.activeElement.matches('.notify')")
    minji.press('#rooms-others .room:has-text("부엌")', "Enter")
    minji.see('#room-name:text-is("부엌")')
    assert minji.run("document.activeElement.id") == "text"


def test_who_logs_out_is_out_in_all_tabs(browser, chat, minji):
    """Logging out ends the session in every tab of that browser."""
    tab = browser.page("민지", chat.url)
    tab.there('#connection[data-state="connected"]')
    minji.click("#logout")
    minji.see("#login")
    tab.see("#login")
