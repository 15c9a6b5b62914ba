// How the connection stands: a line over the conversation when there is something to say, a mark beside our name always.

import { avatar, h, setText } from "./dom.js";
import { languages, t } from "./i18n.js";

const BACK_SHOWN = 5000;
const BUSY = new Set(["connecting", "reconnecting"]);

export function mountBanner(connection, house, me) {
  const banner = document.getElementById("banner");
  const mark = document.getElementById("connection");
  const retry = h("button", { class: "plain small", onclick: () => connection.retry() });
  const words = h("span", { class: "banner-words" });
  const spinner = h("span", { class: "spinner", "aria-hidden": "true" });
  banner.append(spinner, words, retry);
  document.getElementById("me-avatar").replaceWith(avatar(me));

  let missed = null;
  let hide;

  const show = () => {
    const { state } = connection.status;
    const text = describe(connection.status, house, missed);
    banner.hidden = !text;
    banner.dataset.state = state;
    setText(words, text);
    spinner.hidden = !BUSY.has(state);
    retry.hidden = state === "connected" || state === "connecting";
    setText(retry, t("status.retry"));
    mark.dataset.state = state;
    setText(mark, brief(connection.status));
  };

  connection.addEventListener("status", () => {
    if (!connection.connected) missed = null;
    show();
  });
  house.addEventListener("back", ({ detail }) => {
    missed = detail;
    show();
    clearTimeout(hide);
    hide = setTimeout(() => {
      missed = null;
      show();
    }, BACK_SHOWN);
  });
  house.addEventListener("talk", show);
  languages.addEventListener("change", show);
  show();
}

function describe(status, house, missed) {
  if (status.state === "connected") {
    if (missed === null) return "";
    return missed ? `${t("status.back")} ${t("status.missed", { n: missed })}` : t("status.back");
  }
  const parts = [t(`status.${status.state}`)];
  if (status.attempt) parts.push(`(${t("status.attempt", { n: status.attempt })})`);
  const queued = house.outbox.queued.length;
  if (queued) parts.push(t("status.queued", { n: queued }));
  return parts.join(" ");
}

function brief({ state, transport }) {
  if (state === "connected") return `${t("status.connected")} · ${transport === "websocket" ? "WebSocket" : "HTTP polling"}`;
  return t(`status.short.${state}`);
}
