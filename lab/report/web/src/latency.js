// How long answers took over time: percentiles of what is shown, drawn by uPlot.
import uPlot from "uplot";

import { left } from "./chart.js";
import { figure, h, table } from "./dom.js";
import { MISSED } from "./model.js";
import { newSeries } from "./page.js";
import { colours } from "./palette.js";
import { clock, count, span } from "./words.js";

const BINS = 120, HEIGHT = 220;
const WIDTHS = [1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9, 2e9, 5e9, 1e10, 2e10, 6e10, 3e11, 6e11, 3.6e12];

export function latency(page) {
  const box = h("div", { class: "latency" });
  const frame = figure({
    id: "latency", title: "How long answers took", rows,
    csv: page.csv("latency"),
    caption: "Median, 95th and 99th percentile of the answers of each interval, on a logarithmic scale; bars at the foot are the share of tries that failed though they should not have.",
  }, box);
  frame.root.classList.add("wide");
  let plot = null, bins = null;

  function compute() {
    const chosen = page.shownPairs();
    const tries = chosen.reduce((sum, each) => sum + each.t.length, 0);
    const wanted = Math.max(page.last / BINS, (page.last * 8) / Math.max(tries, 1));
    const width = WIDTHS.find((each) => each >= wanted) ?? page.last, number = Math.floor(page.last / width) + 1;
    const values = Array.from({ length: number }, () => []), failed = new Array(number).fill(0), made = new Array(number).fill(0);
    for (const { t, s, l, w } of chosen)
      for (let k = 0; k < t.length; k++) {
        const bin = Math.floor(t[k] / width);
        if (bin < 0 || bin >= number) continue;
        if (l[k]) values[bin].push(l[k]);
        made[bin] += w ? w[k] : 1;
        if (s[k] === MISSED) failed[bin] += w ? w[k] : 1;
      }
    values.forEach((each) => each.sort((a, b) => a - b));
    const rank = (each, percent) => (each.length ? each[Math.max(0, Math.ceil((each.length * percent) / 100) - 1)] / 1e3 : null);
    bins = {
      width, all: values.flat().sort((a, b) => a - b),
      x: values.map((_, bin) => ((bin + 0.5) * width) / 1e9),
      lines: [50, 95, 99].map((percent) => values.map((each) => rank(each, percent))),
      failed: failed.map((each, bin) => (made[bin] ? each / made[bin] : 0)), made,
    };
  }
  function options(width) {
    const colour = colours(), start = left(width);
    const axis = { stroke: colour.muted, grid: { stroke: colour.line, width: 1 }, ticks: { stroke: colour.line, width: 1 }, font: "11px system-ui, sans-serif" };
    const shade = (u) => {
      const { top, height } = u.bbox, pen = u.ctx;
      pen.save();
      for (const fault of page.faults) {
        const a = u.valToPos(fault.start / 1e9, "x", true), b = u.valToPos(fault.until / 1e9, "x", true);
        pen.fillStyle = fault.colour || colour.wrong;
        pen.globalAlpha = 0.13;
        pen.fillRect(a, top, b - a, height);
      }
      pen.globalAlpha = 0.9;
      pen.fillStyle = colour.missed;
      bins.failed.forEach((share, bin) => {
        if (!share) return;
        const a = u.valToPos((bin * bins.width) / 1e9, "x", true), b = u.valToPos(((bin + 1) * bins.width) / 1e9, "x", true);
        pen.fillRect(a, top + height - share * height * 0.25, Math.max(1, b - a - 1), share * height * 0.25);
      });
      pen.restore();
    };
    const moment = (u) => {
      const x = u.valToPos(page.now / 1e9, "x", true);
      u.ctx.fillStyle = colour.accent;
      u.ctx.fillRect(x - 1, u.bbox.top, 2, u.bbox.height);
    };
    return {
      width, height: HEIGHT, padding: [8, 10, 0, 0],
      scales: { x: { time: false, range: () => [page.first / 1e9, page.last / 1e9] }, y: { distr: 3 } },
      series: [{ label: "at", value: (u, v) => (v === null ? "–" : `${v.toFixed(2)} s`) },
        ...["median", "p95", "p99"].map((label, index) => ({
          label, stroke: colour.line99[index], width: [2.4, 1.6, 1.2][index], dash: [undefined, [6, 3], [2, 3]][index],
          value: (u, v) => (v === null ? "–" : span(v * 1e6)), points: { show: bins.x.length < 12 }, spanGaps: false,
        }))],
      axes: [{ ...axis, values: (u, all) => all.map((v) => `${+v.toFixed(1)} s`) },
        { ...axis, size: start, values: (u, all) => all.map((v) => (v === null ? "" : span(v * 1e6))) }],
      cursor: { drag: { x: false, y: false } },
      hooks: { drawAxes: [shade], draw: [moment],
        ready: [(u) => u.over.addEventListener("click", () => u.cursor.left >= 0 && page.setNow(u.posToVal(u.cursor.left, "x") * 1e9))] },
    };
  }
  function build() {
    const width = box.clientWidth;
    plot?.destroy();
    plot = null;
    if (width) plot = new uPlot(options(width), [bins.x, ...bins.lines], box);
  }
  function draw(due) {
    if (newSeries(due)) {
      compute();
      frame.root.hidden = !bins.all.length;
      if (frame.root.hidden) return;
      if (plot && due?.has("records")) plot.setData([bins.x, ...bins.lines]);
      else build();
      const half = bins.all[Math.ceil(bins.all.length / 2) - 1], high = bins.all[Math.ceil(bins.all.length * 0.99) - 1];
      const title = page.titleOf(page.shownProbe);
      const merged = page.history.series.some((each) => each?.w);
      frame.say.textContent = `${title}: half of the answers came within ${span(half * 1e3)}, 99 % within ${span(high * 1e3)}${merged ? " (of medians: see the note above)" : ""}; one point per ${span(bins.width)}.`;
      frame.refresh();
    } else if (plot && !frame.root.hidden) plot.redraw(false, false);
  }
  function rows() {
    return table(["from", "tries", "median", "p95", "p99", "failed"],
      bins.x.map((x, bin) => [clock(bin * bins.width), String(bins.made[bin]), ...bins.lines.map((line) => (line[bin] === null ? "–" : span(line[bin] * 1e6))), `${Math.round(bins.failed[bin] * 100)} %`])
        .filter((row) => row[1] !== "0"), `Answers, ${count(bins.made.reduce((a, b) => a + b, 0), "try", "tries")}`);
  }
  return { root: frame.root, draw, resize: () => draw() };
}
