// Samples between arrival and the screen: a small jitter buffer for each device. Pure.
//
// A device's waveforms share one playhead, so that they stay beside each other. The playhead runs
// behind the newest sample by the length of a frame and the jitter that was seen, never more than
// `DELAY_MS_MAX`; samples that come later than that leave a gap.

import { LagMeter } from "./ward_clock.js";

export const MISSING = -32_768;
const KEEP_MS = 12_000;
const DELAY_MS_MAX = 3_000;
const MARGIN_MS = 60;
const JOIN_MS = 80; // Consecutive frames whose times differ by less belong together.
const SLEW = 0.08; // Part by which playing may be quicker or slower, to catch up unseen.
const JUMP_MS = 1_000;
const STEPPED_MS = 4_000; // Lateness that can only be a step of the device's clock.
const STEPPED_FRAMES = 3;
const JITTER_FADES_PER_MS = 0.02;

// Decodes Base64 of big-endian 16-bit integers.
export function decodeSamples(text) {
  const raw = atob(text);
  const found = new Int16Array(raw.length >> 1);
  for (let i = 0; i < found.length; i += 1) {
    found[i] = (raw.charCodeAt(2 * i) << 8) | raw.charCodeAt(2 * i + 1);
  }
  return found;
}

// The samples of one waveform, as stretches without a gap.
export class WaveBuffer {
  constructor() {
    this._parts = [];
    this._next = null;
  }

  add(frame, samples) {
    const stepMs = frame.period_ms;
    let start = frame.at_ms;
    const next = this._next;
    const joins =
      next !== null && frame.sequence === next.sequence && Math.abs(start - next.at) < JOIN_MS;
    if (joins) {
      start = next.at;
    } else if (next && frame.sequence < next.sequence) {
      this._parts = []; // The device began anew.
    }
    const end = start + samples.length * stepMs;
    this._cut(start);
    const { scale, offset } = frame;
    this._parts.push({ start, end, joins, stepMs, samples, scale, offset });
    this._next = { sequence: frame.sequence + 1, at: end };
    while (this._parts.length && this._parts[0].end < end - KEEP_MS) this._parts.shift();
    return end;
  }

  // Drops what stands at or after a moment: of one moment only the newest word counts. A frame
  // that is missing, or a clock that was set, may let the next one begin before the last ended.
  _cut(start) {
    while (this._parts.length && this._parts.at(-1).start >= start) this._parts.pop();
    const last = this._parts.at(-1);
    if (!last || last.end <= start) return;
    const kept = Math.floor((start - last.start) / last.stepMs);
    last.samples = last.samples.subarray(0, kept);
    last.end = last.start + kept * last.stepMs;
  }

  // Calls back with (time, value) for every sample in [from, to), null for a missing one, and
  // with (time, null) where a stretch ends that the next one does not join.
  read(from, to, visit) {
    for (const part of this._parts) {
      if (part.start >= to) return;
      if (!part.joins && part.start >= from && part !== this._parts[0]) visit(part.start, null);
      if (part.end <= from) continue;
      const first = Math.max(0, Math.ceil((from - part.start) / part.stepMs));
      const stop = Math.min(part.samples.length, Math.ceil((to - part.start) / part.stepMs));
      for (let i = first; i < stop; i += 1) {
        const raw = part.samples[i];
        const value = raw === MISSING ? null : raw * part.scale + part.offset;
        visit(part.start + i * part.stepMs, value);
      }
    }
  }
}

// Where a device's waveforms are being drawn, in the device's own time.
export class Playhead {
  constructor() {
    this.jumps = 0; // Rises when drawing has to begin anew.
    this._reset();
  }

  // Notes that samples up to `endMs` arrived, in a frame of that length.
  arrived(endMs, lengthMs, now) {
    const late = this._lag.lag(endMs, now);
    if (late > STEPPED_MS) {
      this._stepped += 1;
      if (this._stepped >= STEPPED_FRAMES) {
        this._reset();
        this._lag.lag(endMs, now);
      }
    } else {
      this._stepped = 0;
      const faded = this._jitter - (now - this._at) * JITTER_FADES_PER_MS;
      this._jitter = Math.max(late, faded, 0);
    }
    this._frameMs = Math.max(lengthMs, this._frameMs * 0.9);
    this._quickestEnd = { endMs: endMs + late, at: now };
    this._at = now;
  }

  // Returns the device's time to draw up to, or null before the first sample.
  at(now) {
    if (this._quickestEnd === null) return null;
    const delay = Math.min(DELAY_MS_MAX, this._frameMs + this._jitter + MARGIN_MS);
    const target = this._quickestEnd.endMs + (now - this._quickestEnd.at) - delay;
    if (this._drawn === null || Math.abs(target - this._drawn - (now - this._drawnAt)) > JUMP_MS) {
      this.jumps += 1;
      this._drawn = target;
    } else {
      const passed = now - this._drawnAt;
      const error = target - (this._drawn + passed);
      this._drawn += passed + Math.max(-SLEW * passed, Math.min(SLEW * passed, error));
    }
    this._drawnAt = now;
    return this._drawn;
  }

  _reset() {
    this._lag = new LagMeter();
    this._jitter = 0;
    this._frameMs = 0;
    this._stepped = 0;
    this._quickestEnd = null;
    this._drawn = null;
    this._drawnAt = 0;
    this._at = 0;
  }
}

// All waveforms of a ward.
export class Waves {
  constructor() {
    this._devices = new Map();
  }

  add(device, frame, now) {
    let found = this._devices.get(device);
    if (!found) {
      found = { playhead: new Playhead(), buffers: new Map() };
      this._devices.set(device, found);
    }
    let buffer = found.buffers.get(frame.handle);
    if (!buffer) {
      buffer = new WaveBuffer();
      found.buffers.set(frame.handle, buffer);
    }
    const samples = decodeSamples(frame.samples);
    const end = buffer.add(frame, samples);
    found.playhead.arrived(end, samples.length * frame.period_ms, now);
  }

  drop(device) {
    this._devices.delete(device);
  }

  clear() {
    this._devices.clear();
  }

  playhead(device) {
    return this._devices.get(device)?.playhead ?? null;
  }

  buffer(device, handle) {
    return this._devices.get(device)?.buffers.get(handle) ?? null;
  }
}
