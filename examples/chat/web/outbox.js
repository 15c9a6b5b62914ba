// What was written and is not acknowledged yet. It outlives a reload of the tab.

/**
 * An entry is `{nonce, room, text, at, state, error}`; its state is "queued" (waiting for the connection), "sending" or
 * "failed" (`error` says why).
 */
export class Outbox {
  constructor(userId) {
    this.kept = `madang.outbox.${userId}`;
    this.entries = JSON.parse(sessionStorage.getItem(this.kept) ?? "[]");
    for (const entry of this.entries) if (entry.state === "sending") entry.state = "queued";
  }

  add(room, text) {
    const nonce = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const entry = { nonce, room, text, at: Date.now(), state: "queued" };
    this.entries.push(entry);
    this.#keep();
    return entry;
  }

  set(entry, state, error) {
    Object.assign(entry, { state, error });
    this.#keep();
  }

  remove(nonce) {
    this.entries = this.entries.filter((entry) => entry.nonce !== nonce);
    this.#keep();
  }

  find(nonce) {
    return this.entries.find((entry) => entry.nonce === nonce);
  }

  of(room) {
    return this.entries.filter((entry) => entry.room === room);
  }

  get queued() {
    return this.entries.filter((entry) => entry.state === "queued");
  }

  #keep() {
    sessionStorage.setItem(this.kept, JSON.stringify(this.entries));
  }
}
