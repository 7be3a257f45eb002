// A sweep: the trace is written from left to right and wiped just ahead of the pen. Pure: it says
// what to wipe and what to draw, in pixels.

export const MM_PX = 96 / 25.4; // A CSS pixel is 1/96 inch, so paper speed is what it says.
export const SPEED_MM_S = 25;
export const WIPE_PX = 14;

// One lane.
//
// width: pixels; speed: pixels a millisecond.
export class Sweep {
  constructor(width, speed = (SPEED_MM_S * MM_PX) / 1_000) {
    this.width = width;
    this._speed = speed;
    this._drawnTo = null;
    this._jumps = null;
    this._pen = null;
  }

  // Moves the pen to `to` (milliseconds of the device).
  //
  // Returns {clear, wipes, lines}: whether the whole lane is wiped first; [x, width] to wipe; and
  // polylines as flat arrays [x, value, x, value...].
  step(to, jumps, read) {
    const clear = this._drawnTo === null || jumps !== this._jumps || to < this._drawnTo;
    // A new lane begins with what just went by; the buffer holds nothing that was dropped.
    const from = clear ? to - (this.width - WIPE_PX) / this._speed : this._drawnTo;
    if (clear) this._pen = null;
    this._jumps = jumps;
    this._drawnTo = to;
    if (to - from > this.width / this._speed) {
      // The page slept for a whole screen: nothing of what is drawn is of now.
      this._pen = null;
      return { clear: true, wipes: [], lines: [] };
    }
    return { clear, wipes: clear ? [] : this._wipes(from, to), lines: this._lines(from, to, read) };
  }

  _x(at) {
    return (at * this._speed) % this.width;
  }

  _wipes(from, to) {
    const start = this._x(from) + 1;
    const length = (to - from) * this._speed + WIPE_PX;
    if (start + length <= this.width) return [[start, length]];
    return [
      [start, this.width - start],
      [0, start + length - this.width],
    ];
  }

  _lines(from, to, read) {
    const lines = [];
    let line = this._pen ? [this._pen.x, this._pen.value] : [];
    let pen = this._pen;
    const end = () => {
      if (line.length >= 4) lines.push(line);
      line = [];
    };
    read(from, to, (at, value) => {
      if (value === null) {
        end();
        pen = null;
        return;
      }
      const x = this._x(at);
      // Back at the left edge, or after samples that are missing: a new line begins.
      if (pen && (x < pen.x || at - pen.at > 60)) end();
      line.push(x, value);
      pen = { x, value, at };
    });
    end();
    this._pen = pen && to - pen.at < 60 ? pen : null;
    return lines;
  }
}
