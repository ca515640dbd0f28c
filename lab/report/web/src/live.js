// Records of a running lab, and hands that change it. `lab watch` serves the page with `data.live` set.
import "./live/live.css";
import { h } from "./dom.js";
import { ask, takeToken } from "./live/ask.js";
import { hands } from "./live/hands.js";
import { stream } from "./live/stream.js";

/** Called once the page stands. */
export async function start(page) {
  takeToken();
  let here;
  try {
    here = hands(page, await ask("/about"));
  } catch (error) {
    document.getElementById("hands").append(h("p", { class: "refusal", role: "alert" }, error.message));
    document.documentElement.dataset.link = "refused";
    return;
  }
  const link = (state, text, bad) => {
    document.documentElement.dataset.link = state;
    here.link(text, bad);
  };
  link("connecting", "connecting");
  await stream("/records", {
    records: (records) => page.append(records),
    now: () => link("live", "live"),
    state: here.onState,
    back: () => link("live", "live"),
    away: (error, final) => link(final ? "refused" : "away", final ? error.message : "no connection to `lab watch`, trying again", true),
    ended: ({ reason }) => { link("ended", reason, true); here.onState({ faults: [], moves: 0, now: 0 }); },
  });
}
