// The waveforms of one tile on one canvas.

import { Scale } from "./ward_scale.js";
import { Sweep } from "./ward_sweep.js";

const PAD_PX = 3;

export class Lanes {
  constructor(canvas) {
    this._canvas = canvas;
    this._context = canvas.getContext("2d", { alpha: false }); // Opaque: cheap to compose.
    this._lanes = [];
    this._width = 0;
    this._height = 0;
    this._paper = "";
    this.labels = [];
  }

  // lanes: [{device, metric}], top to bottom.
  show(lanes) {
    const same =
      lanes.length === this._lanes.length &&
      lanes.every(({ device, metric }, index) => {
        const own = this._lanes[index];
        return own.device === device && own.handle === metric.handle && own.group === metric.group;
      });
    if (same) return;
    this._lanes = lanes.map(({ device, metric }) => ({
      device,
      handle: metric.handle,
      group: metric.group,
      scale: new Scale(metric.group),
      sweep: null,
      colour: "",
    }));
    this._layOut();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this._canvas;
    const width = Math.round(clientWidth * ratio);
    const height = Math.round(clientHeight * ratio);
    if (this._canvas.width !== width || this._canvas.height !== height) {
      this._canvas.width = width;
      this._canvas.height = height;
    }
    this._width = clientWidth;
    this._height = clientHeight;
    this._context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this._layOut();
  }

  clear() {
    this._fill(0, 0, this._width, this._height);
    for (const lane of this._lanes) lane.sweep = null;
  }

  draw(waves, now) {
    if (!this._width) return;
    this._lanes.forEach((lane, index) => this._drawLane(lane, index, waves, now));
  }

  _layOut() {
    const style = getComputedStyle(this._canvas);
    this._paper = style.getPropertyValue("--panel");
    this._fill(0, 0, this._width, this._height);
    const height = this._height / Math.max(1, this._lanes.length);
    this._lanes.forEach((lane, index) => {
      lane.sweep = null;
      lane.top = Math.round(index * height);
      lane.height = Math.round((index + 1) * height) - lane.top;
      lane.colour =
        style.getPropertyValue(`--group-${lane.group}`) || style.getPropertyValue("--group-other");
    });
  }

  _drawLane(lane, index, waves, now) {
    const playhead = waves.playhead(lane.device);
    const at = playhead ? playhead.at(now) : null;
    if (at === null) {
      if (lane.sweep) this._wipe(lane, 0, this._width);
      lane.sweep = null;
      return;
    }
    lane.sweep ??= new Sweep(this._width);
    const buffer = waves.buffer(lane.device, lane.handle);
    const read = (from, to, visit) => {
      buffer?.read(from, to, (time, value) => {
        if (value !== null) lane.scale.see(value);
        visit(time, value);
      });
    };
    const { clear, wipes, lines } = lane.sweep.step(at, playhead.jumps, read);
    if (clear) this._wipe(lane, 0, this._width);
    for (const [x, width] of wipes) this._wipe(lane, x, width);
    if (lane.scale.settle(now)) {
      // Two scales on one lane would lie: it is drawn anew at the next frame.
      this._wipe(lane, 0, this._width);
      lane.sweep = null;
      const label = this.labels[index];
      if (label && label.textContent !== lane.scale.label) label.textContent = lane.scale.label;
      return;
    }
    if (lines.length) this._stroke(lane, lines);
  }

  _stroke(lane, lines) {
    const context = this._context;
    const { low, high } = lane.scale;
    const height = lane.height - 2 * PAD_PX;
    const bottom = lane.top + lane.height - PAD_PX;
    const factor = height / (high - low);
    context.strokeStyle = lane.colour;
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.beginPath();
    for (const line of lines) {
      context.moveTo(line[0], bottom - (line[1] - low) * factor);
      for (let i = 2; i < line.length; i += 2) {
        context.lineTo(line[i], bottom - (line[i + 1] - low) * factor);
      }
    }
    context.stroke();
  }

  _wipe(lane, x, width) {
    this._fill(x, lane.top, width, lane.height);
  }

  _fill(x, y, width, height) {
    this._context.fillStyle = this._paper;
    this._context.fillRect(x, y, width, height);
  }
}
