// `node --test`: what hands on the page mean, as steps.
import assert from "node:assert/strict";
import { test } from "node:test";

import { cutBy } from "../src/live/cut.js";
import { duration, onOne, onTwo } from "../src/live/moves.js";

const square = [["a", 0, 0], ["b", 10, 0], ["c", 10, 10], ["d", 0, 10]].map(([name, x, y]) => ({ name, x, y }));
const cut = (from, to) => cutBy({ x: from[0], y: from[1] }, { x: to[0], y: to[1] }, square);

test("a line right across parts the hosts at its sides", () => {
  assert.deepEqual(cut([5, -5], [5, 15]).steps, [{ partition: { groups: [["a", "d"], ["b", "c"]] } }]);
});

test("a line that passes one cable cuts it in both directions", () => {
  const found = cut([5, -5], [5, 1]);
  assert.deepEqual(found.pairs.map((pair) => pair.map((each) => each.name)), [["a", "b"]]);
  assert.deepEqual(found.steps.map((step) => step.partition.one_way), [{ from: ["a"], to: ["b"] }, { from: ["b"], to: ["a"] }]);
});

test("a line that passes no cable, or some of those between its sides", () => {
  assert.deepEqual(cut([20, 0], [20, 10]).steps, []);
  assert.deepEqual(cut([4, -5], [4, 7]).steps, [{ partition: { groups: [["a", "d"], ["b", "c"]] } }]);
});

test("what can be done to a host, a service and a cable", () => {
  const verbs = [
    { verb: "kill", fields: [{ key: "daemon", kind: "host" }, { key: "host", kind: "host" }, { key: "service", kind: "service" }] },
    { verb: "slow_disk", fields: [{ key: "host", kind: "host", required: true }, { key: "latency", kind: "duration", required: true }] },
    { verb: "link", fields: [{ key: "from", kind: "hosts" }, { key: "to", kind: "hosts" }, { key: "delay", kind: "duration" }] },
  ];
  const told = (found) => found.map(({ label, given, atOnce }) => [label, given, atOnce]);
  assert.deepEqual(told(onOne(verbs, "host", "a")), [
    ["kill daemon", { daemon: "a" }, true], ["kill host", { host: "a" }, true], ["slow_disk", { host: "a" }, false],
  ]);
  assert.deepEqual(told(onOne(verbs, "service", "web")), [["kill", { service: "web" }, true]]);
  assert.deepEqual(told(onTwo(verbs, "a", "b")), [["link", { from: ["a"], to: ["b"] }, false]]);
});

test("durations as the command line has them", () => {
  assert.deepEqual(["", "1m30s", "1.5s", "200ms"].map(duration), [null, 9e10, 15e8, 2e8]);
  assert.throws(() => duration("soon"), /expected a duration/);
});
