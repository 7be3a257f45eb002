// How tall a waveform is drawn. Pure: fed with values, asked for a range.

const SHRINK_AFTER_MS = 6_000;
const PRESSURES = [20, 40, 60, 100, 160, 200, 240, 300];
const ECG_MV = [0.5, 1, 2, 4, 8, 16];

// Chooses the range of one lane; a range grows at once and shrinks after a while.
export class Scale {
  constructor(group) {
    this._pick = PICKERS[group] ?? pickAround;
    this.low = 0;
    this.high = 1;
    this.label = "";
    this._seenLow = Infinity;
    this._seenHigh = -Infinity;
    this._since = null;
    this._set = false;
  }

  see(value) {
    if (value < this._seenLow) this._seenLow = value;
    if (value > this._seenHigh) this._seenHigh = value;
  }

  // Returns whether the range has changed, so that the lane must be wiped.
  settle(now) {
    if (this._seenHigh < this._seenLow) return false;
    const outside = this._seenLow < this.low || this._seenHigh > this.high;
    this._since ??= now;
    const due = now - this._since >= SHRINK_AFTER_MS;
    if (this._set && !outside && !due) return false;
    const found = this._pick(this._seenLow, this._seenHigh);
    if (due) {
      this._seenLow = Infinity;
      this._seenHigh = -Infinity;
      this._since = now;
    }
    if (this._set && !outside && found.high - found.low > 0.6 * (this.high - this.low)) return false;
    const changed = found.low !== this.low || found.high !== this.high;
    this._set = true;
    Object.assign(this, found);
    return changed;
  }
}

// Millivolts around the middle, in steps that people know as gain.
function pickEcg(low, high) {
  const span = Math.max(1e-6, high - low) * 1.15;
  const size = ECG_MV.find((mv) => mv >= span) ?? span;
  const middle = Math.round(((low + high) / 2) * 10) / 10;
  return { low: middle - size / 2, high: middle + size / 2, label: `${size} mV` };
}

// From zero to the first round pressure above the highest.
function pickPressure(low, high) {
  const top = PRESSURES.find((mmHg) => mmHg >= high * 1.05) ?? high * 1.1;
  return { low: Math.min(0, low), high: top, label: `0–${Math.round(top)}` };
}

// Whatever is there, with a margin.
function pickAround(low, high) {
  const pad = Math.max(1e-9, (high - low) * 0.12);
  return { low: low - pad, high: high + pad, label: "" };
}

const PICKERS = {
  ecg: pickEcg,
  abp: pickPressure,
  cvp: pickPressure,
  pap: pickPressure,
  co2: pickPressure,
};
