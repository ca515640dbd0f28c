// Who owns which part of the addresses over time: a band per host, at its share.
import { chart } from "./chart.js";
import { name, short, table } from "./dom.js";
import { before } from "./model.js";
import { GROUPS, colours } from "./palette.js";
import { count, percent } from "./words.js";

const HEIGHT = 130;

export function ring(page) {
  let hosts = [];
  // What a dead peer owned is still its own.
  const share = ({ t, v }, at) => {
    for (let place = before(t, at); place >= 0; place--) if (v[place]) return v[place].share;
    return 0;
  };
  function paint(pen, { left, width, x, top, t: timeAt }) {
    const colour = colours();
    const places = hosts.map(() => 0);
    const shares = hosts.map(() => 0);
    for (let column = 0; column < Math.floor(width); column += 2) {
      const t = timeAt(left + column + 1);
      let y = top + HEIGHT;
      hosts.forEach(([, { t: times, v }], index) => {
        while (places[index] < times.length && times[places[index]] <= t) {
          const belief = v[places[index]++];
          if (belief) shares[index] = belief.share;
        }
        const height = shares[index] * HEIGHT;
        if (!height) return;
        y -= height;
        pen.globalAlpha = 0.55 + 0.3 * (index % 2);
        pen.fillStyle = GROUPS[index % GROUPS.length];
        pen.fillRect(left + column, Math.max(top, y), 2, height);
        pen.globalAlpha = 1;
        if (height > 3) {
          pen.fillStyle = colour.card;
          pen.fillRect(left + column, y, 2, 1);
        }
      });
    }
    pen.fillStyle = colour.muted;
    pen.textAlign = "right";
    pen.fillText("100 %", left - 6, top + 5);
    pen.fillText("0 %", left - 6, top + HEIGHT - 5);
  }
  function lines(t, y) {
    let at = HEIGHT;
    for (const [host, beliefs] of hosts) {
      const own = share(beliefs, t);
      at -= own * HEIGHT;
      if (own && y >= at) return [`${short(host, 60)} owns ${percent(own)}`];
    }
    return ["owned by nobody"];
  }
  return chart(page, {
    id: "ring", title: "Who owns which part of the addresses", over: true,
    caption: "A band per host, as high as its share of the address range, as its own peer says. What a peer that is down owns stays its own until it is removed.",
    rows: () => table(["host", "share"], hosts.map(([host, beliefs]) => [name(host), percent(share(beliefs, page.now))]), "Shares at the moment"),
  }, {
    collect: () => { hosts = [...page.history.hosts].filter(([, { v }]) => v.some((belief) => belief?.share)); },
    ready: () => hosts.length > 0, height: () => HEIGHT, paint, lines,
    say: () => {
      const now = hosts.map(([host, beliefs]) => [host, share(beliefs, page.now)]).filter(([, own]) => own).sort((a, b) => b[1] - a[1]);
      if (!now.length) return "Nobody owns any address yet.";
      return `${count(now.length, "host")} own addresses: ${now.slice(0, 4).map(([host, own]) => `${short(host, 24)} ${percent(own)}`).join(", ")}${now.length > 4 ? ", …" : ""}.`;
    },
  });
}
