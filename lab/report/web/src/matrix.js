// Who reaches whom at the moment: a cell per pair of containers, source to the left, target on top.
import { cell, sized } from "./cells.js";
import { brief, figure, h, name, short, table } from "./dom.js";
import { CUT, LEAKED, MISSED, NOTHING, REACHED, WORDS } from "./model.js";
import { newSeries } from "./page.js";
import { colours } from "./palette.js";
import { hide, show } from "./tooltip.js";
import { clock, count, natural, span } from "./words.js";

const LETTERS = 14; // most letters of a name at the edge
const READABLE = 11; // pixels of a cell from which names stand at the edge

export function matrix(page) {
  const canvas = h("canvas", { tabindex: "0", role: "img", "aria-describedby": "matrix-keys" });
  const scroll = h("div", { class: "scroll matrix" }, canvas);
  const zoom = h("input", { type: "range", min: 0, max: 100, value: 0, "aria-label": "Zoom of the matrix", oninput: () => draw() });
  const key = legend();
  const frame = figure({
    id: "matrix", title: "Who reaches whom", rows,
    caption: "Each cell is the last try of one pair by then, source to the left, target on top. Arrow keys move between cells.",
  }, h("label", { class: "zoom" }, "zoom ", zoom), scroll, key);
  let names = [], cells = new Map(), size = 20, edge = 90, focus = null;

  function collect() {
    const shown = page.shownPairs();
    names = [...new Set(shown.flatMap((each) => [each.source, each.target]))].sort(natural);
    cells = new Map(shown.map((each) => [`${each.source}\n${each.target}`, each]));
  }
  function at(column, row) {
    const series = cells.get(`${names[row]}\n${names[column]}`);
    return series ? { series, pair: page.view.pairs[series.i] } : null;
  }
  function lines(column, row) {
    const found = at(column, row);
    if (!found) return names[row] === names[column] ? [names[row], hostOf(names[row])] : [`${names[row]} → ${names[column]}`, "not asked"];
    const { pair } = found;
    return [`${short(names[row], 60)} → ${short(names[column], 60)}`, `${hostOf(names[row])} → ${hostOf(names[column])}`,
      WORDS[pair.state] + (pair.state === REACHED && pair.latency ? ` in ${span(pair.latency * 1e3)}` : ""),
      pair.t === null ? null : `tried at ${clock(pair.t)}`];
  }
  const hostOf = (replica) => (page.view.replicas[replica] ? `on ${short(page.view.replicas[replica], 40)}` : "not running");

  function draw(due) {
    if (newSeries(due)) collect();
    frame.root.hidden = !names.length;
    if (!names.length) return;
    const room = scroll.clientWidth || 320;
    edge = Math.min(110, 12 + 6.2 * Math.min(LETTERS, Math.max(...names.map((each) => each.length))));
    let fit = Math.min(34, (room - edge - 4) / names.length);
    if (fit < READABLE) fit = Math.max(4, Math.min(READABLE - 1, (room - 12) / names.length)); // without names there is more room
    size = Math.floor(fit + (Math.max(30, fit) - fit) * (zoom.valueAsNumber / 100));
    const labelled = size >= READABLE;
    if (!labelled) edge = 8;
    const side = edge + size * names.length + 2;
    const pen = sized(canvas, side, side), colour = colours();
    pen.font = `${Math.min(12, Math.max(9, size - 2))}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    const gap = size > 8 ? 1 : 0.5;
    const tally = [0, 0, 0, 0, 0, 0];
    for (let row = 0; row < names.length; row++) {
      if (labelled) {
        pen.fillStyle = names[row] in page.view.replicas ? colour.ink : colour.muted;
        const text = brief(names[row], LETTERS);
        pen.textAlign = "right";
        pen.fillText(text, edge - 5, edge + size * (row + 0.5));
        pen.save();
        pen.translate(edge + size * (row + 0.5), edge - 5);
        pen.rotate(-Math.PI / 2);
        pen.textAlign = "left";
        pen.fillText(text, 0, 0);
        pen.restore();
      }
      for (let column = 0; column < names.length; column++) {
        const found = at(column, row);
        if (!found) continue;
        tally[found.pair.state]++;
        cell(pen, found.pair.state, edge + column * size + gap, edge + row * size + gap, size - 2 * gap, size - 2 * gap);
      }
    }
    if (focus) {
      pen.strokeStyle = colour.ink;
      pen.lineWidth = 2;
      pen.strokeRect(edge + focus[0] * size, edge + focus[1] * size, size, size);
    }
    const words = sentence(tally);
    frame.say.textContent = words;
    canvas.setAttribute("aria-label", `Matrix of ${count(names.length, "container")}. ${words}`);
    frame.refresh();
  }
  function sentence(tally) {
    const asked = tally.reduce((sum, each) => sum + each, 0) - tally[NOTHING];
    if (!asked) return "No pair has been tried in time.";
    const parts = [`${tally[REACHED]} of ${count(asked, "pair")} reached`];
    if (tally[CUT]) parts.push(`${tally[CUT]} not, as expected`);
    if (tally[MISSED]) parts.push(`${tally[MISSED]} not, unexpectedly`);
    if (tally[LEAKED]) parts.push(`${tally[LEAKED]} reached across a cut`);
    return `${parts.join(", ")}.`;
  }
  function rows() {
    const all = [...cells.values()].map((series) => ({ series, pair: page.view.pairs[series.i] }));
    return table(["from", "to", "state", "answer in", "tried at"],
      all.slice(0, 2000).map(({ series, pair }) => [name(series.source), name(series.target), WORDS[pair.state],
        pair.latency ? span(pair.latency * 1e3) : "", pair.t === null ? "" : clock(pair.t)]),
      `Pairs at ${clock(page.now)}`);
  }
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - edge) / size), row = Math.floor((event.clientY - box.top - edge) / size);
    return column >= 0 && row >= 0 && column < names.length && row < names.length ? [column, row] : null;
  }
  canvas.addEventListener("pointermove", (event) => {
    const found = place(event);
    if (found) show(lines(...found), event.clientX, event.clientY);
    else hide();
  });
  canvas.addEventListener("pointerleave", hide);
  canvas.addEventListener("blur", () => { focus = null; hide(); draw(); });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const [column, row] = focus ?? [-way[0], -way[1]];
    const within = (value) => Math.max(0, Math.min(names.length - 1, value));
    focus = [within(column + way[0]), within(row + way[1])];
    draw();
    const box = canvas.getBoundingClientRect();
    const said = lines(...focus);
    show(said, box.left + edge + focus[0] * size, box.top + edge + focus[1] * size);
    frame.say.textContent = said.filter(Boolean).join(", ");
    frame.say.setAttribute("aria-live", "polite");
  });
  return { root: frame.root, draw, resize: () => draw(), recolour: key.redraw };
}

/** What the cells mean; drawn with the same pen as the cells. */
export function legend(states = [REACHED, CUT, MISSED, LEAKED, NOTHING], words = {}) {
  const items = states.map((state) => {
    const canvas = h("canvas", { "aria-hidden": "true" });
    return { state, canvas, item: h("li", {}, canvas, " ", words[state] ?? WORDS[state]) };
  });
  const root = h("ul", { class: "legend" }, items.map(({ item }) => item));
  root.redraw = () => items.forEach(({ state, canvas }) => cell(sized(canvas, 14, 14), state, 1, 1, 12, 12));
  queueMicrotask(root.redraw);
  return root;
}
