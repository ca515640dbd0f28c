// `node --test`: which hosts stand in one block, and where blocks and numbers stand.
import assert from "node:assert/strict";
import { test } from "node:test";

import { blocksOf, counted, layout } from "../src/blocks.js";

const hosts = (number) => Array.from({ length: number }, (_, index) => `host${index + 1}`);
const all = hosts(30);

test("each cut divides the blocks further, unless there would be too many", () => {
  assert.deepEqual(blocksOf(all, [{ groups: [all] }, { groups: [] }]), [all]);
  const halves = { groups: [all.slice(0, 15), all.slice(15)] };
  assert.deepEqual(blocksOf(all, [halves, { groups: [all] }]), halves.groups);
  const odd = { groups: [all.filter((_, index) => index % 2), all.filter((_, index) => !(index % 2))] };
  assert.deepEqual(blocksOf(all, [halves, odd]).map((block) => block.length), [8, 7, 8, 7]);
  assert.deepEqual(blocksOf(all, [halves, { groups: all.map((host) => [host]) }]), halves.groups);
  assert.deepEqual(blocksOf(all, [{ groups: [["host1"], ["host2"]] }]).map((block) => block.length), [1, 1, 28], "others are in no group");
});

test("connections are counted inside blocks and between two", () => {
  const found = counted([["a", "b", true], ["c", "b", true], ["a", "c", true], ["c", "d", false], ["d", "a", false], ["a", "stranger", true]], [["a", "b"], ["c", "d"]]);
  assert.deepEqual(found.inside, [{ both: 1, half: 0 }, { both: 0, half: 1 }]);
  assert.deepEqual(found.between, [{ one: 0, other: 1, both: 2, half: 1 }]);
});

const box = ({ x, y, w, h }) => [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

for (const sizes of [[25], [32, 32], [60, 4], [3, 1, 1, 59], [12, 13, 13, 13, 13], Array(12).fill(5), Array(12).fill(40)])
  for (const [width, height] of [[560, 440], [290, 340], [1200, 440]])
    test(`blocks of ${sizes} fit into ${width} x ${height} and hide nothing`, () => {
      const { blocks, zoom, numbers } = layout(sizes, width, height, 15);
      const boxes = blocks.map(box);
      for (const [left, above, right, below] of boxes) {
        assert.ok(Math.max(-left, right) * zoom <= width / 2 && Math.max(-above, below) * zoom <= height / 2);
      }
      blocks.forEach(({ columns, w, h }, index) => assert.ok(columns * 54 <= w && Math.ceil(sizes[index] / columns) * 54 <= h));
      boxes.forEach((one, index) => boxes.slice(index + 1).forEach((other) => assert.ok(!meet(one, other))));
      const texts = Object.values(numbers).map(({ x, y }) => box({ x, y, w: 40 / zoom, h: 16 / zoom }));
      texts.forEach((one, index) => [...texts.slice(index + 1), ...boxes].forEach((other) => assert.ok(!meet(one, other))));
      const pairs = (sizes.length * (sizes.length - 1)) / 2;
      assert.ok(texts.length >= (sizes.length < 4 ? 1 : sizes.length < 6 ? 0.6 : 0.2) * pairs, "pairs have their number");
    });
