// Drawing of states into a canvas: the same cell everywhere, told apart by form as well as by colour.
import { CUT, LEAKED, MISSED, NOTHING, WRONG } from "./model.js";
import { colours } from "./palette.js";

/** Makes a canvas this large in CSS pixels, and sharp on every screen; returns its pen. */
export function sized(canvas, width, height) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/** One state in a rectangle: full when reached, hatched when cut, a cross when missed, barred when leaked. */
export function cell(pen, state, x, y, width, height) {
  const colour = colours();
  pen.fillStyle = colour.state[state];
  if (state === NOTHING) {
    const dot = Math.min(3, width, height);
    pen.fillRect(x + (width - dot) / 2, y + (height - dot) / 2, dot, dot);
    return;
  }
  pen.fillRect(x, y, width, height);
  if (width < 5 || height < 5) return;
  pen.strokeStyle = pen.fillStyle = colour.card;
  pen.lineWidth = Math.max(1, Math.min(width, height) / 10);
  const m = Math.min(width, height) * 0.24, cx = x + width / 2, cy = y + height / 2;
  pen.beginPath();
  if (state === MISSED) {
    pen.moveTo(cx - m, cy - m); pen.lineTo(cx + m, cy + m); pen.moveTo(cx + m, cy - m); pen.lineTo(cx - m, cy + m);
  } else if (state === CUT) {
    pen.moveTo(cx - m, cy + m); pen.lineTo(cx + m, cy - m);
  } else if (state === LEAKED) {
    pen.moveTo(cx - m, cy); pen.lineTo(cx + m, cy); pen.moveTo(cx, cy - m); pen.lineTo(cx, cy + m);
  } else if (state === WRONG) {
    pen.moveTo(cx - m, cy - m / 2); pen.lineTo(cx + m, cy - m / 2); pen.moveTo(cx - m, cy + m / 2); pen.lineTo(cx + m, cy + m / 2);
  }
  pen.stroke();
}
