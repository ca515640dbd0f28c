// The one tooltip of the page. Shows lines of text next to the pointer, or next to what has the focus.
import { fill, h } from "./dom.js";

const tip = h("div", { class: "tip", role: "tooltip", hidden: true });

export function show(lines, x, y) {
  if (!tip.isConnected) document.body.append(tip);
  fill(tip, lines.filter(Boolean).map((line) => h("div", {}, h("bdi", {}, line))));
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = Math.max(8, Math.min(x + 14, innerWidth - width - 8));
  const top = y + 18 + height > innerHeight ? y - height - 10 : y + 18;
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

export const hide = () => { tip.hidden = true; };
