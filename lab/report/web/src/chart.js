// A figure over time: one canvas with the run's time axis, faults shaded and named, and the moment as a line.
//
// Owns the axis, pointer and cursor; `paint` of each figure draws its rows. A click goes to that moment.
import { sized } from "./cells.js";
import { fill, figure, h, short } from "./dom.js";
import { newSeries } from "./page.js";
import { colours } from "./palette.js";
import { hide, show } from "./tooltip.js";
import { clock } from "./words.js";

const TOP = 22, FOOT = 22, RIGHT = 10;
const TICKS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];

/** Left margin for names: the same in all charts of a page, so that moments stand above each other. */
export const left = (width) => (width < 560 ? 92 : 132);

function ticks(from, to, most) {
  const span = (to - from) / 1e9;
  let step = TICKS.find((each) => span / each <= most) ?? 7200 * Math.ceil(span / 7200 / most);
  if (span <= 2) step = 0.2;
  const found = [];
  for (let at = Math.ceil(from / 1e9 / step) * step; at <= to / 1e9 + 1e-9; at += step) found.push(at * 1e9);
  return found;
}

/**
 * `parts`: {collect(), ready(), height(width), paint(pen, axis), lines(t, y, axis), say()}; `collect` is called when there
 * is something else to show, `say` for each moment. `axis`: {left, width, x(t), top, height}.
 */
export function chart(page, options, parts) {
  const canvas = h("canvas", { role: "img" });
  const line = h("div", { class: "moment" });
  const names = h("div", { class: "faults" });
  const box = h("div", { class: "chart" }, canvas, names, line);
  const frame = figure(options, box, options.legend ?? null);
  frame.root.classList.add("wide");
  let axis = null, width = 0;

  function paint() {
    width = box.clientWidth;
    if (!width) return;
    const height = parts.height(width);
    const start = left(width), end = width - RIGHT, from = page.first, to = page.last;
    axis = { left: start, right: end, width: end - start, top: TOP, height, from, to,
      x: (t) => start + ((t - from) / (to - from)) * (end - start),
      t: (x) => from + ((x - start) / (end - start)) * (to - from) };
    const pen = sized(canvas, width, TOP + height + FOOT), colour = colours();
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.fillStyle = colour.muted;
    pen.textAlign = "center";
    for (const t of ticks(from, to, axis.width / 60)) {
      pen.fillRect(axis.x(t), TOP + height, 1, 4);
      pen.fillText(`${+(t / 1e9).toFixed(1)} s`, Math.min(axis.x(t), end - 12), TOP + height + 13);
    }
    pen.save();
    parts.paint(pen, axis);
    pen.restore();
    faults(pen, axis, colour);
  }
  function faults(pen, { x, height }, colour) {
    const links = [];
    let last = -Infinity;
    for (const fault of page.faults) {
      const end = fault.until;
      pen.fillStyle = fault.colour || colour.wrong;
      pen.globalAlpha = options.over ? 0.16 : 0;
      pen.fillRect(x(fault.start), TOP, x(end) - x(fault.start), height);
      pen.globalAlpha = 1;
      pen.fillRect(x(fault.start), TOP - 5, Math.max(2, x(end) - x(fault.start)), 3);
      pen.strokeStyle = colour.ink;
      pen.setLineDash([4, 3]);
      pen.lineWidth = 1;
      pen.beginPath();
      for (const t of fault.end === null ? [fault.start] : [fault.start, fault.end]) { pen.moveTo(x(t), TOP - 5); pen.lineTo(x(t), TOP + height); }
      pen.stroke();
      pen.setLineDash([]);
      if (x(fault.start) < last) continue;
      const label = short(fault.label, 34), at = Math.min(x(fault.start), width - 7 * label.length);
      last = at + 7 * label.length;
      links.push(h("a", { href: fault.step >= 0 ? `#step-${fault.step + 1}` : "#steps", style: `left:${Math.max(0, at)}px` }, h("bdi", {}, label)));
    }
    fill(names, links);
  }
  function move() {
    if (!axis) return;
    line.style.transform = `translateX(${axis.x(page.now)}px)`;
    line.style.height = `${axis.height + 10}px`;
  }
  const moment = (event) => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left;
    return axis && x >= axis.left && x <= axis.right ? [axis.t(x), event.clientY - box.top - TOP] : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = moment(event);
    if (!found) return hide();
    if (event.buttons & 1) page.setNow(found[0]);
    show([clock(found[0]), ...parts.lines(...found, axis)], event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", hide);
  canvas.addEventListener("pointerdown", (event) => {
    const found = moment(event);
    if (found) page.setNow(found[0]);
  });

  function draw(due) {
    if (newSeries(due)) parts.collect();
    frame.root.hidden = !parts.ready();
    if (frame.root.hidden) return;
    if (newSeries(due) || !axis) paint();
    move();
    const words = parts.say();
    frame.say.textContent = words;
    canvas.setAttribute("aria-label", `${options.title}. ${words}`);
    frame.refresh();
  }
  return { root: frame.root, draw, resize: () => draw() };
}
