// Colours, as the style sheet has them in light and dark, and what tells states apart without colour.
import { CUT, LEAKED, MISSED, NOTHING, REACHED, WRONG } from "./model.js";

export const GROUPS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#999999"];

/** Forms of groups, for who cannot tell the colours. */
export const FORMS = ["ellipse", "round-rectangle", "diamond", "hexagon", "triangle", "octagon", "star", "pentagon"];

const names = ["ink", "muted", "line", "paper", "card", "accent", "reached", "missed", "leaked", "wrong", "cut", "nothing"];
let known = null;

export function colours() {
  if (known) return known;
  const style = getComputedStyle(document.documentElement);
  known = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim() || "#888"]));
  known.state = { [NOTHING]: known.nothing, [MISSED]: known.missed, [REACHED]: known.reached, [LEAKED]: known.leaked, [WRONG]: known.wrong, [CUT]: known.cut };
  known.line99 = ["--p50", "--p95", "--p99"].map((name) => style.getPropertyValue(name).trim() || "#0072b2");
  return known;
}

/** Calls back when the reader turns to dark or light. */
export function onScheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    known = null;
    redraw();
  });
}
