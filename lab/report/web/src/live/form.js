// Forms of verbs, drawn from what `lab/watch/forms.py` says of them. Knows no verb.
import { fill, h, name } from "../dom.js";

const LADDERS = {
  duration: ["0s", "1ms", "2ms", "5ms", "10ms", "20ms", "50ms", "100ms", "200ms", "500ms", "1s", "2s", "5s", "10s"],
  percentage: ["0%", "0.1%", "0.5%", "1%", "2%", "5%", "10%", "20%", "30%", "50%", "75%", "100%"],
  rate: ["64kbit", "128kbit", "256kbit", "512kbit", "1mbit", "2mbit", "5mbit", "10mbit", "20mbit", "50mbit", "100mbit", "1gbit"],
};
const LETTERS = "ABCDEFGH";
let count = 0;

/** {root, value()}: the fields of a verb; `known` is {hosts, services}, `given` what is filled in already. */
export function fields(list, known, given = {}) {
  const made = list.map((field) => ({ field, ...input(field, known, given[field.key]) }));
  return {
    root: h("div", { class: "fields" }, made.map((each) => each.root)),
    value() {
      const found = {};
      for (const { field, value } of made) {
        const said = value();
        if (said !== undefined) found[field.key] = said;
      }
      return "" in found ? found[""] : found;
    },
  };
}

/** One field with what it means. */
function input(field, known, given) {
  const made = control(field, known, given);
  if (field.about) made.root.append(h("small", { class: "about" }, field.about));
  return made;
}

function control(field, known, given) {
  const id = `field-${++count}`, start = given ?? "";
  const label = h("label", { for: id }, field.key || "value", field.required ? h("span", { class: "needed" }, " needed") : null);
  const row = (control, ...more) => h("div", { class: "field" }, label, control, more);
  switch (field.kind) {
    case "host": case "service": case "choice": {
      const choices = { host: known.hosts, service: known.services, choice: field.choices }[field.kind];
      const select = h("select", { id }, h("option", { value: "" }, "–"), choices.map((each) => h("option", { value: each }, each)));
      select.value = start;
      return { root: row(select), value: () => select.value || undefined };
    }
    case "hosts": case "services": {
      const names = field.kind === "hosts" ? known.hosts : known.services, chosen = new Set([start].flat());
      const boxes = names.map((each) => h("input", { type: "checkbox", value: each, checked: chosen.has(each) }));
      const root = h("fieldset", { class: "field" }, h("legend", {}, field.key, field.required ? h("span", { class: "needed" }, " needed") : null),
        boxes.map((box) => h("label", { class: "box" }, box, name(box.value, 24))));
      return { root, value: () => { const all = boxes.filter((box) => box.checked).map((box) => box.value); return all.length ? all : undefined; } };
    }
    case "groups": {
      const chosen = new Map((given ?? []).flatMap((group, index) => group.map((each) => [each, LETTERS[index]])));
      const selects = known.hosts.map((host) => {
        const select = h("select", { "aria-label": `group of ${host}` }, h("option", { value: "" }, "rest"), [...LETTERS].map((letter) => h("option", { value: letter }, letter)));
        select.value = chosen.get(host) ?? "";
        return { host, select };
      });
      const root = h("fieldset", { class: "field" }, h("legend", {}, field.key),
        selects.map(({ host, select }) => h("label", { class: "box" }, select, " ", name(host, 24))));
      return { root, value() {
        const groups = [...LETTERS].map((letter) => selects.filter((each) => each.select.value === letter).map((each) => each.host)).filter((group) => group.length);
        return groups.length ? groups : undefined;
      } };
    }
    case "switch": {
      const box = h("input", { type: "checkbox", id, checked: !!given });
      return { root: row(box), value: () => box.checked || undefined };
    }
    case "number": {
      const box = h("input", { type: "number", id, step: "any", min: field.least, max: field.most, value: start });
      return { root: row(box), value: () => (box.value === "" ? undefined : box.valueAsNumber) };
    }
    case "part": {
      const inner = fields(field.required ? field.fields : field.fields.map((each) => ({ ...each, required: false })), known, given);
      return { root: h("fieldset", { class: "field" }, h("legend", {}, field.key), inner.root),
        value: () => { const said = inner.value(); return Object.keys(said).length ? said : undefined; } };
    }
    default: return text(field, id, row, start);
  }
}

/** One line of text, with a slider where there is an order of sensible values. */
function text(field, id, row, given) {
  const box = h("input", { type: "text", id, value: given, placeholder: field.example ?? "", autocomplete: "off", spellcheck: "false" });
  const ladder = LADDERS[field.kind];
  const slider = ladder && h("input", {
    type: "range", min: 0, max: ladder.length - 1, value: Math.max(0, ladder.indexOf(given)), "aria-label": `${field.key}, slider`,
    oninput: () => { box.value = ladder[slider.valueAsNumber]; slider.setAttribute("aria-valuetext", box.value); },
  });
  return { root: row(box, slider), value: () => meant(box.value.trim()) };
}

/** Text as it stands, but for what is written as JSON: a list or a mapping. */
function meant(said) {
  if (!said) return undefined;
  if (!/^[[{]/.test(said)) return said;
  try {
    return JSON.parse(said);
  } catch {
    return said;
  }
}

export const closeDialog = () => document.querySelector("dialog.move")?.close();

/** A dialog with a title, in place of the one that is open; closes with Escape. */
export function dialog(title, ...content) {
  closeDialog();
  const before = document.activeElement;
  const box = h("dialog", { class: "move", "aria-labelledby": "move-title", onclose: () => { box.remove(); before?.focus?.(); } },
    h("h2", { id: "move-title" }, title), h("div", { class: "content" }));
  fill(box.lastChild, content);
  document.body.append(box);
  box.showModal();
  return box;
}
