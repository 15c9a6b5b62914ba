// The log-in: a name, and what the server has against it.

import { h } from "./dom.js";
import { NAME_LENGTH } from "./events.js";
import { explain, languages, quote, t } from "./i18n.js";
import { logIn } from "./session.js";

const HEARD = new Set(["name_empty", "name_too_long", "name_unprintable", "name_taken", "unreachable"]);

/** Show the log-in; `refused` is why the server sent us here, if it did. */
export function showGate(refused, onLogIn) {
  const form = document.getElementById("login");
  const field = form.elements.name;
  const problem = document.getElementById("login-error");
  const button = form.querySelector("button");
  let error = refused;

  const show = () => {
    field.setAttribute("aria-invalid", Boolean(error));
    problem.replaceChildren(...(error ? describe(error, error === refused) : []));
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    button.textContent = t("login.entering");
    try {
      const session = await logIn(field.value);
      error = null;
      onLogIn(session);
    } catch (caught) {
      if (!caught.code) throw caught;
      error = caught;
      field.focus();
    } finally {
      button.disabled = false;
      button.textContent = t("login.enter");
      show();
    }
  });
  languages.addEventListener("change", show);

  if (refused?.name) field.value = refused.name;
  document.getElementById("gate").hidden = false;
  show();
  field.focus();
}

/** The reason in the reader's language; a refusal of the connection with the server's own words and code beside it. */
function describe(error, isRefusal) {
  const parts = [h("p", {}, isRefusal && !error.code ? t("login.refused") : explain(error, { limit: NAME_LENGTH }))];
  if (isRefusal || !HEARD.has(error.code)) {
    parts.push(h("p", { class: "raw" }, quote(error), error.code && h("code", {}, error.code)));
  }
  return parts;
}
