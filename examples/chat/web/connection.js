// The one connection to the server, the two namespaces on it, and the honest state it is in.

import { Manager } from "/socket.io-client/socket.io.esm.min.js";

const ANSWER_WITHIN = 8000;

/**
 * `status.state` is one of: connecting, connected (over `transport`), reconnecting (`attempt`), offline, ended (the server
 * closed it), refused (`code` and `message` say why). Every change is told by a "status" event; `detail` is the state before.
 */
export class Connection extends EventTarget {
  constructor(token) {
    super();
    this.status = { state: "connecting" };
    this.manager = new Manager(location.origin, { autoConnect: false, reconnectionDelay: 500, reconnectionDelayMax: 5000 });
    const auth = { token };
    this.chat = this.manager.socket("/chat", { auth });
    this.notifications = this.manager.socket("/notifications", { auth });
    this.#watch();
  }

  open() {
    this.chat.connect();
    this.notifications.connect();
  }

  /** End for good: nothing is heard of this connection afterwards. */
  close() {
    removeEventListener("online", this.online);
    removeEventListener("offline", this.offline);
    for (const socket of [this.chat, this.notifications]) socket.off().disconnect();
    this.manager.off();
  }

  /** Try at once, without waiting for the next attempt. */
  retry() {
    this.#become({ ...this.status, state: "reconnecting", attempt: this.status.attempt ?? 1 });
    for (const socket of [this.chat, this.notifications]) socket.disconnect();
    this.open();
  }

  /** Send an event and return the server's answer, or throw `{code, message}`; what was not the server's word has no message. */
  async ask(socket, event, payload) {
    if (!socket.connected) throw { code: "disconnected" };
    let answer;
    try {
      answer = await socket.timeout(ANSWER_WITHIN).emitWithAck(event, payload);
    } catch {
      throw { code: socket.connected ? "timeout" : "disconnected" };
    }
    if (answer?.error) throw answer.error;
    return answer;
  }

  get connected() {
    return this.status.state === "connected";
  }

  #watch() {
    const { chat, manager } = this;
    chat.on("connect", () => {
      this.#become({ state: "connected", transport: manager.engine.transport.name });
      manager.engine.once("upgrade", () => {
        if (this.connected) this.#become({ ...this.status, transport: manager.engine.transport.name });
      });
    });
    chat.on("disconnect", (reason) => {
      if (reason === "io client disconnect") return;
      this.#become(reason === "io server disconnect" ? { state: "ended" } : { state: "reconnecting", attempt: 0 });
    });
    for (const socket of [chat, this.notifications]) {
      // A namespace that answers "no" is not tried again; a server that does not answer is.
      socket.on("connect_error", (error) => {
        if (!socket.active) this.#become({ state: "refused", code: error.data?.code, message: error.message });
      });
    }
    manager.on("reconnect_attempt", (attempt) => this.#become({ state: "reconnecting", attempt }));
    manager.on("error", () => {
      if (this.status.state === "connecting") this.#become({ state: "reconnecting", attempt: 0 });
    });
    this.online = () => this.status.state === "offline" && this.retry();
    this.offline = () => this.#become(this.status);
    addEventListener("online", this.online);
    addEventListener("offline", this.offline);
  }

  #become(status) {
    const before = this.status.state;
    const waiting = status.state === "reconnecting" || status.state === "connecting";
    this.status = waiting && !navigator.onLine ? { ...status, state: "offline" } : status;
    this.dispatchEvent(new CustomEvent("status", { detail: before }));
  }
}
