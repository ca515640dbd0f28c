// Questions to `lab watch`, with the token of this page's address.
//
// The token comes in the fragment, which no browser sends anywhere, leaves the address bar at once, and is kept for
// this tab alone. It travels in a header: no other page can make a browser send it.

const KEPT = "lab-watch";
const TOKEN = /^#([A-Za-z0-9_-]{32})$/;

export function takeToken() {
  const found = TOKEN.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEPT, found[1]);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEPT) ?? "";
}

/** An answer that is no success, in the words of the lab. */
export class Refused extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

export async function call(path, { body, headers = {}, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: { Authorization: `Bearer ${takeToken()}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", credentials: "omit", redirect: "error", signal,
    });
  } catch (error) {
    throw new Refused("`lab watch` does not answer: was it ended?", 0);
  }
  if (!response.ok) throw new Refused((await response.text()) || `refused (${response.status})`, response.status);
  return response;
}

export const ask = async (path, body) => (await call(path, { body })).json();
