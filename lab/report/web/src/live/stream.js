// The records of a running lab by Server-Sent Events, over `fetch` because an `EventSource` cannot send a token.
//
// Owns the connection: it comes back by itself where it was (`Last-Event-ID`), slower each time that it fails.
import { call } from "./ask.js";

const LONGEST = 5000; // milliseconds between two tries

/** Calls `on[event](data)` for each event, and `on.away(error)`, `on.back()` when the connection goes and returns. */
export async function stream(path, on) {
  let last = "", wait = 250;
  for (;;) {
    let why = null;
    try {
      const response = await call(path, { headers: last ? { "Last-Event-ID": last } : {} });
      on.back?.();
      wait = 250;
      for await (const event of events(response.body)) {
        on[event.event]?.(JSON.parse(event.data));
        if (event.id) last = event.id;
        if (event.event === "ended") return;
      }
    } catch (error) {
      why = error;
    }
    const final = why && why.status >= 400 && why.status < 500;
    on.away?.(why, final);
    if (final) return;
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(2 * wait, LONGEST);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event = parsed(text.slice(0, end));
        text = text.slice(end + 2);
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  const event = { event: "message", data: "", id: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
  }
  return event;
}
