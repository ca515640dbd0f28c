// What hands can do, from the verbs' forms: which are done at a click, which open a form. Pure; knows no verb.

const NAMES = new Set(["host", "hosts", "service", "services"]);
const ofHosts = (field) => field.kind === "host" || field.kind === "hosts";
const ofServices = (field) => field.kind === "service" || field.kind === "services";

/** [{verb, given, label, atOnce}]: what can be done to one thing, `kind` "host" or "service". */
export function onOne(verbs, kind, name) {
  const fits = kind === "host" ? ofHosts : ofServices;
  const found = [];
  for (const verb of verbs) {
    if (verb.fields.some((field) => field.key === "from" || field.required && !fits(field) && NAMES.has(field.kind))) continue;
    const ways = verb.fields.filter(fits), atOnce = verb.fields.every((each) => NAMES.has(each.kind) || each.kind === "switch" && !each.required);
    for (const field of ways) {
      const given = { [field.key]: field.kind.endsWith("s") ? [name] : name };
      found.push({ verb, given, label: ways.length > 1 ? `${verb.verb} ${field.key}` : verb.verb, atOnce });
    }
  }
  return found;
}

/** What can be done to the cable between two hosts: verbs with two ends. */
export function onTwo(verbs, one, other) {
  const found = [];
  for (const verb of verbs) {
    const ends = ["from", "to"].map((key) => verb.fields.find((field) => field.key === key && ofHosts(field)));
    if (!ends[0] || !ends[1]) continue;
    const given = Object.fromEntries(ends.map((field, index) => [field.key, field.kind === "hosts" ? [[one, other][index]] : [one, other][index]]));
    found.push({ verb, given, label: verb.verb, atOnce: false });
  }
  return found;
}

const UNITS = { ns: 1, us: 1e3, "\u00b5s": 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

/** Nanoseconds of `1m30s`; null for nothing. Throws for what is no duration. */
export function duration(text) {
  if (!text.trim()) return null;
  if (!/^(\d+(\.\d+)?(ns|us|\u00b5s|ms|s|m|h))+$/.test(text.trim())) throw new Error(`found ${text.trim()}, expected a duration as 200ms, 10s or 2m`);
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|\u00b5s|ms|s|m|h)/g)) sum += number * UNITS[unit];
  return Math.round(sum);
}
