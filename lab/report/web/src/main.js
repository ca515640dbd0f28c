// The page of a run: reads its data, puts the figures together, moves them to one moment. `window.labPage` is the page.
import "uplot/dist/uPlot.min.css";
import "./page.css";

import { h } from "./dom.js";
import { start as startLive } from "./live.js";
import { latency } from "./latency.js";
import { matrix } from "./matrix.js";
import { Page } from "./page.js";
import { onScheme } from "./palette.js";
import { ring } from "./ring.js";
import { steps } from "./steps.js";
import { strips } from "./strips.js";
import { timebar } from "./timebar.js";
import { topology } from "./topology.js";

export function mount(root, data) {
  const page = new Page(data);
  const bar = timebar(page);
  const parts = [topology(page), matrix(page), strips(page), steps(page), latency(page), strips(page, { names: true }), ring(page)];
  root.replaceChildren(bar.root, h("div", { class: "figures" }, parts.map((part) => part.root)));
  const all = [bar, ...parts];
  const draw = (due) => { for (const part of all) part.draw(due); };
  page.on("draw", draw);
  onScheme(() => { for (const part of all) { part.recolour?.(); part.resize?.(); } draw(); });
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    for (const part of all) part.resize?.();
  }).observe(root);
  draw();
  bar.resize();
  // `#t=12.5` is a moment of the run, `#at=12.5` the same with the page's head in view, `#step-3` a step of it.
  const follow = () => {
    const found = /^#(t|at)=(\d+(?:\.\d+)?)$/.exec(location.hash);
    if (!found) return;
    page.setNow(Number(found[2]) * 1e9);
    if (found[1] === "t") root.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
  return page;
}

const data = JSON.parse(document.getElementById("data").textContent);
const page = mount(document.getElementById("app"), data);
document.documentElement.classList.add("scripted");
window.labPage = page;
if (data.live) startLive(page);
