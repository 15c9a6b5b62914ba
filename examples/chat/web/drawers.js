// On small screens the two side panels are drawers over the conversation.

import { icon } from "./dom.js";

export function mountDrawers() {
  const scrim = document.getElementById("scrim");
  const openers = [...document.querySelectorAll("[data-opens]")];
  for (const opener of openers) opener.addEventListener("click", () => openDrawer(opener.dataset.opens));
  for (const closer of document.querySelectorAll("[data-closes]")) {
    closer.append(icon("close"));
    closer.addEventListener("click", closeDrawers);
  }
  scrim.addEventListener("click", closeDrawers);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeDrawers();
  });
  // Wide enough for both: nothing is a drawer any more.
  matchMedia("(min-width: 1060px)").addEventListener("change", closeDrawers);
}

function openDrawer(id) {
  closeDrawers();
  const drawer = document.getElementById(id);
  drawer.classList.add("open");
  document.querySelector(`[data-opens="${id}"]`).setAttribute("aria-expanded", "true");
  document.getElementById("scrim").hidden = false;
  document.querySelector(".talk").inert = true;
  drawer.querySelector("[data-closes]").focus();
}

export function closeDrawers() {
  for (const drawer of document.querySelectorAll(".panel.open")) {
    drawer.classList.remove("open");
    document.querySelector(".talk").inert = false;
    const opener = document.querySelector(`[data-opens="${drawer.id}"]`);
    opener.setAttribute("aria-expanded", "false");
    if (drawer.contains(document.activeElement)) opener.focus();
  }
  document.getElementById("scrim").hidden = true;
}
