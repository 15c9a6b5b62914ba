// Short words in the corner that go by themselves, but not while somebody points at them.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

const SHOWN = 7000;
const MOST = 4;

/** Show a toast; a click on it does `onOpen`, if there is one. Returns what takes it away again. */
export function toast(heading, text = "", onOpen = null) {
  const toasts = document.getElementById("toasts");
  let timer;
  const close = () => {
    clearTimeout(timer);
    element.remove();
  };
  const content = [h("strong", {}, heading), text && h("span", { class: "toast-text" }, text)];
  const body = onOpen
    ? h("button", { class: "plain toast-body", onclick: () => (close(), onOpen()) }, ...content)
    : h("div", { class: "toast-body" }, ...content);
  const element = h(
    "div",
    { class: "toast" },
    icon(onOpen ? "bell" : "check"),
    body,
    h("button", { class: "plain icon-button", "aria-label": t("dialog.close"), onclick: close }, icon("close")),
  );
  const wait = () => {
    timer = setTimeout(close, SHOWN);
  };
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => clearTimeout(timer));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, wait);
  toasts.append(element);
  while (toasts.children.length > MOST) toasts.firstElementChild.remove();
  wait();
  return close;
}
