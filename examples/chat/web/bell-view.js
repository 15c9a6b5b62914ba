// The bell with what is unread, and the list of private notifications behind it.

import { open } from "./dialogs.js";
import { avatar, h, icon, reconcile, setText } from "./dom.js";
import { clock, date, languages, t } from "./i18n.js";

export function mountBell(notifications) {
  const bell = document.getElementById("bell");
  const dialog = document.getElementById("bell-dialog");
  const list = document.getElementById("bell-list");
  const badge = h("span", { class: "badge", "aria-hidden": "true" });
  bell.append(icon("bell"), badge);
  dialog.querySelector("[data-cancel]").append(icon("close"));

  const make = ({ sender, text, read }) =>
    h(
      "li",
      { class: read ? "note" : "note fresh" },
      avatar(sender),
      h("div", {}, h("p", { class: "note-who" }, h("strong", {}, sender.name), h("time")), h("p", { class: "note-text" }, text)),
    );
  const update = (line, { at }) => {
    const time = line.querySelector("time");
    const moment = new Date(at);
    time.dateTime = at;
    time.title = date(moment);
    setText(time, moment.toDateString() === new Date().toDateString() ? clock(moment) : date(moment));
  };

  const show = () => {
    const { unread } = notifications;
    setText(badge, unread > 99 ? "99+" : String(unread));
    badge.hidden = !unread;
    bell.setAttribute("aria-label", unread ? t("bell.show_unread", { n: unread }) : t("bell.show"));
    reconcile(list, notifications.list.toReversed(), (notification) => notification.id, make, update);
    document.getElementById("bell-none").hidden = notifications.list.length > 0;
    if (dialog.open) notifications.read();
  };

  bell.addEventListener("click", () => {
    if (!dialog.open) open(dialog);
    notifications.read();
  });
  // What was new stays marked while it is looked at, and is old the next time.
  dialog.addEventListener("close", () => list.replaceChildren());
  dialog.addEventListener("close", show);
  notifications.addEventListener("change", show);
  languages.addEventListener("change", show);
  show();
}
