// The rooms of the house and what happens in them: the /chat namespace, seen from the page.

import * as events from "./events.js";
import { Outbox } from "./outbox.js";
import { Room } from "./room.js";

const FIRST_ROOM = "madang";
const SAY_TYPING_EVERY = 2000;

/**
 * Tells "rooms" when a line of the room list changed, "talk" when the open room's conversation did, "people" when its
 * members did, "open" when another room was opened, "back" (`detail`: how many messages were missed) after a reconnect.
 */
export class House extends EventTarget {
  constructor(connection, me) {
    super();
    this.connection = connection;
    this.me = me;
    this.rooms = new Map();
    this.outbox = new Outbox(me.id);
    this.openId = null;
    this.wasHere = false;
    this.lastTyping = 0;
    this.kept = `madang.rooms.${me.id}`;
    this.keptOpen = `madang.open.${me.id}`;
    this.#listen(connection.chat);
  }

  /** The room on the screen, if any. */
  get open() {
    return this.rooms.get(this.openId);
  }

  get unread() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  /** Show a room, entering it first if need be. */
  async enter(id) {
    const room = this.rooms.get(id);
    if (this.open && this.open !== room) this.open.firstUnread = null;
    this.#show(id);
    if (!room.joined) await this.#join(room);
  }

  async leave(id) {
    await this.connection.ask(this.connection.chat, events.LEAVE_ROOM, { room: id });
    this.#forget(id);
    this.#keep(id);
  }

  /** Open a new room, or the one that has this name already, and enter it. */
  async create(name) {
    const room = await this.connection.ask(this.connection.chat, events.NEW_ROOM, { name });
    this.#line(room);
    await this.enter(room.id);
  }

  /** Say something in the open room: at once if we are connected, and otherwise as soon as we are. */
  say(text) {
    this.lastTyping = 0;
    this.#send(this.outbox.add(this.openId, text));
  }

  retry(nonce) {
    this.#send(this.outbox.find(nonce));
  }

  discard(nonce) {
    this.outbox.remove(nonce);
    this.#tell("talk");
  }

  /** Let the others see that we are typing; lost if it cannot leave at once, which is all it deserves. */
  typing() {
    if (!this.open?.joined || Date.now() - this.lastTyping < SAY_TYPING_EVERY) return;
    this.lastTyping = Date.now();
    this.connection.chat.volatile.emit(events.TYPING, { room: this.openId });
  }

  async earlier() {
    const room = this.open;
    const history = await this.connection.ask(this.connection.chat, events.EARLIER_MESSAGES, {
      room: room.id,
      before: room.oldest,
    });
    room.prepend(history);
    this.#tell("talk");
  }

  /** The open room has been looked at. */
  read() {
    const room = this.open;
    if (!room || document.visibilityState === "hidden") return;
    if (room.unread) {
      room.unread = 0;
      this.#tell("rooms");
    }
    this.#keep();
  }

  #show(id) {
    this.openId = id;
    sessionStorage.setItem(this.keptOpen, id ?? "");
    this.read();
    this.#tell("open");
  }

  #listen(chat) {
    chat.on("disconnect", () => {
      for (const room of this.rooms.values()) room.typing.clear();
      this.#tell("talk");
    });
    chat.on(events.ROOMS, (rooms) => this.#arrive(rooms));
    chat.on(events.ROOM, (room) => this.#line(room));
    chat.on(events.CHAT_MESSAGE, (message) => this.#hear(message));
    chat.on(events.PRESENCE, (presence) => this.#notice(presence));
    chat.on(events.USER_TYPING, ({ room: id, user }) => {
      const room = this.rooms.get(id);
      if (!room?.joined || user.id === this.me.id) return;
      setTimeout(() => this.#tell("talk"), room.type(user) + 50);
      this.#tell("talk");
    });
    document.addEventListener("visibilitychange", () => this.read());
    addEventListener("storage", ({ key, newValue }) => {
      if (key === this.kept && newValue && this.wasHere) this.#follow(JSON.parse(newValue));
    });
  }

  /** We are connected, for the first time or again: enter our rooms, fetch what we missed, send what waits. */
  async #arrive(rooms) {
    for (const room of rooms) this.#line(room);
    const back = this.wasHere;
    const marks = this.#recall();
    const ours = [...this.#joined().map((room) => room.id), ...Object.keys(marks), this.openId];
    const ids = [...new Set(ours)].filter((id) => this.rooms.has(id));
    if (!back && !ids.length) ids.push(this.rooms.has(FIRST_ROOM) ? FIRST_ROOM : rooms[0].id);
    const missed = await Promise.all(ids.map((id) => this.#join(this.rooms.get(id), back ? undefined : marks[id])));
    this.wasHere = true;
    if (back) this.dispatchEvent(new CustomEvent("back", { detail: missed.flat().length }));
    else if (!this.openId) await this.enter(ids.find((id) => id === sessionStorage.getItem(this.keptOpen)) ?? ids[0]);
    for (const entry of this.outbox.queued) this.#send(entry);
  }

  /** Enter a room and fetch what was said since `lastRead`; returns what others said of it. */
  async #join(room, lastRead = room.loaded ? room.newest : Infinity) {
    let state;
    room.joining = true;
    try {
      state = await this.connection.ask(this.connection.chat, events.JOIN_ROOM, { room: room.id, after: room.newest });
    } catch (error) {
      // A room that is gone leaves the list; a connection that is gone comes back and asks again.
      if (error.code === "no_such_room") this.rooms.delete(room.id);
      this.#tell("rooms");
      return [];
    } finally {
      room.joining = false;
    }
    const fresh = room.restore(state);
    for (const message of fresh.filter(this.#isMine)) this.outbox.remove(message.nonce);
    const missed = fresh.filter((message) => !this.#isMine(message) && message.id > lastRead);
    if (missed.length) room.firstUnread = missed[0].id;
    this.#count(room, missed);
    this.#keep();
    this.#tell("rooms");
    this.#tell("people");
    this.#tell("talk");
    return missed;
  }

  async #send(entry) {
    if (!this.connection.connected || !this.wasHere) {
      this.outbox.set(entry, "queued");
      this.#tell("talk");
      return;
    }
    this.outbox.set(entry, "sending");
    this.#tell("talk");
    try {
      const { nonce, room, text } = entry;
      const message = await this.connection.ask(this.connection.chat, events.SEND_MESSAGE, { room, text, nonce });
      this.outbox.remove(nonce);
      this.rooms.get(room)?.add(message);
      this.#keep();
    } catch (error) {
      // A lost connection is not a failure: it goes out again when we are back, and the server knows its nonce.
      if (error.code === "disconnected") this.outbox.set(entry, "queued");
      else this.outbox.set(entry, "failed", error);
    }
    this.#tell("talk");
  }

  #hear(message) {
    const room = this.rooms.get(message.room);
    if (!room?.joined || !room.add(message)) return;
    if (this.#isMine(message)) this.outbox.remove(message.nonce);
    else this.#count(room, [message]);
    this.#keep();
    this.#tell("talk");
  }

  #isMine = (message) => message.user.id === this.me.id;

  #count(room, messages) {
    const seen = room.id === this.openId && document.visibilityState === "visible";
    if (seen || !messages.length) return;
    room.firstUnread ??= messages[0].id;
    room.unread += messages.length;
    this.#tell("rooms");
  }

  #notice(presence) {
    const room = this.rooms.get(presence.room);
    if (!room?.joined) return;
    room.members = presence.members;
    if (presence.user.id !== this.me.id) room.note(presence);
    this.#tell("people");
    this.#tell("talk");
  }

  #line({ id, name, people }) {
    if (!this.rooms.has(id)) this.rooms.set(id, new Room({ id, name }));
    Object.assign(this.rooms.get(id), { name, people });
    this.#tell("rooms");
  }

  #joined() {
    return [...this.rooms.values()].filter((room) => room.joined);
  }

  #forget(id) {
    const { people } = this.rooms.get(id);
    this.rooms.set(id, Object.assign(new Room(this.rooms.get(id)), { people }));
    if (this.openId === id) this.#show(this.#joined()[0]?.id ?? null);
    this.#tell("rooms");
  }

  /** Keep, for all our tabs, which rooms we are in and how far we read in each. */
  #keep(leftId) {
    const marks = this.#recall();
    for (const room of this.#joined()) {
      const before = marks[room.id] ?? 0;
      marks[room.id] = room.unread ? before : Math.max(before, room.newest);
    }
    delete marks[leftId];
    localStorage.setItem(this.kept, JSON.stringify(marks));
  }

  /** Another tab of ours entered or left a room, or read on: so do we. */
  #follow(marks) {
    for (const room of [...this.rooms.values()]) {
      const mark = marks[room.id];
      if (mark >= room.newest) room.unread = 0;
      if (mark === undefined && room.joined) {
        this.#forget(room.id);
        this.connection.ask(this.connection.chat, events.LEAVE_ROOM, { room: room.id }).catch(() => {});
      } else if (mark !== undefined && !room.joined && !room.joining) this.#join(room, mark);
    }
    this.#tell("rooms");
  }

  #recall() {
    return JSON.parse(localStorage.getItem(this.kept) ?? "{}");
  }

  #tell(what) {
    this.dispatchEvent(new Event(what));
  }
}
