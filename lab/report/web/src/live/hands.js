// Hands on the page of a running lab: buttons, forms, a line through the cables, faults in force, undo, save.
//
// Owns what the user sees of it. Every move is one step as a scenario has it; the lab takes it or refuses it in its
// own words. Which verbs there are, and what they ask for, comes from the server.
import { fill, h, name, short } from "../dom.js";
import { natural, span } from "../words.js";
import { ask, call } from "./ask.js";
import { bothWays, cutBy } from "./cut.js";
import { dragLine } from "./drag.js";
import { closeDialog, dialog, fields } from "./form.js";
import { duration, onOne, onTwo } from "./moves.js";

const KEPT = 40; // messages that are shown

export function hands(page, about) {
  const may = about.may === "change", verbs = about.verbs ?? [], running = verbs.filter((verb) => !verb.setup);
  let state = { faults: [], moves: 0, now: 0 }, told = performance.now();

  // What is said
  const refusal = h("p", { class: "refusal", role: "alert" });
  const done = h("p", { class: "done", role: "status" });
  const say = (text) => { refusal.textContent = ""; done.textContent = short(text, 400); };
  const refuse = (error) => { done.textContent = ""; refusal.textContent = short(String(error.message ?? error), 1200); };

  // Moves
  async function move(step, lease = null) {
    const verb = Object.keys(step)[0];
    say(`${verb} …`);
    try {
      const { event, meanwhile } = await ask("/step", { step, lease, seen: state.moves });
      outcome(event);
      for (const other of meanwhile ?? []) done.textContent += ` · meanwhile ${other.by}: ${other.label}`;
      return event;
    } catch (error) {
      refuse(error);
      throw error;
    }
  }
  page.onMove = may ? move : null;
  const outcome = (event, before = "") => {
    const detail = event.detail ?? {};
    if (event.ok === false) refuse(new Error(`${detail.label ?? event.what} failed: ${detail.error ?? ""}`));
    else say(`${before}${detail.label ?? event.what}`);
  };
  const lasting = () => duration(leased.value);
  const quiet = (promise) => promise.catch(() => {}); // a refusal is said already
  async function moveAll(steps) {
    for (const step of steps) await move(step, lasting());
  }
  async function undo(step = null) {
    try {
      const { index, event } = await ask("/undo", { step });
      outcome(event, event.step === index ? "ended: " : "done to undo it: ");
    } catch (error) {
      refuse(error);
    }
  }
  async function save() {
    try {
      const blob = await (await call("/scenario")).blob();
      const link = h("a", { href: URL.createObjectURL(blob), download: `${page.history.meta.scenario || "session"}-by-hand.yaml` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1e4);
      say("the session is saved as a scenario");
    } catch (error) {
      refuse(error);
    }
  }

  // Forms
  const known = () => ({ hosts: page.view.hosts.map((host) => host.name), services: page.history.services.sort(natural) });
  function open(verb, given = {}) {
    const form = fields(verb.fields, known(), given);
    const ends = verb.lasts ? h("input", { type: "text", id: "move-lease", value: leased.value, placeholder: "until healed", autocomplete: "off" }) : null;
    const wrong = h("p", { class: "refusal", role: "alert" });
    const go = async (event) => {
      event.preventDefault();
      wrong.textContent = "";
      try {
        await move({ [verb.verb]: form.value() }, ends ? duration(ends.value) : null);
        box.close();
      } catch (error) {
        wrong.textContent = short(String(error.message), 1200);
      }
    };
    const box = dialog(verb.verb, h("p", { class: "about" }, verb.about), h("form", { onsubmit: go, novalidate: true }, form.root,
      ends ? h("div", { class: "field" }, h("label", { for: "move-lease" }, "ends by itself after"), ends) : null, wrong,
      h("div", { class: "line" }, h("button", { type: "submit", class: "go" }, `Do it: ${verb.verb}`), h("button", { type: "button", onclick: () => box.close() }, "Cancel"))));
  }
  const can = (which) => which.map(({ verb, given, label, atOnce }) => h("button", {
    type: "button", onclick: () => {
      if (!atOnce) return open(verb, given);
      closeDialog();
      quiet(move({ [verb.verb]: given }, verb.lasts ? lasting() : null));
    },
  }, atOnce ? label : `${label} …`));
  function openHost(host) {
    const seen = page.view.hosts.find((each) => each.name === host);
    const log = h("pre", { class: "log", tabindex: "0", "aria-label": `End of the daemon's log on ${host}` });
    const read = async () => {
      log.textContent = "…";
      try { log.textContent = (await ask(`/log/${encodeURIComponent(host)}`)).log || "the log is empty"; } catch (error) { log.textContent = error.message; }
    };
    const containers = (seen?.containers ?? []).map((each) => each.name).sort(natural);
    dialog(h("bdi", {}, host), may ? h("div", { class: "line moves" }, can(onOne(running, "host", host))) : null,
      may && containers.length ? containers.map((each) => h("details", {}, h("summary", {}, "container ", name(each)),
        h("div", { class: "line moves" }, can(onOne(running, "service", each))))) : null,
      h("details", { ontoggle: (event) => event.target.open && read() }, h("summary", {}, "End of the daemon's log"), log));
  }
  function openLink(one, other) {
    dialog(`${one} ↔ ${other}`, h("div", { class: "line moves" },
      h("button", { type: "button", onclick: () => { closeDialog(); quiet(moveAll(cable(one, other))); } }, "cut this cable"),
      can(onTwo(running, one, other))));
  }
  const cable = (one, other) => page.view.hosts.length === 2 ? [{ partition: { groups: [[one], [other]] } }] : bothWays([one], [other]);
  function openAll() {
    dialog("Verbs", h("ul", { class: "verbs" }, verbs.map((verb) => h("li", {},
      h("button", { type: "button", onclick: () => open(verb) }, verb.verb), " ", h("span", {}, verb.about)))));
  }

  // The bar
  const leased = h("select", { id: "lease", "aria-label": "Faults end by themselves after" },
    [["", "until healed"], ["10s", "10 s"], ["30s", "30 s"], ["1m", "1 min"], ["5m", "5 min"]].map(([value, text]) => h("option", { value }, text)));
  const button = (text, key, what, title) => h("button", { type: "button", onclick: what, title: `${title} (key ${key})`, "aria-keyshortcuts": key, "data-move": text }, text);
  const partition = verbs.find((verb) => verb.verb === "partition");
  const bar = may ? h("div", { class: "line" },
    partition ? button("Cut", "c", () => open(partition), "Part hosts; or drag a line through the cables") : null,
    button("Verbs", "v", openAll, "Everything that can be done"),
    button("Undo", "u", () => undo(), "Take back the last move that is still in force"),
    button("Save", "s", save, "This session as a scenario that plays it again"),
    h("label", {}, "faults last ", leased),
    h("span", { class: "hint" }, "Drag a line through the cables to cut them; click a host or a cable.")) : h("p", { class: "hint" }, "You look on: this address changes nothing in the lab.");
  const link = h("span", { class: "link", role: "status" });
  const faults = h("ul", { class: "faults", "aria-label": "Faults in force" });
  fill(document.getElementById("hands"), [bar, h("div", { class: "line" }, link, faults), refusal, done]);

  const keys = { c: () => partition && open(partition), v: openAll, u: () => undo(), s: save };
  if (may) addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range") return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  let shown = "";
  function left() {
    const now = state.now + (performance.now() - told) * 1e6;
    for (const item of faults.children) {
      const until = Number(item.dataset.until);
      item.querySelector(".left").textContent = until ? `${span(Math.max(0, until - now)).replace(/\.\d+/, "")} left` : "until healed";
    }
  }
  function onState(next) {
    state = next;
    told = performance.now();
    const made = JSON.stringify(state.faults);
    if (made !== shown) {
      shown = made;
      fill(faults, state.faults.map((fault) => h("li", { "data-until": fault.until ?? "" }, name(fault.label, 60), " ", h("span", { class: "left" }),
        fault.by ? [" by ", name(fault.by, 24)] : null,
        may ? h("button", { type: "button", "aria-label": `Heal ${fault.label}`, onclick: () => undo(fault.step) }, "Heal") : null)));
    }
    left();
  }
  setInterval(left, 500);

  // Messages
  const list = h("ol", { class: "messages", tabindex: "0", role: "log", "aria-label": "Messages" });
  const messages = h("section", { class: "figure wide", id: "messages", "aria-labelledby": "messages-title" }, h("h2", { id: "messages-title" }, "Messages"), h("figure", {}, list,
    h("figcaption", {}, "What was done in the lab, by whom, and what became of it; the newest first. The daemons' own logs open with a click on a host.")));
  document.querySelector("#app .figures")?.append(messages);
  let count = -1;
  page.on("draw", () => {
    const events = page.history.events;
    if (events.length === count) return;
    count = events.length;
    fill(list, events.slice(-KEPT).reverse().filter((event) => event.phase !== "start" || event.lasts).map((event) =>
      h("li", { class: event.ok === false ? "bad" : null }, h("time", {}, `${(event.t / 1e9).toFixed(1)} s`), " ", h("bdi", {}, short(event.label ?? event.what, 120)),
        event.ok === false ? " failed" : null, event.error ? [": ", h("bdi", {}, short(event.error, 300))] : null, event.by ? [" (", name(event.by, 24), ")"] : null)));
  });

  // The picture
  page.on("host", openHost);
  function onTopology({ cy, canvas }) {
    cy.on("tap", "edge.link", (event) => may && openLink(event.target.data("one"), event.target.data("other")));
    if (!may) return;
    cy.userPanningEnabled(false);
    if (canvas.dataset.cuts) return;
    canvas.dataset.cuts = "yes";
    const places = () => page.topology.cy.nodes(".host").map((node) => ({ name: node.data("host"), x: node.renderedPosition("x"), y: node.renderedPosition("y") }));
    const marked = (pairs) => {
      const cut = new Set(pairs.flatMap(([one, other]) => [`l:${one.name}\n${other.name}`, `l:${other.name}\n${one.name}`]));
      page.topology.cy.edges(".link").forEach((edge) => { if (cut.has(edge.id())) edge.style("line-color", "#d55e00"); else edge.removeStyle("line-color"); });
    };
    dragLine(canvas, {
      begins: (x, y) => page.topology.hostAt(x, y) === null,
      along: (a, b) => { const cut = cutBy(a, b, places()); marked(cut.pairs); done.textContent = cut.pairs.length ? `cuts ${cut.words}` : ""; },
      cancelled: () => { marked([]); done.textContent = ""; },
      done: (a, b) => {
        const cut = cutBy(a, b, places());
        marked([]);
        if (cut.steps.length) quiet(moveAll(cut.steps));
        else say(cut.words);
      },
    });
  }
  page.on("topology", onTopology);
  if (page.topology) onTopology(page.topology);

  return { onState, link: (text, bad) => { link.textContent = text; link.className = bad ? "link bad" : "link"; } };
}
