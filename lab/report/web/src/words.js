// Times and counts in words, as Python's `lab.words` has them.

export function span(ns) {
  if (ns === null || ns === undefined) return "not reached";
  if (ns === 0) return "0 s";
  if (ns < 1e6) return `${Math.round(ns / 1e3)} µs`;
  if (ns < 1e7) return `${(ns / 1e6).toFixed(1)} ms`;
  if (ns < 1e9) return `${Math.round(ns / 1e6)} ms`;
  return ns < 1e10 ? `${(ns / 1e9).toFixed(2)} s` : `${(ns / 1e9).toFixed(1)} s`;
}

export const clock = (ns) => `${(ns / 1e9).toFixed(ns < 1e11 ? 2 : 1)} s`;
export const count = (number, noun, plural) => `${number} ${number === 1 ? noun : plural ?? `${noun}s`}`;
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** Order of names: web-2 before web-10. */
export const natural = new Intl.Collator("en", { numeric: true }).compare;
