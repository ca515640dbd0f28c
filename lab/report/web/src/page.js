// What all parts of the page share: the history, the moment that is shown, the filter. Draws nothing.
import { History, view } from "./model.js";

/** Whether there is another series to show since the last drawing; `due` is what a drawing is for, if not for all. */
export const newSeries = (due) => !due || due.has("records") || due.has("filter");

export class Page {
  constructor(data) {
    this.data = data;
    this.history = new History().append(data.records ?? []).load(data.series ?? []);
    this.live = !!data.live;
    this.following = this.live; // the moment shown is the latest one
    this.service = ""; // of which containers are shown; empty: all
    this.probe = "";
    this.onMove = null; // what hands do: (step as in a scenario, lease) => Promise; set by a live page
    this._listeners = {};
    this._now = this.last;
    this._view = null;
    this._waiting = false;
  }

  get first() { return 0; }
  /** The end of the time axis: when the lab was taken down, or the latest record. */
  get last() {
    const { epochs, end } = this.history, { down, t } = epochs[epochs.length - 1];
    return Math.max(down ? t - 1 : end, 1);
  }
  get now() { return this.following ? this.last : this._now; }
  /** How everything is at the moment that is shown. */
  get view() { return (this._view ??= view(this.history, this.now)); }

  /** Faults, each with `until`: when it ended, or the latest moment. */
  get faults() { return this.history.faults.filter(Boolean).map((fault) => ({ ...fault, until: fault.end ?? this.last })); }

  /** Series of pairs of containers that had a try; with `names` those of names that were asked. */
  tried(names = false) { return this.history.series.filter((each) => each && each.name === names && each.t.length); }
  /** The probe whose pairs are shown. */
  get shownProbe() { return this.probe || this.tried()[0]?.probe; }
  shownPairs() {
    const probe = this.shownProbe;
    return this.tried().filter((each) => each.probe === probe && this.shows(each));
  }
  titleOf(probe) { return this.history.meta.titles[probe] ?? probe; }
  /** Where the table of a figure is; null: it has none. */
  csv(figure) { return (this.data.tables ?? []).includes(figure) ? `${figure}.csv` : null; }

  on(what, listener) { (this._listeners[what] ??= []).push(listener); return this; }
  emit(what, value) { for (const listener of this._listeners[what] ?? []) listener(value); }

  /** Records of a running lab (lab/report/feed.py). */
  append(records) {
    this.history.append(records);
    this._view = null;
    this._later("records");
  }

  /** Shows the moment `t` (ns); null: follow the latest. */
  setNow(t) {
    this.following = t === null;
    if (t !== null) this._now = Math.max(this.first, Math.min(Math.round(t), this.last));
    this._view = null;
    this._later("now");
  }

  setFilter({ service = this.service, probe = this.probe }) {
    Object.assign(this, { service, probe });
    this._later("filter");
  }

  /** Does a step by hand, a fault for `lease` ns (null: until it is ended); only a live page can. */
  move(step, lease = null) {
    return this.onMove ? this.onMove(step, lease) : Promise.reject(new Error("this page shows a stored run"));
  }

  shows(series) {
    return !this.service || this.history.serviceOf(series.source) === this.service ||
      (!series.name && this.history.serviceOf(series.target) === this.service);
  }

  /** Many changes become one drawing. */
  _later(what) {
    (this._due ??= new Set()).add(what);
    if (this._waiting) return;
    this._waiting = true;
    const draw = () => {
      this._waiting = false;
      const due = this._due;
      this._due = new Set();
      this.emit("draw", due);
    };
    (document.hidden ? (f) => setTimeout(f, 50) : requestAnimationFrame)(draw);
  }
}
