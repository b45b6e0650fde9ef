// The value under the pointer, or under a point that the arrow keys move.

import { depthColour } from "./views.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Probe {
  #point = null; // 0 to 1, across and down
  #maps = null;
  #metres = null;

  constructor({ canvas, cross, value, mark, scale, near, far }) {
    Object.assign(this, { canvas, cross, value, mark, near, far });
    const colours = Array.from({ length: 21 }, (_, stop) => `rgb(${depthColour(stop / 20)})`);
    scale.style.background = `linear-gradient(to right, ${colours})`;
    canvas.addEventListener("pointermove", (event) => this.#follow(event));
    canvas.addEventListener("pointerdown", (event) => this.#follow(event));
    canvas.addEventListener("keydown", (event) => this.#step(event));
    canvas.addEventListener("focus", () => this.#moveTo(this.#point ?? [0.5, 0.5]));
  }

  /** What depth 0 and 1 are in metres, {near, far}, or null. */
  set metres(metres) {
    this.#metres = metres;
    this.near.textContent = metres ? `${metres.near} m` : "near 0";
    this.far.textContent = metres ? `${metres.far} m` : "1 far";
  }

  show(maps) {
    this.#maps = maps;
    if (this.#point) this.#moveTo(this.#point);
  }

  #follow(event) {
    const box = this.canvas.getBoundingClientRect();
    this.#moveTo([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  }

  #step(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const size = event.shiftKey ? 0.1 : 0.02;
    this.#moveTo(this.#point.map((place, axis) => place + step[axis] * size));
  }

  #moveTo(point) {
    this.#point = point.map((place) => Math.min(Math.max(place, 0), 1));
    if (!this.#maps) return;
    const { width, height, depth } = this.#maps;
    const column = Math.min(Math.floor(this.#point[0] * width), width - 1);
    const row = Math.min(Math.floor(this.#point[1] * height), height - 1);
    const share = depth[row * width + column] / 65535;
    this.value.textContent = this.#metres
      ? `${(this.#metres.near + share * (this.#metres.far - this.#metres.near)).toFixed(2)} m`
      : `${share.toFixed(3)} (0 is nearest, 1 farthest)`;
    this.cross.hidden = this.mark.hidden = false;
    this.cross.style.left = `${this.#point[0] * 100}%`;
    this.cross.style.top = `${this.#point[1] * 100}%`;
    this.mark.style.left = `${share * 100}%`;
  }
}
