// Making and updating elements, without a framework.

/** Make an element: attributes (on… are listeners, false and null are left out), then children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false && child !== ""));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A drawing from icons.svg; it only accompanies text or a label, so it is hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * Make the children of `parent` show `items`, in order. Elements are kept by key, so focus and scroll stay, and a screen
 * reader hears only what is new. `update` returns the element's new content, or nothing if it changed the element itself.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const kept = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = kept.get(key);
    kept.delete(key);
    if (!element) {
      element = create(item);
      element.dataset.key = key;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    update(element, item);
  }
  for (const element of kept.values()) element.remove();
}

/** Set a text only if it differs, so that live regions are not announced again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const LINK = /(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/g;

/** The text as nodes, with web addresses as links. */
export function linked(text) {
  return text.split(LINK).map((part, index) =>
    index % 2 ? h("a", { href: part, target: "_blank", rel: "noopener noreferrer nofollow" }, part) : part,
  );
}

/** The round mark of a person: the first character of the name, in a colour of their own. */
export function avatar(user) {
  const [initial] = new Intl.Segmenter().segment(user.name);
  let sum = 0;
  for (const character of user.id) sum = (sum * 31 + character.codePointAt(0)) % 997;
  return h("span", { class: `avatar tint-${sum % 8}`, "aria-hidden": "true" }, initial.segment.toUpperCase());
}
