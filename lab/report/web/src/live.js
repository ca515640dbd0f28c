// Records of a running lab, and hands that change it. `lab watch` serves the page with `data.live` set.

/** Called once the page stands; `live` is what the server put into `data.live`. */
export function start(page, live) {
  void [page, live];
}
