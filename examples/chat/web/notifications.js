// Private notifications: the /notifications namespace, seen from the page.

import * as events from "./events.js";

/** Tells "change" when the list or its unread count changed, and "arrived" (`detail`: the notification) for a new one. */
export class Notifications extends EventTarget {
  constructor(connection) {
    super();
    this.connection = connection;
    this.list = [];
    const socket = connection.notifications;
    socket.on(events.NOTIFICATIONS, (list) => {
      this.list = list;
      this.#tell();
    });
    socket.on(events.NOTIFICATION, (notification) => {
      this.list.push(notification);
      this.#tell();
      this.dispatchEvent(new CustomEvent("arrived", { detail: notification }));
    });
    socket.on(events.NOTIFICATIONS_READ, ({ up_to }) => this.#mark(up_to));
  }

  get unread() {
    return this.list.filter((notification) => !notification.read).length;
  }

  send(userId, text) {
    return this.connection.ask(this.connection.notifications, events.NOTIFY, { to: userId, text });
  }

  /** All have been seen: in this tab now, in the others as soon as the server told them. */
  async read() {
    if (!this.unread) return;
    const up_to = this.list.at(-1).id;
    this.#mark(up_to);
    // If it does not get through, the badge is simply back at the next connection.
    await this.connection.ask(this.connection.notifications, events.MARK_READ, { up_to }).catch(() => {});
  }

  #mark(upTo) {
    for (const notification of this.list) if (notification.id <= upTo) notification.read = true;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
