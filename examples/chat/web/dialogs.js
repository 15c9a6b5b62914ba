// The small dialogs with one field: asking, waiting for the server, and showing what it has against the answer.

import { h } from "./dom.js";
import { NAME_LENGTH } from "./events.js";
import { explain, quote } from "./i18n.js";

/** Open a dialog; `submit(text)` sends what was written, and the dialog closes when the server took it. */
export function ask(id, submit) {
  const dialog = document.getElementById(id);
  const form = dialog.querySelector("form");
  const problem = form.querySelector(".problem");
  const button = form.querySelector(".primary");
  form.reset();
  problem.replaceChildren();
  form.onsubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await submit(form.elements.text.value);
      dialog.close();
    } catch (error) {
      if (!error.code) throw error;
      problem.replaceChildren(
        h("p", {}, explain(error, { limit: NAME_LENGTH })),
        h("p", { class: "raw" }, quote(error)),
      );
    } finally {
      button.disabled = false;
    }
  };
  open(dialog);
}

/** Open a dialog that closes by its buttons, by Escape and by a click beside it. */
export function open(dialog) {
  for (const cancel of dialog.querySelectorAll("[data-cancel]")) cancel.onclick = () => dialog.close();
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  dialog.showModal();
}
