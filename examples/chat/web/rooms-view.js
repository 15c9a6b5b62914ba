// The list of rooms: ours with what is unread, and the others to enter.

import { ask } from "./dialogs.js";
import { h, icon, reconcile, setText } from "./dom.js";
import { closeDrawers } from "./drawers.js";
import { has, languages, t } from "./i18n.js";

/** The name of a room: the first rooms have one in each language, the others the one they were given. */
export function nameOf(room) {
  return has(`room.${room.id}`) ? t(`room.${room.id}`) : room.name;
}

export function mountRooms(house) {
  const mine = document.getElementById("rooms-mine");
  const others = document.getElementById("rooms-others");
  const create = document.getElementById("new-room");
  create.querySelector(".slot").replaceWith(icon("plus"));
  create.addEventListener("click", () =>
    ask("new-room-dialog", async (name) => {
      await house.create(name);
      closeDrawers();
    }),
  );

  const show = () => {
    const rooms = [...house.rooms.values()];
    list(mine, rooms.filter((room) => room.joined || room === house.open));
    list(others, rooms.filter((room) => !room.joined && room !== house.open));
    document.getElementById("rooms-others-heading").hidden = !others.children.length;
  };
  const list = (parent, rooms) => reconcile(parent, rooms, (room) => room.id, make, update);

  const make = (room) =>
    h(
      "li",
      {},
      h(
        "button",
        {
          class: "plain room",
          onclick: () => {
            house.enter(room.id);
            closeDrawers();
          },
        },
        h("span", { class: "room-name" }),
        h("span", { class: "room-people", "aria-hidden": "true" }),
        h("span", { class: "badge" }),
        h("span", { class: "hidden-text" }),
      ),
    );

  const update = (line, room) => {
    const button = line.firstElementChild;
    const [name, people, badge, said] = button.children;
    setText(name, nameOf(room));
    setText(people, room.people ? String(room.people) : "");
    setText(badge, room.unread > 99 ? "99+" : room.unread ? String(room.unread) : "");
    badge.setAttribute("aria-hidden", "true");
    setText(said, [room.unread && t("rooms.unread", { n: room.unread }), t("rooms.people", { n: room.people })].filter(Boolean).join(", "));
    people.hidden = room.unread > 0 || !room.people;
    badge.hidden = !room.unread;
    button.title = t("rooms.people", { n: room.people });
    if (room === house.open) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  };

  for (const event of ["rooms", "open"]) house.addEventListener(event, show);
  languages.addEventListener("change", show);
  show();
}
