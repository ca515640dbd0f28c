// Who reached whom over time: a row per pair, a cell per try; and the same for the names that were asked.
import { chart } from "./chart.js";
import { brief, name, short, table } from "./dom.js";
import { legend } from "./matrix.js";
import { CUT, LEAKED, MISSED, NOTHING, REACHED, WORDS, WRONG, before, worse } from "./model.js";
import { colours } from "./palette.js";
import { clock, count, natural, span } from "./words.js";

const TALL = 18, LOW = 9, MOST = 560; // pixels: of a row, of one of very many, of all
const SINGLE = 64; // most pairs with a row of their own; of more, a row is all pairs of one source
const LATER = 2e9; // nanoseconds after the first pair from which a pair is a late-comer
const STACKED = [REACHED, CUT, WRONG, LEAKED, MISSED]; // from the foot of a row of many pairs

export function strips(page, { names = false } = {}) {
  let rows = [], lanes = [], size = TALL, words = "";

  function collect() {
    const all = page.tried(names);
    const began = Math.min(...all.map((each) => each.t[0]));
    const late = (each) => each.t[0] > began + LATER; // a service was scaled: below those that were there from the beginning
    rows = (names ? all.filter((each) => page.shows(each)) : page.shownPairs())
      .sort((a, b) => late(a) - late(b) || (names ? natural(a.target, b.target) || natural(a.source, b.source) : natural(a.source, b.source) || natural(a.target, b.target)));
    words = sentence(longest(rows, page.last));
    lanes = rows.map((row) => [row]);
    if (rows.length <= SINGLE || names) return;
    const by = new Map();
    for (const row of rows) (by.get(row.source) ?? by.set(row.source, []).get(row.source)).push(row);
    lanes = [...by.values()];
  }
  /** The state of a series in each column; the worst of several tries. */
  function columnsOf({ t, s, every, w }, states, { left, x }) {
    const columns = states.length;
    states.fill(NOTHING);
    for (let k = 0; k < t.length; k++) {
      const a = Math.floor(x(t[k]) - left);
      // A try stands until the next one is due, if that is not overdue.
      const until = k + 1 < t.length ? t[k + 1] : t[k] + every;
      const b = Math.ceil(x(w || !every ? until : Math.min(until, t[k] + 1.5 * every)) - left);
      for (let column = Math.max(0, a); column < Math.min(columns, Math.max(b, a + 1)); column++)
        states[column] = a === column && states[column] !== NOTHING ? worse(states[column], s[k]) : s[k];
    }
  }
  /** A row of many pairs: in each column their shares, failures on top. */
  function stack(pen, lane, states, axis, y, colour) {
    const tally = new Uint16Array(states.length * 6);
    for (const row of lane) {
      columnsOf(row, states, axis);
      for (let column = 0; column < states.length; column++) tally[column * 6 + states[column]]++;
    }
    const high = size - 2;
    for (let column = 0; column < states.length;) {
      let end = column + 1;
      const same = (other) => tally.subarray(column * 6, column * 6 + 6).every((value, state) => value === tally[other * 6 + state]);
      while (end < states.length && same(end)) end++;
      let foot = y + 1 + high;
      for (const state of STACKED) {
        const part = (tally[column * 6 + state] / lane.length) * high;
        if (!part) continue;
        foot -= part;
        pen.fillStyle = colour.state[state];
        pen.fillRect(axis.left + column, state === MISSED ? Math.min(foot, foot + part - 1) : foot, end - column, state === MISSED ? Math.max(part, 1) : part);
      }
      column = end;
    }
  }
  function paint(pen, axis) {
    const { left, width, x, top } = axis, colour = colours();
    const letters = Math.floor((left - 8) / 5.7), columns = Math.floor(width);
    const states = new Uint8Array(columns);
    if (size < 11) pen.font = "9px system-ui, sans-serif";
    lanes.forEach((lane, index) => {
      const [row] = lane, y = top + index * size, gap = size > 5 ? 1.5 : 0;
      pen.fillStyle = colour.ink;
      pen.textAlign = "right";
      const half = Math.floor(letters / 2) - 1;
      const text = lane.length > 1 ? `${brief(row.source, letters - 4)} → …` : names ? `${brief(row.source, half)}: ${brief(row.target, letters - 2 - Math.min(half, row.source.length))}`
        : `${brief(row.source, half)} → ${brief(row.target, half)}`;
      pen.fillText(text, left - 6, y + size / 2);
      if (lane.length > 1) return stack(pen, lane, states, axis, y, colour);
      columnsOf(row, states, axis);
      for (let column = 0; column < columns;) {
        let end = column;
        while (end < columns && states[end] === states[column]) end++;
        const state = states[column];
        pen.fillStyle = colour.state[state];
        const thin = state === NOTHING ? size * 0.36 : state === CUT ? size * 0.26 : state === REACHED ? size * 0.1 : 0;
        // Form as well as colour: a failure fills the row, a success less, a cut is a band, no try a line.
        pen.fillRect(left + column, y + gap + thin, end - column, Math.max(1, size - 2 * gap - 2 * thin));
        column = end;
      }
      if (names && size >= 13) numbers(pen, row, x, y, colour);
    });
    pen.font = "11px system-ui, sans-serif";
  }
  /** How many addresses a name had, where that changes. */
  function numbers(pen, row, x, y, colour) {
    let shown = null, last = -Infinity;
    pen.textAlign = "left";
    pen.fillStyle = colour.card;
    pen.font = "bold 10px system-ui, sans-serif";
    for (let k = 0; k < row.t.length; k++) {
      if (row.n[k] === shown || (row.s[k] !== REACHED && row.s[k] !== WRONG)) continue;
      shown = row.n[k];
      const at = x(row.t[k]) + 2;
      if (at < last) continue;
      last = at + 12;
      pen.fillText(String(shown), at, y + size / 2 + 0.5);
    }
    pen.font = "11px system-ui, sans-serif";
  }
  function lines(t, y) {
    const lane = lanes[Math.floor(y / size)];
    if (!lane) return [];
    const [row] = lane;
    if (lane.length > 1) {
      const tally = [0, 0, 0, 0, 0, 0];
      for (const each of lane) tally[before(each.t, t) < 0 ? NOTHING : each.s[before(each.t, t)]]++;
      return [`${short(row.source, 40)} → ${count(lane.length, "other")}`, ...[...STACKED, NOTHING].filter((state) => tally[state]).map((state) => `${tally[state]} ${WORDS[state]}`)];
    }
    const place = before(row.t, t);
    if (place < 0) return [pair(row), "no try yet"];
    return [pair(row), word(row, place) + (row.l[place] ? ` in ${span(row.l[place] * 1e3)}` : ""), row.w ? `${count(row.w[place], "try", "tries")} from ${clock(row.t[place])}` : `tried at ${clock(row.t[place])}`];
  }
  const pair = (row) => (names ? `${short(row.source, 40)} asks for ${short(row.target, 60)}` : `${short(row.source, 40)} → ${short(row.target, 40)}`);
  const word = (row, place) => (names && row.s[place] === REACHED ? `right answer: ${count(row.n[place], "address", "addresses")}` : WORDS[row.s[place]]);

  function sentence(worst) {
    if (names) {
      const wrong = rows.reduce((sum, row) => sum + row.s.filter((state) => state === WRONG).length, 0);
      const asked = rows.reduce((sum, row) => sum + row.s.length, 0);
      return wrong ? `${wrong} of ${count(asked, "answer")} had a wrong or a missing address.` : `No answer of ${asked} was wrong.`;
    }
    const leaks = rows.reduce((sum, row) => sum + row.s.reduce((all, state, k) => all + (state === LEAKED ? row.w?.[k] ?? 1 : 0), 0), 0);
    const across = leaks ? ` ${count(leaks, "try", "tries")} got across a cut.` : "";
    if (!worst) return `${count(rows.length, "pair")}: each was reached whenever it should have been.${across}`;
    return `Longest time without an answer, where there should have been one: ${pair(worst.row)}, ${span(worst.lasted)} from ${clock(worst.start)}.${across}`;
  }
  const body = () => table(names ? ["asked by", "name", "answers", "wrong", "none", "addresses now"] : ["from", "to", "tries", "reached", "not reached", "cut off", "longest not reached"],
    rows.slice(0, 1000).map((row) => {
      const tally = [0, 0, 0, 0, 0, 0];
      row.s.forEach((state, k) => { tally[state] += row.w ? row.w[k] : 1; });
      const all = tally.reduce((sum, each) => sum + each, 0) - tally[NOTHING], now = before(row.t, page.now);
      const found = longest([row], page.last);
      return names ? [name(row.source), name(row.target), String(all), String(tally[WRONG]), String(tally[MISSED] + tally[CUT]), now < 0 ? "–" : String(row.n[now])]
        : [name(row.source), name(row.target), String(all), String(tally[REACHED]), String(tally[MISSED]), String(tally[CUT]), found ? span(found.lasted) : "–"];
    }), names ? "Names over the whole run" : "Pairs over the whole run");
  const key = legend(names ? [REACHED, WRONG, MISSED, CUT] : [REACHED, CUT, MISSED, LEAKED, NOTHING], names ? { [REACHED]: "right answer", [MISSED]: "no answer" } : {});
  const made = chart(page, {
    id: names ? "names" : "pairs", title: names ? "What names answered" : "Who reached whom over time", rows: body, csv: page.csv(names ? "dns" : "reachability"), legend: key,
    caption: names ? "Each row is one container that asks for a name; numbers are how many addresses it got, where that changed."
      : "Each row is a pair, each cell a try when it was due; a failure fills its row, a failure that is expected is a thin band. Of very many pairs a row is all of one source, with their shares. Click to go to a moment.",
  }, {
    collect, ready: () => rows.length > 0,
    height: () => (size = Math.max(LOW, Math.min(lanes.length > 20 ? 14 : TALL, Math.floor(MOST / lanes.length))), size * lanes.length),
    paint, lines, say: () => words,
  });
  return { ...made, recolour: key.redraw };
}

/** The longest time in which one series failed though it should not have. */
function longest(rows, end) {
  let found = null;
  for (const row of rows) {
    let since = null;
    for (let k = 0; k <= row.t.length; k++) {
      const failed = k < row.t.length && row.s[k] === MISSED;
      if (failed && since === null) since = row.t[k];
      else if (!failed && since !== null && (k === row.t.length || row.s[k] !== NOTHING)) {
        const lasted = (k < row.t.length ? row.t[k] : end) - since;
        if (!found || lasted > found.lasted) found = { row, start: since, lasted };
        since = null;
      }
    }
  }
  return found;
}
