// `node --test`: the state of a lab at a moment.
import assert from "node:assert/strict";
import { test } from "node:test";

import { CUT, History, LEAKED, MISSED, NOTHING, REACHED, before, view, worse } from "../src/model.js";

const S = 1e9;
const records = [
  { k: "meta", t: 0, hosts: ["a", "b"], services: ["x", "web"], titles: {} },
  { k: "view", t: 1 * S, host: "a", d: [0, 0, 0], reach: 1, share: 1 },
  { k: "view", t: 2 * S, host: "a", d: [1, 1, 1], reach: 2, share: 0.5, plus: ["b"] },
  { k: "view", t: 2 * S, host: "b", d: [1, 1, 0], reach: 2, share: 0.5, plus: ["a"] },
  { k: "event", t: 3 * S, step: 0, what: "run", phase: "end", label: "run all", rep: { x: "a", "web-1": "b" }, addr: { x: "10.0.0.1" } },
  { k: "series", i: 0, probe: "http", source: "x", target: "web-1" },
  { k: "try", t: 4 * S, i: 0, s: REACHED, l: 800 },
  { k: "event", t: 5 * S, step: 1, what: "partition", phase: "start", label: "partition a | b", fault: 0, groups: [["a"], ["b"]] },
  { k: "try", t: 6 * S, i: 0, s: REACHED, l: 700 },
  { k: "try", t: 5 * S, i: 0, s: CUT }, // a failed try is reported when its time is over
  { k: "view", t: 7 * S, host: "a", d: [2, 2, 2], reach: 1, share: 0.5, minus: ["b"] },
  { k: "event", t: 8 * S, step: 1, what: "partition", phase: "end", label: "heal", over: [0], groups: [["a", "b"]] },
  { k: "gone", t: 9 * S, host: "b" },
];

test("a history may be read at every moment", () => {
  const at = (t) => view(records, t * S);
  assert.deepEqual(at(0.5).hosts.map((host) => host.state), ["unseen", "unseen"]);
  assert.deepEqual(at(2).connections, [["a", "b", true]]);
  assert.deepEqual(at(2).agreement, { topology: true, ring: true, dns: false });
  assert.deepEqual(at(3).hosts[1].containers, [{ name: "web-1", address: "" }]);
  assert.deepEqual(at(4.5).pairs[0], { i: 0, state: REACHED, latency: 800, t: 4 * S });
  assert.equal(at(5.5).pairs[0].state, CUT);
  assert.deepEqual(at(5).faults.map((fault) => fault.label), ["partition a | b"]);
  assert.deepEqual(at(7).connections, [["b", "a", false]]);
  assert.deepEqual(at(8).faults, []);
  assert.deepEqual(at(9).hosts.map((host) => host.state), ["up", "down"]);
});

test("an event that is written late stands at its time, and tries become stale", () => {
  const history = new History().append(records);
  history.append([{ k: "event", t: 1 * S, step: 9, what: "exec", phase: "point", label: "late" }]);
  assert.deepEqual(history.events.map((event) => event.t / S), [1, 3, 5, 8]);
  assert.equal(view(history, 8.9 * S).pairs[0].state, REACHED);
  assert.equal(view(history, 10.5 * S).pairs[0].state, NOTHING);
  assert.equal(history.steps.find((step) => step.what === "partition").end, 8 * S);
});

test("columns say what single tries say", () => {
  const columns = [{ i: 0, probe: "http", source: "x", target: "web-1", every: S, t: [4 * S], s: "251", l: [800, 0, 700] }];
  const history = new History().append(records.filter((record) => !["try", "series"].includes(record.k))).load(columns);
  assert.deepEqual(history.series[0].t, [4 * S, 5 * S, 6 * S]);
  assert.equal(view(history, 5.5 * S).pairs[0].state, CUT);
  assert.equal(view(history, 6 * S).pairs[0].state, MISSED);
  assert.equal(history.serviceOf("web-1"), "web");
});

test("places and the worse of two", () => {
  assert.deepEqual([-1, 0, 1, 5].map((t) => before([0, 1, 1, 4], t)), [-1, 0, 2, 3]);
  assert.equal([REACHED, MISSED, LEAKED, CUT, NOTHING].reduce(worse), LEAKED);
});
