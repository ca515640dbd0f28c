// Many hosts as a few blocks, and the connections inside and between them counted. Pure: no document.
//
// Owns which hosts stand together, where their block stands, and where the number on a line fits. Hosts of one block
// were in one group at every moment of the run, so blocks keep their places while the moment moves. `lab/figures/
// mesh_groups.py` does the same for the picture of three moments.

export const GROUPED_ABOVE = 24; // most hosts that are drawn with all their connections
export const PITCH = 54; // from host to host in a block
const MOST = 12; // most blocks
const PAD = 12, EDGE = 10;
const LINE = 15, LETTER = 6.7; // pixels of the words at a block, which keep their size on screen
const READABLE = 0.42; // least zoom for words at blocks; below it they give way to the hosts

/** Hosts in blocks: each cut of the run divides them further, unless there would be too many. */
export function blocksOf(hosts, epochs) {
  let blocks = [hosts];
  for (const { groups } of epochs) {
    if (groups.length < 2) continue;
    const group = new Map(groups.flatMap((members, index) => members.map((host) => [host, index])));
    const finer = blocks.flatMap((block) => {
      const parts = new Map();
      for (const host of block) parts.set(group.get(host), [...(parts.get(group.get(host)) ?? []), host]);
      return [...parts.values()];
    });
    if (finer.length <= MOST) blocks = finer;
  }
  return blocks;
}

/** {inside: [{both, half}] by block, between: [{one, other, both, half}], one < other}: connections, half: of one side. */
export function counted(connections, blocks) {
  const at = new Map(blocks.flatMap((block, index) => block.map((host) => [host, index])));
  const inside = blocks.map(() => ({ both: 0, half: 0 })), between = new Map();
  for (const [host, peer, both] of connections) {
    if (!at.has(host) || !at.has(peer)) continue;
    const [one, other] = [at.get(host), at.get(peer)].sort((a, b) => a - b), key = one * MOST + other;
    if (one !== other && !between.has(key)) between.set(key, { one, other, both: 0, half: 0 });
    (one === other ? inside[one] : between.get(key))[both ? "both" : "half"]++;
  }
  return { inside, between: [...between.keys()].sort((a, b) => a - b).map((key) => between.get(key)) };
}

/**
 * Places of blocks of these sizes in a canvas: {zoom, lines, blocks: [{x, y, w, h, columns, top}], numbers}.
 *
 * `lines` says how many lines of words fit at each block, `top` that they stand above it; `letters` is the length of
 * the longest name. `numbers` has the place of a number for two blocks ("0 1"), where there is room for one.
 */
export function layout(sizes, width, height, letters) {
  const levels = (sizes.length > 4 ? [2, 1, 0] : [3, 2, 1, 0]).map((lines) => {
    const words = { lines, letters: lines > 1 ? Math.max(letters, 17) : letters };
    let best = null;
    for (const wide of [0.3, 0.45, 0.7, 1, 1.5, 2.2])
      for (const form of sizes.length === 1 ? [1] : sizes.length === 2 ? [0, 1] : [0.6, 1, 1.6]) {
        let zoom = 1, made;
        for (let pass = 0; pass < 9; pass++) {
          made = arranged(sizes, wide, form, zoom, words);
          zoom = Math.max(0.02, Math.min(1.5, (width - 2 * EDGE) / made.width, (height - 2 * EDGE) / made.height));
        }
        if (!best || zoom > 1.02 * best.zoom) best = { ...made, zoom, lines };
      }
    return best;
  });
  const largest = levels[levels.length - 1].zoom;
  const best = levels.find(({ zoom }) => zoom >= Math.min(READABLE, 0.7 * largest));
  return { ...best, numbers: numbers(best) };
}

function arranged(sizes, wide, form, zoom, { lines, letters }) {
  const blocks = sizes.map((size) => {
    const rows = Math.ceil(size / Math.ceil(Math.sqrt(size * wide))), columns = Math.ceil(size / rows);
    const w = columns * PITCH + PAD, h = rows * PITCH + PAD;
    return { w, h, columns, x: 0, y: 0, top: false, slot: lines ? Math.max(w, (letters * LETTER) / zoom) : w, words: lines ? (lines * LINE + 6) / zoom : 0 };
  });
  if (blocks.length === 2) {
    const [one, other] = blocks;
    if (form) [one.y, one.top] = [-(one.h + other.h) / 2 - 64 / zoom, true];
    else one.x = -Math.max((one.w + other.w) / 2 + 92 / zoom, (one.slot + other.slot) / 2 + 12 / zoom);
  } else if (blocks.length > 2) around(blocks, form, Math.min(44 / zoom, 2 * PITCH));
  const rects = blocks.map(withWords);
  const [left, right] = [Math.min(...rects.map((each) => each.left)), Math.max(...rects.map((each) => each.right))];
  const [above, below] = [Math.min(...rects.map((each) => each.above)), Math.max(...rects.map((each) => each.below))];
  for (const block of blocks) {
    block.x -= (left + right) / 2;
    block.y -= (above + below) / 2;
  }
  return { blocks, width: right - left, height: below - above };
}

/** On an ellipse, as wide apart as they need. */
function around(blocks, form, gap) {
  const need = blocks.map((block) => Math.hypot(block.slot, block.h + block.words) + gap), all = need.reduce((a, b) => a + b);
  for (let radius = all / 14; ; radius *= 1.06) {
    let angle = -Math.PI / 2 - (Math.PI * need[0]) / all;
    blocks.forEach((block, index) => {
      angle += (Math.PI * need[index]) / all;
      [block.x, block.y] = [form * radius * Math.cos(angle), radius * Math.sin(angle)];
      block.top = block.y < -0.3 * radius;
      angle += (Math.PI * need[index]) / all;
    });
    const rects = blocks.map((block) => grown(withWords(block), gap / 2));
    if (!rects.some((one, index) => rects.slice(index + 1).some((other) => meet(one, other)))) return;
  }
}

function withWords({ x, y, w, h, slot, words, top }) {
  const wide = Math.max(w, slot) / 2;
  return { left: x - wide, right: x + wide, above: y - h / 2 - (top ? words : 0), below: y + h / 2 + (top ? 0 : words) };
}
const grown = (box, by) => ({ left: box.left - by, right: box.right + by, above: box.above - by, below: box.below + by });
const meet = (a, b) => a.left < b.right && b.left < a.right && a.above < b.below && b.above < a.below;

function numbers({ blocks, zoom }) {
  const found = {}, taken = blocks.flatMap((block) => {
    const { x, y, w, h, top } = block, all = withWords(block);
    return [
      { left: x - w / 2, right: x + w / 2, above: y - h / 2, below: y + h / 2 },
      { ...all, ...(top ? { below: y - h / 2 } : { above: y + h / 2 }) },
    ];
  });
  blocks.forEach((one, index) => blocks.slice(index + 1).forEach((other, more) => {
    const [dx, dy] = [other.x - one.x, other.y - one.y];
    const leaves = ({ w, h }) => Math.min(w / 2 / Math.abs(dx || 1e-9), h / 2 / Math.abs(dy || 1e-9));
    const [from, to] = [leaves(one), 1 - leaves(other)];
    for (const share of [0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78]) {
      const at = from + share * (to - from), [x, y] = [one.x + at * dx, one.y + at * dy];
      const box = { left: x - 20 / zoom, right: x + 20 / zoom, above: y - 8 / zoom, below: y + 8 / zoom };
      if (taken.some((each) => meet(each, box))) continue;
      taken.push(box);
      found[`${index} ${index + 1 + more}`] = { x, y };
      return;
    }
  }));
  return found;
}
