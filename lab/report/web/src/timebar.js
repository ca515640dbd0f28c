// The time axis that moves everything together: slider, steps before and after, play, filter.
import { fill, h, short } from "./dom.js";
import { colours } from "./palette.js";
import { clock, natural } from "./words.js";

const PLAY = 12; // seconds in which a whole run is played

export function timebar(page) {
  const slider = h("input", {
    type: "range", min: 0, max: 1000, value: 0, id: "time", "aria-label": "Moment of the run",
    oninput: () => page.setNow(slider.valueAsNumber * 1e6),
  });
  const track = h("canvas", { class: "bands", "aria-hidden": "true" });
  const at = h("output", { class: "at", for: "time" });
  const button = (label, text, onclick) => h("button", { type: "button", "aria-label": label, title: label, onclick }, text);
  const play = button(null, "Play", () => (timer ? stop() : start()));
  const follow = page.live ? button("Follow the running lab", "Now", () => page.setNow(null)) : null;
  const service = h("select", { "aria-label": "Show containers of one service", onchange: () => page.setFilter({ service: service.value }) });
  const probe = h("select", { "aria-label": "Probe", onchange: () => page.setFilter({ probe: probe.value }) });
  const happening = h("p", { class: "happening", role: "status" });
  const hands = h("div", { class: "hands", id: "hands" });
  const root = h("div", { class: "timebar", role: "region", "aria-label": "Time" },
    h("div", { class: "line" },
      button("Step before", "‹", () => jump(-1)), play, button("Next step", "›", () => jump(1)),
      h("div", { class: "slide" }, track, slider), at, follow,
      h("label", {}, h("span", {}, "service "), service), h("label", {}, h("span", {}, "probe "), probe)),
    happening, hands);
  let timer = 0;

  function start() {
    if (page.now >= page.last) page.setNow(page.first);
    let then = performance.now();
    play.textContent = "Pause";
    const tick = (time) => {
      const next = page.now + ((time - then) / 1e3) * (page.last / PLAY);
      then = time;
      page.setNow(next);
      timer = next >= page.last ? (stop(), 0) : requestAnimationFrame(tick);
    };
    timer = requestAnimationFrame(tick);
  }
  function stop() {
    cancelAnimationFrame(timer);
    timer = 0;
    play.textContent = "Play";
  }
  function jump(way) {
    const times = page.history.steps.map((step) => step.start);
    const next = way > 0 ? times.find((t) => t > page.now) : times.filter((t) => t < page.now).pop();
    page.setNow(next ?? (way > 0 ? page.last : page.first));
  }
  function options(select, first, values) {
    const wanted = [["", first], ...values];
    if (select.options.length === wanted.length) return;
    const kept = select.value;
    fill(select, wanted.map(([value, text]) => h("option", { value }, short(text, 30))));
    select.value = wanted.some(([value]) => value === kept) ? kept : "";
  }
  function bands() {
    const width = track.clientWidth, height = track.clientHeight, ratio = devicePixelRatio || 1;
    if (!width) return;
    track.width = width * ratio;
    track.height = height * ratio;
    const pen = track.getContext("2d"), colour = colours();
    pen.scale(ratio, ratio);
    const x = (t) => 8 + (t / page.last) * (width - 16); // the thumb of the slider is 16 wide
    pen.globalAlpha = 0.35;
    for (const fault of page.faults) {
      pen.fillStyle = fault.colour || colour.wrong;
      pen.fillRect(x(fault.start), 0, Math.max(2, x(fault.until) - x(fault.start)), height);
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colour.muted;
    for (const step of page.history.steps) pen.fillRect(x(step.start) - 0.5, height - 6, 1, 6);
  }
  function say() {
    const { now, last } = page;
    slider.max = Math.ceil(last / 1e6);
    slider.step = Math.max(1, Math.round(last / 1e9));
    slider.value = now / 1e6;
    at.textContent = `${clock(now)} of ${clock(last)}`;
    const steps = page.history.steps.filter((step) => step.start <= now && step.number >= 0);
    const step = steps[steps.length - 1];
    const faults = page.view.faults;
    slider.setAttribute("aria-valuetext", `${clock(now)}${step ? `, step ${step.number + 1}: ${short(step.text, 80)}` : ""}`);
    fill(happening, [
      step ? [h("a", { href: `#step-${step.number + 1}` }, `step ${step.number + 1}`), " ", h("bdi", {}, short(step.text, 80))] : "before the first step",
      faults.length ? [" · in force: ", faults.map((fault, index) => [index ? ", " : "", h("b", { class: "fault" }, h("bdi", {}, short(fault.label, 60)))])] : " · no fault in force",
    ]);
    follow?.setAttribute("aria-pressed", page.following);
  }
  function draw(due) {
    if (!due || due.has("records")) {
      options(service, "all", page.history.services.sort(natural).map((each) => [each, each]));
      const kinds = [...new Set(page.tried().map((each) => each.probe))];
      options(probe, kinds.length ? page.titleOf(kinds[0]) : "none", kinds.slice(1).map((kind) => [kind, page.titleOf(kind)]));
      bands();
    }
    say();
  }
  return { root, draw, resize: bands };
}
