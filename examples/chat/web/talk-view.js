// The open room: its bar, the conversation, and who is typing.

import { avatar, h, icon, linked, reconcile, setText } from "./dom.js";
import { TEXT_LENGTH } from "./events.js";
import { clock, date, day, explain, languages, quote, t } from "./i18n.js";
import { keyOf } from "./room.js";
import { nameOf } from "./rooms-view.js";

const TOGETHER = 5 * 60_000;
const NEAR_END = 80;

export function mountTalk(house, connection) {
  const scroller = document.getElementById("scroller");
  const log = document.getElementById("log");
  const said = document.getElementById("said");
  const newer = document.getElementById("newer");
  const empty = document.getElementById("empty");
  const earlier = document.getElementById("earlier");
  const leave = document.getElementById("leave");
  document.querySelector(".opens-rooms").append(icon("menu"));
  leave.append(icon("leave"), h("span"));
  newer.append(icon("down"), h("span"));

  const isNearEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;
  const toEnd = () => {
    scroller.scrollTop = scroller.scrollHeight;
    newer.hidden = true;
  };
  // What was on the screen before: the room, and the keys of its first and last message.
  let shown = {};
  let atEnd = true;

  /** Stay where the reader is: at the end, at a room's first unread message, or on the line being read. */
  const scroll = (room, messages, heightBefore) => {
    const before = shown;
    shown = { room: room?.loaded && room.id, first: messages[0]?.key, last: messages.at(-1)?.key };
    const isNew = shown.last !== before.last;
    if (shown.room !== before.room) {
      const mark = log.querySelector(".unread-line");
      if (mark) mark.scrollIntoView({ block: "center" });
      else toEnd();
      newer.hidden = isNearEnd();
    } else if (atEnd || (isNew && messages.at(-1)?.mine)) toEnd();
    else if (shown.first !== before.first) scroller.scrollTop += scroller.scrollHeight - heightBefore;
    else if (isNew) newer.hidden = false;
  };

  const showTalk = () => {
    const room = house.open;
    const rows = room ? rowsOf(room, house) : [];
    const height = scroller.scrollHeight;
    reconcile(log, rows, (row) => row.key, make, update);
    earlier.hidden = !room?.earlier;
    empty.hidden = rows.length > 0;
    setText(empty, emptyText(room));
    showTyping(room);
    scroll(room, rows.filter((row) => row.kind === "message"), height);
  };

  const showBar = () => {
    const room = house.open;
    setText(document.getElementById("room-name"), room ? nameOf(room) : t("rooms.none_open"));
    leave.hidden = !room?.joined;
    if (room) leave.setAttribute("aria-label", t("rooms.leave_label", { room: nameOf(room) }));
    setText(leave.lastElementChild, t("rooms.leave"));
    setText(newer.lastElementChild, t("talk.newer"));
    if (room) said.setAttribute("aria-label", t("talk.log", { room: nameOf(room) }));
  };

  const make = (row) => makers[row.kind](row, house);

  house.addEventListener("open", () => {
    // Another conversation is not news: it is shown without being read out line by line.
    said.setAttribute("aria-live", "off");
    log.replaceChildren();
    shown = {};
    showBar();
    showTalk();
    requestAnimationFrame(() => said.removeAttribute("aria-live"));
  });
  house.addEventListener("rooms", showBar);
  house.addEventListener("talk", showTalk);
  connection.addEventListener("status", () => {
    leave.disabled = !connection.connected;
    showTalk();
  });
  languages.addEventListener("change", () => {
    log.replaceChildren();
    showBar();
    showTalk();
  });
  scroller.addEventListener("scroll", () => {
    atEnd = isNearEnd();
    if (atEnd) newer.hidden = true;
  });
  new ResizeObserver(() => atEnd && toEnd()).observe(scroller);
  newer.addEventListener("click", toEnd);
  leave.addEventListener("click", () => house.leave(house.openId).catch(() => {}));
  earlier.addEventListener("click", async () => {
    earlier.disabled = true;
    await house.earlier().catch(() => {});
    earlier.disabled = false;
  });
  showBar();
  showTalk();
}

/** What the conversation shows, from top to bottom: days, lines of who came and went, messages, and what is under way. */
function rowsOf(room, house) {
  const rows = [];
  let before = null;
  const push = (row) => {
    if (before?.at.toDateString() !== row.at.toDateString()) {
      rows.push({ kind: "day", key: `day ${row.at.toDateString()}`, at: row.at });
      before = null;
    }
    const together = row.kind === "message" && before?.kind === "message" && before.user.id === row.user.id;
    row.follows = together && row.at - before.at < TOGETHER;
    rows.push(row);
    before = row;
  };
  for (const { key, at, message, change, user } of room.entries) {
    if (message && message.id === room.firstUnread) {
      rows.push({ kind: "unread", key: "unread" });
      before = before && { at: before.at };
    }
    if (!message) push({ kind: "note", key, at, change, user });
    else push(messageRow(key, at, message, "sent", house));
  }
  for (const entry of house.outbox.of(room.id)) {
    const message = { user: house.me, text: entry.text, nonce: entry.nonce };
    push({ ...messageRow(keyOf(house.me.id, entry.nonce), new Date(entry.at), message, entry.state, house), error: entry.error });
  }
  return rows;
}

function messageRow(key, at, { user, text, nonce }, state, house) {
  return { kind: "message", key, at, user, text, nonce, state, mine: user.id === house.me.id };
}

const makers = {
  day: () => h("li", { class: "day" }, h("time")),
  unread: () => h("li", { class: "unread-line" }, h("span")),
  note: () => h("li", { class: "note-line" }, h("span"), h("time")),
  message: ({ user, text, nonce, mine }, house) =>
    h(
      "li",
      { class: mine ? "message mine" : "message" },
      !mine && avatar(user),
      h(
        "div",
        { class: "said" },
        h("p", { class: mine ? "who hidden-text" : "who" }, user.name),
        h("div", { class: "line" }, h("p", { class: "bubble" }, ...linked(text)), h("p", { class: "meta" }, h("time"))),
        mine &&
          h(
            "div",
            { class: "failure", hidden: true },
            h("p", { class: "reason" }),
            h("button", { class: "plain small", onclick: () => house.retry(nonce) }),
            h("button", { class: "plain small", onclick: () => house.discard(nonce) }),
          ),
      ),
    ),
};

function update(element, row) {
  if (row.kind === "unread") return setText(element.firstElementChild, t("talk.unread"));
  const time = element.querySelector("time");
  time.dateTime = row.at.toISOString();
  time.title = date(row.at);
  setText(time, row.kind === "day" ? day(row.at) : clock(row.at));
  if (row.kind === "note") setText(element.firstElementChild, t(`talk.${row.change}`, { name: row.user.name }));
  if (row.kind === "message") updateMessage(element, row);
}

const MARKS = { sent: "check", sending: "clock", queued: "clock", failed: "alert" };

function updateMessage(element, row) {
  element.classList.toggle("follows", row.follows);
  if (!row.mine || element.dataset.state === row.state) return;
  element.dataset.state = row.state;
  const state = h("span", { class: "state" }, icon(MARKS[row.state]), h("span", {}, t(`state.${row.state}`)));
  const meta = element.querySelector(".meta");
  meta.querySelector(".state")?.remove();
  meta.append(state);
  const failure = element.querySelector(".failure");
  failure.hidden = row.state !== "failed";
  if (row.state !== "failed") return;
  const [reason, retry, discard] = failure.children;
  setText(reason, reasonOf(row));
  setText(retry, t("state.retry"));
  setText(discard, t("state.discard"));
}

function reasonOf({ error, text }) {
  const isTooLong = error.code === "invalid_arguments" && [...text].length > TEXT_LENGTH;
  const why = isTooLong ? t("error.text_too_long", { limit: TEXT_LENGTH }) : explain(error);
  return `${why} ${quote(error)}`;
}

function showTyping(room) {
  const [a, b, c] = room?.writers ?? [];
  const words = c ? t("talk.typing_many") : b ? t("talk.typing_two", { a: a.name, b: b.name }) : a ? t("talk.typing_one", { a: a.name }) : "";
  setText(document.getElementById("typing"), words);
}

function emptyText(room) {
  if (!room) return t("rooms.none_open_lead");
  return room.loaded ? t("talk.empty") : t("talk.loading");
}
