// The two buttons that switch the language, wherever the page has them.

import { h } from "./dom.js";
import { language, languages, speak } from "./i18n.js";

const NAMES = { ko: "한국어", en: "English" };

export function mountLanguages() {
  const buttons = [];
  for (const group of document.querySelectorAll(".languages")) {
    for (const [code, name] of Object.entries(NAMES)) {
      const button = h("button", { type: "button", class: "plain small", lang: code, onclick: () => speak(code) }, name);
      group.append(button);
      buttons.push(button);
    }
  }
  const show = () => buttons.forEach((button) => button.setAttribute("aria-pressed", button.lang === language));
  languages.addEventListener("change", show);
  show();
}
