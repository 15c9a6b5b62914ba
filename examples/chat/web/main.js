// Where the page starts: the log-in, or the house.

import { mountBanner } from "./banner-view.js";
import { mountBell } from "./bell-view.js";
import { mountComposer } from "./composer.js";
import { Connection } from "./connection.js";
import { setText } from "./dom.js";
import { mountDrawers } from "./drawers.js";
import { House } from "./house.js";
import { language, languages, speak, t } from "./i18n.js";
import { mountLanguages } from "./languages.js";
import { showGate } from "./login-view.js";
import { Notifications } from "./notifications.js";
import { mountPeople } from "./people-view.js";
import { mountRooms } from "./rooms-view.js";
import * as session from "./session.js";
import { mountTalk } from "./talk-view.js";
import { toast } from "./toasts.js";

const REFUSED = "madang.refused";

mountLanguages();
speak(language);
session.onOtherTab(() => location.reload());

const known = session.current();
if (known) comeIn(known);
else welcome();

function welcome() {
  const refused = JSON.parse(sessionStorage.getItem(REFUSED));
  sessionStorage.removeItem(REFUSED);
  document.title = t("title");
  showGate(refused, comeIn);
}

/** Out of the house, back to the log-in, with the reason if there is one. The reload leaves nothing behind. */
function goOut(connection, refused = null) {
  connection.close();
  session.forget();
  if (refused) sessionStorage.setItem(REFUSED, JSON.stringify(refused));
  location.reload();
}

function comeIn({ token, user }) {
  const connection = new Connection(token);
  const house = new House(connection, user);
  const notifications = new Notifications(connection);

  mountDrawers();
  mountBanner(connection, house, user);
  mountRooms(house);
  mountTalk(house, connection);
  mountComposer(house);
  mountPeople(house, notifications);
  mountBell(notifications);

  const toasts = [];
  notifications.addEventListener("arrived", ({ detail: { sender, text } }) => {
    toasts.push(toast(t("bell.from", { name: sender.name }), text, () => document.getElementById("bell").click()));
  });
  notifications.addEventListener("change", () => {
    if (!notifications.unread) for (const close of toasts.splice(0)) close();
  });
  const title = () => {
    const waiting = house.unread + notifications.unread;
    document.title = waiting ? `(${waiting}) ${t("title")}` : t("title");
  };
  house.addEventListener("rooms", title);
  notifications.addEventListener("change", title);
  languages.addEventListener("change", title);

  connection.addEventListener("status", () => {
    const { state, code, message } = connection.status;
    if (state === "refused") goOut(connection, { code, message, name: user.name });
  });
  document.getElementById("logout").addEventListener("click", () => goOut(connection));

  setText(document.getElementById("me-name"), user.name);
  document.getElementById("gate").hidden = true;
  document.getElementById("house").hidden = false;
  title();
  connection.open();
}
