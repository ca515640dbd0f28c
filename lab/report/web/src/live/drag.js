// Drags a line over the topology: a picture of it meanwhile, two points at its end. Knows nothing of what it means.

const NS = "http://www.w3.org/2000/svg";

/** `begins(x, y)`: whether a drag may begin there; `along(a, b)` is told while it goes on, `done(a, b)` at its end. */
export function dragLine(canvas, { begins, along, done, cancelled }) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("class", "cutline");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(NS, "line");
  svg.append(line);
  let from = null;
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const draw = (to) => {
    for (const [key, value] of [["x1", from.x], ["y1", from.y], ["x2", to.x], ["y2", to.y]]) line.setAttribute(key, value);
  };
  const stop = () => {
    from = null;
    svg.remove();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary || !begins(event.clientX, event.clientY)) return;
    from = point(event);
    draw(from);
    canvas.append(svg);
  }, { capture: true });
  // The pointer may leave the figure meanwhile: the line goes on outside of it.
  const move = (event) => {
    if (!from || !event.isPrimary) return;
    const to = point(event);
    draw(to);
    along(from, to);
  };
  const up = (event) => {
    if (!from || !event.isPrimary) return;
    const [a, b] = [from, point(event)];
    stop();
    if (Math.hypot(a.x - b.x, a.y - b.y) > 12) done(a, b);
    else cancelled();
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", up);
  addEventListener("pointercancel", () => { if (from) { stop(); cancelled(); } });
  addEventListener("keydown", (event) => { if (event.key === "Escape" && from) { stop(); cancelled(); } });
}
