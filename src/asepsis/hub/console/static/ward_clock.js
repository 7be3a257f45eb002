// Time without a common clock: what is late, and whether this computer slept.

const LEAK_PER_MS = 0.001; // Two crystals drift apart by far less than a millisecond a second.
const WAKE_JUMP_MS = 1_000;

// How much longer something took than the quickest one before it. Only differences of the two
// clocks count, so it does not matter how far they are apart.
export class LagMeter {
  constructor() {
    this.reset();
  }

  reset() {
    this._quickest = null;
    this._at = 0;
  }

  // Returns milliseconds, 0 for the quickest so far.
  lag(sentMs, nowMs) {
    const delay = nowMs - sentMs;
    if (this._quickest === null) this._quickest = delay;
    else this._quickest = Math.min(delay, this._quickest + (nowMs - this._at) * LEAK_PER_MS);
    this._at = nowMs;
    return delay - this._quickest;
  }
}

// Tells that the computer slept: its monotonic clock stood still while the wall clock went on.
export class WakeGuard {
  constructor() {
    this._ahead = null;
  }

  woke(monotonicMs, wallMs) {
    const ahead = wallMs - monotonicMs;
    const slept = this._ahead !== null && Math.abs(ahead - this._ahead) > WAKE_JUMP_MS;
    this._ahead = ahead;
    return slept;
  }
}

// Writes the hub's wall time as people read it: 14:02:10.
export function clockText(wallMs) {
  if (wallMs === null || wallMs === undefined) return "--:--:--";
  const at = new Date(wallMs);
  return [at.getHours(), at.getMinutes(), at.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}
