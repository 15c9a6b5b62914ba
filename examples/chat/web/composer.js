// Where messages are written.

import { icon } from "./dom.js";
import { TEXT_LENGTH } from "./events.js";
import { languages, t } from "./i18n.js";
import { nameOf } from "./rooms-view.js";

const COUNT_FROM = 100;

export function mountComposer(house) {
  const form = document.getElementById("composer");
  const field = document.getElementById("text");
  const count = document.getElementById("compose-count");
  const send = form.querySelector("button");
  const drafts = new Map();
  let roomId = null;
  send.append(icon("send"));

  const measure = () => {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + 2}px`;
    const left = TEXT_LENGTH - [...field.value].length;
    count.textContent = left < 0 ? t("compose.over", { n: -left }) : left <= COUNT_FROM ? t("compose.left", { n: left }) : "";
    count.classList.toggle("over", left < 0);
    send.disabled = !field.value.trim();
  };

  const show = () => {
    const room = house.open;
    form.hidden = !room;
    if (room) field.placeholder = t("compose.placeholder", { room: nameOf(room) });
    if (room?.id !== roomId) {
      drafts.set(roomId, field.value);
      roomId = room?.id ?? null;
      field.value = drafts.get(roomId) ?? "";
    }
    measure();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    house.say(text);
    field.value = "";
    measure();
    field.focus();
  });
  field.addEventListener("input", () => {
    measure();
    if (field.value.trim()) house.typing();
  });
  field.addEventListener("keydown", (event) => {
    // While a Hangul syllable is being composed, Enter belongs to it. On a touch keyboard, Enter is a new line.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    form.requestSubmit();
  });
  house.addEventListener("open", () => {
    show();
    if (!matchMedia("(pointer: coarse)").matches) field.focus();
  });
  languages.addEventListener("change", show);
  show();
}
