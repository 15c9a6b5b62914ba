// One room as this page knows it: what was said, who is there, who is typing, what is unread.

const TYPING_FADES = 4000;
const MOST_ENTRIES = 1000;

export class Room {
  constructor({ id, name }) {
    this.id = id;
    this.name = name;
    this.people = 0;
    this.joining = false;
    this.joined = false;
    this.loaded = false;
    this.earlier = false;
    this.members = [];
    this.unread = 0;
    this.firstUnread = null;
    this.entries = [];
    this.typing = new Map();
  }

  /** The newest message known, or 0. */
  get newest() {
    return this.entries.findLast((entry) => entry.message)?.message.id ?? 0;
  }

  /** The oldest message known, or 0. */
  get oldest() {
    return this.entries.find((entry) => entry.message)?.message.id ?? 0;
  }

  /** Take in a message at its place; returns false if it was known. */
  add(message) {
    if (this.entries.some((entry) => entry.message?.id === message.id)) return false;
    const index = this.entries.findIndex((entry) => entry.message?.id > message.id);
    this.entries.splice(index < 0 ? this.entries.length : index, 0, said(message));
    this.typing.delete(message.user.id);
    if (this.entries.length > MOST_ENTRIES) {
      this.entries.splice(0, this.entries.length - MOST_ENTRIES);
      this.earlier = true;
    }
    return true;
  }

  /** Take in what the server sent at entering; returns the messages that were new. */
  restore({ room, history, members }) {
    this.people = room.people;
    this.members = members;
    if (!this.loaded || history.earlier) {
      // Either the first look, or more was missed than one answer holds: what is older has to be asked for again.
      this.entries = [];
      this.earlier = history.earlier;
    }
    this.joined = this.loaded = true;
    return history.messages.filter((message) => this.add(message));
  }

  /** Take in older messages that were asked for. */
  prepend(history) {
    this.earlier = history.earlier;
    this.entries.unshift(...history.messages.map(said));
  }

  /** Note that somebody came or went. */
  note({ change, user, at }) {
    this.entries.push({ key: `${change} ${user.id} ${at}`, at: new Date(at), change, user });
    if (change === "left") this.typing.delete(user.id);
  }

  /** Note that somebody is typing; returns for how long it counts. */
  type(user) {
    this.typing.set(user.id, { user, until: Date.now() + TYPING_FADES });
    return TYPING_FADES;
  }

  /** Who is typing right now. */
  get writers() {
    return [...this.typing.values()].filter(({ until }) => until > Date.now()).map(({ user }) => user);
  }
}

/** The key of a message is the same before and after the server knew it, so its element stays. */
export function keyOf(userId, nonce) {
  return `${userId} ${nonce}`;
}

function said(message) {
  return { key: keyOf(message.user.id, message.nonce), at: new Date(message.at), message };
}
