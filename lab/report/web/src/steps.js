// What was done, step by step: each has a button that goes to its moment, and is marked when it is the last one by then.
import { fill, h } from "./dom.js";
import { clock, span } from "./words.js";

export function steps(page) {
  const list = h("ol", { class: "steps" });
  const root = h("section", { class: "figure wide", id: "steps", "aria-labelledby": "steps-title" }, h("h2", { id: "steps-title" }, "What was done"), list);
  let items = [];

  const left = (t) => `${(100 * t) / page.last}%`;
  function build() {
    const named = new Set(), { faults } = page;
    items = page.history.steps.map((step) => {
      const interrupted = step.end === null && !step.lasts && !page.live && step.ok === null;
      const [mark, tone, word] = step.ok ? ["✓", "good", "done"] : step.ok === false ? ["✗", "bad", "failed"] : interrupted ? ["…", "plain-step", "not finished"] : ["•", "plain-step", ""];
      const lasted = step.end === null || step.end === step.start ? null : step.end - step.start;
      const took = step.lasts ? lasted : step.took ?? lasted; // the end of a fault says how long what it brings back took to start
      const id = step.number >= 0 && !named.has(step.number) ? `step-${step.number + 1}` : null;
      named.add(step.number);
      const end = step.end ?? (step.lasts || page.live ? page.last : step.start);
      const item = h("li", { id, class: tone },
        h("button", { type: "button", class: "t", onclick: () => page.setNow(step.start), "aria-label": `Go to ${clock(step.start)}` }, clock(step.start)),
        h("span", { class: "mark", title: word, role: "img", "aria-label": word || "step" }, mark),
        h("span", { class: "text" }, step.number >= 0 ? h("b", {}, `${step.number + 1}`) : null, " ",
          h("bdi", {}, step.asks && !step.text.startsWith(step.what) ? `${step.what} ${step.text}` : step.text),
          step.by ? h("small", {}, " by ", h("bdi", {}, step.by)) : null, step.error ? h("em", {}, h("bdi", {}, step.error)) : null),
        h("span", { class: "took" }, took !== null ? `${step.lasts ? "lasted " : ""}${span(took)}` : step.end === null && step.lasts ? (page.live ? "in force" : "to the end") : interrupted ? "not finished" : ""),
        h("span", { class: "track" }, faults.map((fault) => bar("band", fault.start, fault.until, fault.colour)), bar("bar", step.start, end)));
      return { step, item };
    });
    fill(list, items.map(({ item }) => item));
  }
  function bar(kind, from, to, colour = "") {
    const made = h("i", { class: kind });
    made.style.left = left(Math.min(from, page.last * 0.994));
    made.style.width = left(Math.max(0, Math.min(to, page.last) - from));
    if (colour) made.style.background = `${colour}33`;
    return made;
  }
  function draw(due) {
    if (!due || due.has("records")) build();
    root.hidden = !items.length;
    let current = null;
    for (const each of items) if (each.step.start <= page.now) current = each;
    for (const each of items) {
      each.item.classList.toggle("future", each.step.start > page.now);
      if (each === current) each.item.setAttribute("aria-current", "step");
      else each.item.removeAttribute("aria-current");
    }
  }
  return { root, draw };
}
