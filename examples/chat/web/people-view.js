// Who is in the open room, and a private word to one of them.

import { ask } from "./dialogs.js";
import { avatar, h, icon, reconcile, setText } from "./dom.js";
import { closeDrawers } from "./drawers.js";
import { languages, t } from "./i18n.js";
import { toast } from "./toasts.js";

export function mountPeople(house, notifications) {
  const list = document.getElementById("people-list");
  const opener = document.getElementById("show-people");
  opener.append(icon("people"), h("span", { class: "opener-count", "aria-hidden": "true" }));

  const notify = (user) => {
    closeDrawers();
    setText(document.getElementById("notify-heading"), t("notify.heading", { name: user.name }));
    ask("notify-dialog", async (text) => {
      await notifications.send(user.id, text);
      toast(t("notify.sent", { name: user.name }));
    });
  };

  const make = (user) => {
    const isMe = user.id === house.me.id;
    const line = h("li", { class: "person" }, avatar(user), h("span", { class: "person-name" }, user.name));
    if (isMe) line.append(h("span", { class: "soft you" }));
    else line.append(h("button", { class: "plain small notify", onclick: () => notify(user) }, icon("bell"), h("span")));
    return line;
  };

  const update = (line, user) => {
    const end = line.lastElementChild;
    if (user.id === house.me.id) return setText(end, t("people.me"));
    setText(end.lastElementChild, t("people.notify"));
    end.setAttribute("aria-label", t("people.notify_label", { name: user.name }));
  };

  const show = () => {
    const members = house.open?.members ?? [];
    const isMe = (user) => user.id === house.me.id;
    const inOrder = members.toSorted((a, b) => isMe(b) - isMe(a) || a.name.localeCompare(b.name));
    reconcile(list, inOrder, (user) => user.id, make, update);
    setText(document.getElementById("people-count"), members.length ? String(members.length) : "");
    setText(opener.lastElementChild, String(members.length));
    opener.setAttribute("aria-label", t("people.show", { n: members.length }));
    document.getElementById("alone").hidden = members.length !== 1;
  };

  for (const event of ["people", "open"]) house.addEventListener(event, show);
  languages.addEventListener("change", show);
  show();
}
