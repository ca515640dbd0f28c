// Elements from words. Everything foreign passes through here as text, never as markup.

/** `h("p", {class: "x", onclick: f}, "text", child)`; null children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  fill(element, children);
  return element;
}

export function fill(element, children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A name from elsewhere: isolated, so that its direction of writing stays its own. */
export const name = (text, most = 40) =>
  h("bdi", text.length > most ? { title: text } : {}, short(text, most));

export const short = (text, most = 40) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Cut in the middle: numbers at the end of names tell them apart. */
export const brief = (text, most) => (text.length > most ? `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}` : text);

export function table(header, rows, caption) {
  return h("table", {},
    h("caption", { class: "off" }, caption),
    h("thead", {}, h("tr", {}, header.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))));
}

/** One figure: its frame, its sentence, and the same as a table for who cannot see it. */
export function figure({ id, title, caption, rows, csv }, ...content) {
  const say = h("p", { class: "say", "aria-live": "off" });
  const box = h("div", { class: "table scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` });
  const details = h("details", {
    ontoggle: () => details.open && fill(box, [rows()]),
  }, h("summary", {}, "As a table"), box);
  const root = h("section", { class: "figure", id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title),
    h("figure", {}, say, content, h("figcaption", {}, caption, " ", csv ? h("a", { href: csv }, "Data (CSV)") : null),
      rows ? details : null));
  return { root, say, refresh: () => rows && details.open && fill(box, [rows()]) };
}
