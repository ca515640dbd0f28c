// The state of a lab at a moment, from the records of its page. Pure: no document, no clock.
//
// Owns what a history says: `History` takes records (lab/report/feed.py defines them) in any order that a lab writes
// them, also while it runs; `view(history, t)` says how everything was at `t`, whether that is past or now. Must not
// know how anything is drawn. What should be true was decided by Python; tests hold the two equal.

export const NOTHING = 0, MISSED = 1, REACHED = 2, LEAKED = 3, WRONG = 4, CUT = 5;
export const WORDS = ["no try", "not reached", "reached", "reached across a cut", "wrong answer", "not reached, as expected"];
// Of several tries in one place the one that matters most is shown.
const RANK = [0, 4, 1, 6, 5, 2];
export const worse = (one, other) => (RANK[other] > RANK[one] ? other : one);

const STALE = 3; // intervals without a try after which a series says nothing any more

/** Index of the last entry of sorted `times` that is <= t; -1 when there is none. */
export function before(times, t) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class History {
  constructor() {
    this.meta = { scenario: "", hosts: [], services: [], titles: {} };
    this.hosts = new Map(); // name -> {t: [], v: []}, what its peer believed from when on
    this.events = []; // by time
    this.faults = []; // by number: {label, step, start, end (null: in force), colour}
    this.series = []; // by number: {i, probe, source, target, name, t, s, l, n, w, every}
    this.end = 0; // the latest moment that a record speaks of
    this.tried = 0; // the latest due time of a try
    this._epochs = this._steps = null;
    this._services = new Set();
  }

  append(records) {
    for (const record of records) {
      const take = this[`_${record.k}`];
      if (take) take.call(this, record);
      if (record.t > this.end) this.end = record.t;
    }
    return this;
  }

  _meta(record) {
    this.meta = record;
    this._services = new Set(record.services);
    for (const host of record.hosts) this._host(host);
    this._epochs = null;
  }

  _host(name) {
    let host = this.hosts.get(name);
    if (!host) this.hosts.set(name, (host = { t: [], v: [] }));
    return host;
  }

  _view(record) {
    const host = this._host(record.host);
    const last = host.v[host.v.length - 1];
    let near = last ? last.near : [];
    if (record.plus || record.minus) {
      const gone = new Set(record.minus);
      near = [...near.filter((name) => !gone.has(name)), ...(record.plus ?? [])];
    }
    host.t.push(record.t);
    host.v.push({ near, digests: record.d, reachable: record.reach, share: record.share ?? 0, peer: record.peer ?? "" });
  }

  _gone(record) {
    const host = this._host(record.host);
    host.t.push(record.t);
    host.v.push(null);
  }

  _event(record) {
    // An event is written when it is done, and bears the time at which it took effect.
    let place = this.events.length;
    while (place && this.events[place - 1].t > record.t) place--;
    this.events.splice(place, 0, record);
    this._steps = null;
    for (const number of record.over ?? []) if (this.faults[number]) this.faults[number].end = record.t;
    if (record.fault !== undefined)
      this.faults[record.fault] = {
        label: record.label, step: record.step, start: record.t, end: null, colour: record.colour ?? "",
      };
    this._epochs = null;
  }

  _series({ i, probe, source, target, name }) {
    this.series[i] = { i, probe, source, target, name: !!name, t: [], s: [], l: [], n: [], w: null, every: 0 };
  }

  _try({ i, t, s, l, n }) {
    const series = this.series[i];
    // A try that fails is told of a timeout later: until then silence means nothing.
    series.delay = Math.max(series.delay ?? 0, this.tried - t);
    if (t > this.tried) this.tried = t;
    let place = series.t.length;
    while (place && series.t[place - 1] > t) place--;
    for (const gap of [t - series.t[place - 1], series.t[place] - t])
      if (gap > 0 && (!series.every || gap < series.every)) series.every = gap;
    series.t.splice(place, 0, t);
    series.s.splice(place, 0, s);
    series.l.splice(place, 0, l ?? 0);
    if (series.name) series.n.splice(place, 0, n ?? 0);
  }

  /** Whole series at once, as a stored page has them. */
  load(columns) {
    for (const each of columns) {
      const count = each.s.length;
      const t = new Array(count);
      if (each.every && each.t.length === 1) for (let k = 0; k < count; k++) t[k] = each.t[0] + k * each.every;
      else for (let k = 0, at = 0; k < count; k++) t[k] = at += each.t[k];
      const s = new Array(count);
      for (let k = 0; k < count; k++) s[k] = each.s.charCodeAt(k) - 48;
      this.series[each.i] = {
        i: each.i, probe: each.probe, source: each.source, target: each.target, name: !!each.name,
        t, s, l: each.l, n: each.n ?? [], w: each.w ?? null, every: each.every,
      };
      if (count && t[count - 1] > this.end) this.end = t[count - 1];
    }
    return this;
  }

  serviceOf(replica) {
    if (this._services.has(replica)) return replica;
    const found = /^(.+)-(\d+)$/.exec(replica);
    return found ? found[1] : replica;
  }

  get services() {
    const found = new Set(this.meta.services);
    for (const series of this.series) {
      if (!series) continue;
      found.add(this.serviceOf(series.source));
      if (!series.name) found.add(this.serviceOf(series.target));
    }
    return [...found];
  }

  /** From when on which groups, containers and addresses there were. */
  get epochs() {
    if (this._epochs) return this._epochs;
    let now = { t: -Infinity, groups: this.meta.hosts.length ? [this.meta.hosts] : [], replicas: {}, addresses: {}, down: false };
    const epochs = [now];
    for (const event of this.events) {
      const down = event.what === "down";
      if (!event.groups && !event.rep && !event.addr && !down) continue;
      now = {
        t: event.t, groups: event.groups ?? now.groups, down,
        replicas: changed(now.replicas, event.rep), addresses: changed(now.addresses, event.addr),
      };
      if (down) Object.assign(now, { groups: [], replicas: {}, addresses: {} });
      epochs.push(now);
      if (down) break; // what comes after the end of a lab is no state of it
    }
    return (this._epochs = Object.assign(epochs, { times: epochs.map((epoch) => epoch.t) }));
  }

  /** The steps: starts and ends joined, in the order of their starts. */
  get steps() {
    return (this._steps ??= this._joined());
  }

  _joined() {
    const steps = [], open = new Map();
    for (const event of this.events) {
      const key = `${event.step} ${event.what}`;
      if (event.phase === "end" && open.has(key)) {
        const step = open.get(key);
        open.delete(key);
        step.end = event.t;
        if (event.ok !== undefined) step.ok = event.ok;
        if (step.text === step.what) step.text = event.expect ?? event.label;
        step.error = event.error ?? step.error;
        step.took = event.took ?? step.took;
        continue;
      }
      const step = {
        number: event.step, what: event.what, text: event.expect ?? event.label, start: event.t,
        end: event.phase === "start" ? null : event.t, ok: event.ok ?? null, error: event.error ?? "",
        took: event.took ?? null, lasts: !!event.lasts, asks: !!event.asks, by: event.by ?? "",
      };
      if (event.phase === "start") open.set(key, step);
      steps.push(step);
    }
    return steps;
  }
}

function changed(map, changes) {
  if (!changes) return map;
  const made = { ...map };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete made[name];
    else made[name] = value;
  }
  return made;
}

/** How everything was at `t`. `history` is a `History`, or records. */
export function view(history, t) {
  if (Array.isArray(history)) history = new History().append(history);
  const epoch = history.epochs[before(history.epochs.times, t)];
  const group = new Map();
  epoch.groups.forEach((hosts, index) => hosts.forEach((host) => group.set(host, index)));
  const containers = new Map();
  for (const [name, host] of Object.entries(epoch.replicas)) {
    if (!containers.has(host)) containers.set(host, []);
    containers.get(host).push({ name, address: epoch.addresses[name] ?? "" });
  }
  const hosts = [];
  for (const [name, { t: times, v }] of history.hosts) {
    const place = before(times, t);
    const belief = place < 0 ? null : v[place];
    hosts.push({
      name,
      state: belief ? "up" : place < 0 ? "unseen" : "down",
      group: group.get(name) ?? null,
      peer: belief?.peer ?? "",
      neighbours: belief?.near ?? [],
      reachable: belief?.reachable ?? 0,
      share: belief?.share ?? 0,
      digests: belief?.digests ?? null,
      containers: containers.get(name) ?? [],
    });
  }
  return {
    t, hosts, groups: epoch.groups, replicas: epoch.replicas, addresses: epoch.addresses,
    connections: connections(hosts),
    agreement: agreement(hosts),
    faults: history.faults.filter((fault) => fault && fault.start <= t && (fault.end === null || fault.end > t)),
    pairs: history.series.map((series) => series && pairAt(series, t, epoch)),
  };
}

/** [host, other host, whether both say so], each pair once. */
function connections(hosts) {
  const said = new Set(), pairs = [];
  for (const host of hosts) for (const other of host.neighbours) said.add(`${host.name}\n${other}`);
  for (const host of hosts)
    for (const other of host.neighbours) {
      const both = said.has(`${other}\n${host.name}`);
      if (!both || host.name < other) pairs.push([host.name, other, both]);
    }
  return pairs;
}

/** Whether the peers that run in one group have one view of {topology, ring, dns}: per kind, true or false. */
function agreement(hosts) {
  const kinds = ["topology", "ring", "dns"], seen = new Map(), result = {};
  for (const host of hosts) {
    if (!host.digests || host.group === null) continue;
    if (!seen.has(host.group)) seen.set(host.group, []);
    seen.get(host.group).push(host.digests);
  }
  kinds.forEach((kind, index) => {
    result[kind] = [...seen.values()].every((all) => all.every((digests) => digests[index] === all[0][index]));
  });
  return seen.size ? result : null;
}

/** The last try of a series that was due by `t`. */
export function pairAt(series, t, epoch) {
  const place = before(series.t, t);
  const none = { i: series.i, state: NOTHING, latency: 0, t: null };
  if (place < 0 || epoch.down) return none;
  if (!(series.source in epoch.replicas)) return none;
  const due = series.t[place];
  if (series.every && t - due > STALE * series.every + (series.delay ?? 0)) return none;
  return { i: series.i, state: series.s[place], latency: series.l[place], t: due };
}
