// What is known of a ward, and until when. Pure: every method is given the time.
//
// The one rule: a value is here only while it may be shown. What expired, what came by a stream
// that stalled, and what belongs to a device that moved is deleted, not hidden.

import { LagMeter } from "./ward_clock.js";

export const LAG_MS_MAX = 2_000;
const STALL_MS_DEFAULT = 3_000;

export class WardModel {
  constructor(waves) {
    this.waves = waves; // What plays samples: add(device, frame, now), drop(device), clear().
    this.beds = [];
    this.wards = [];
    this.leftOut = 0; // Beds that are too many for one view.
    this.devices = new Map();
    this.dark = "connecting"; // Why nothing may be shown; null while the ward is live.
    this.darkSinceWallMs = null;
    this.changed = new Set(); // Names of devices to be drawn anew; "*" for all.
    this.onsets = []; // Alarm conditions to be announced to a screen reader.
    this._lag = new LagMeter();
    this._stallMs = STALL_MS_DEFAULT;
    this._beatAt = null;
    this._beatWallMs = null;
    this._late = 0;
  }

  // Applies one event of the stream. Returns "reconnect" if the stream must not go on.
  apply(event, data, now) {
    const handler = Object.hasOwn(HANDLERS, event) ? HANDLERS[event] : null;
    return handler ? handler.call(this, data, now) : undefined;
  }

  // Blanks what may no longer be shown.
  sweep(now) {
    if (this.dark === null && this._beatAt !== null && now - this._beatAt > this._stallMs) {
      this.goDark("stalled");
      return;
    }
    for (const [name, device] of this.devices) {
      for (const [handle, value] of device.values) {
        if (now >= value.until) this._expire(name, device, handle);
      }
    }
  }

  // Deletes every value and every sample, and says why nothing is shown.
  goDark(reason) {
    if (this.dark === null) this.darkSinceWallMs = this._beatWallMs;
    this.dark = reason;
    for (const device of this.devices.values()) {
      device.values.clear();
      device.alarms.clear();
    }
    this.waves.clear();
    this.changed.add("*");
  }

  // The hub's wall time now, or null while nothing is live.
  wallMs(now) {
    return this.dark === null && this._beatAt !== null
      ? this._beatWallMs + (now - this._beatAt)
      : null;
  }

  device(name) {
    let found = this.devices.get(name);
    if (!found) {
      found = {
        facts: null,
        metrics: new Map(),
        waves: new Map(),
        values: new Map(),
        blanks: new Map(),
        alarms: new Map(),
        binding: null,
      };
      this.devices.set(name, found);
    }
    return found;
  }

  _expire(name, device, handle) {
    const value = device.values.get(handle);
    if (!value) return;
    device.values.delete(handle);
    device.blanks.set(handle, value.wallMs);
    this.changed.add(name);
  }

  _dropValues(name, device) {
    device.values.clear();
    device.blanks.clear();
    this.waves.drop(name);
    this.changed.add(name);
  }
}

function binding(bed, device) {
  return JSON.stringify([bed.key, device.link, device.association, bed.patient.id ?? null]);
}

const HANDLERS = {
  hello(data) {
    this._lag.reset();
    this._stallMs = data.stall_ms;
    this._beatAt = null;
    this.goDark("connecting");
    this.devices.clear();
  },

  beat(data, now) {
    this._late = this._lag.lag(data.ms, now);
    this._beatAt = now;
    this._beatWallMs = data.wall_ms;
    if (this._late > LAG_MS_MAX) {
      this.goDark("delayed");
      return "reconnect";
    }
    return undefined;
  },

  beds(data) {
    const here = new Set();
    for (const bed of data.beds) {
      for (const placed of bed.devices) {
        here.add(placed.name);
        const device = this.device(placed.name);
        const bound = binding(bed, placed);
        if (device.binding !== null && device.binding !== bound) {
          this._dropValues(placed.name, device);
        }
        device.binding = bound;
      }
    }
    for (const name of [...this.devices.keys()]) {
      if (!here.has(name)) {
        this.devices.delete(name);
        this.waves.drop(name);
      }
    }
    this.beds = data.beds;
    this.wards = data.wards ?? [];
    this.leftOut = data.left_out ?? 0;
    this.changed.add("*");
  },

  ready() {
    this.dark = null;
    this.darkSinceWallMs = null;
    this.changed.add("*");
  },

  device(data) {
    const device = this.device(data.name);
    device.facts = data;
    if (data.connection === "revoked") this._dropValues(data.name, device);
    this.changed.add(data.name);
  },

  metric(data) {
    const device = this.device(data.device);
    (data.wave ? device.waves : device.metrics).set(data.handle, data);
    this.changed.add(data.device);
  },

  numerics(data, now) {
    const device = this.devices.get(data.device);
    if (!device || device.facts?.connection === "revoked") return;
    for (const [handle, text, status, validMs] of data.values) {
      const until = now + validMs - this._late;
      const unverified = data.unverified?.[handle] ?? "";
      device.values.set(handle, { text, status, until, wallMs: data.wall_ms, unverified });
      device.blanks.delete(handle);
    }
    this.changed.add(data.device);
  },

  stale(data) {
    const device = this.devices.get(data.device);
    if (device) for (const handle of data.handles) this._expire(data.device, device, handle);
  },

  waveform(data, now) {
    if (this.devices.has(data.device)) this.waves.add(data.device, data, now - this._late);
  },

  alarms(data) {
    const device = this.device(data.device);
    device.alarms = new Map(data.active.map((alarm) => [alarm.id, alarm]));
    this.changed.add(data.device);
  },

  alarm(data) {
    if (data.past) return;
    const device = this.devices.get(data.device);
    if (!device) return;
    if (data.active) {
      if (!device.alarms.has(data.id)) this.onsets.push(data);
      device.alarms.set(data.id, data);
    } else {
      device.alarms.delete(data.id);
    }
    this.changed.add(data.device);
  },

  cut(data) {
    this.goDark(data.reason === "slow" ? "slow" : "stopped");
    return "reconnect";
  },
};
