import assert from "node:assert/strict";
import { test } from "node:test";

import { LAG_MS_MAX, WardModel } from "./ward_model.js";

const DEVICE = "urn:dev:mac:0000000000000001";

class NoWaves {
  dropped = [];
  cleared = 0;
  added = [];
  add(device, frame) {
    this.added.push([device, frame.handle]);
  }
  drop(device) {
    this.dropped.push(device);
  }
  clear() {
    this.cleared += 1;
  }
}

function bed(key, { link = "confirmed", association = "a1", patient = "p1", name = DEVICE } = {}) {
  return {
    key,
    ward: "ICU",
    label: key,
    patient: { state: "confirmed", id: patient, name: "N" },
    devices: [{ name, link, association }],
  };
}

function live({ at = 0 } = {}) {
  const model = new WardModel(new NoWaves());
  model.apply("hello", { stall_ms: 3_000 }, at);
  beat(model, at);
  model.apply("beds", { beds: [bed("1")] }, at);
  const facts = { name: DEVICE, label: "M", connection: "live" };
  model.apply("device", facts, at);
  model.apply("ready", {}, at);
  return model;
}

function beat(model, at, hubAhead = 1e9) {
  return model.apply("beat", { ms: at + hubAhead, wall_ms: 1.7e12 + at }, at);
}

function value(model, handle, validMs, at, text = "76") {
  const data = { device: DEVICE, wall_ms: 1.7e12 + at, values: [[handle, text, "valid", validMs]] };
  model.apply("numerics", data, at);
}

function shown(model, handle) {
  return model.device(DEVICE).values.get(handle)?.text;
}

test("nothing is shown before the snapshot is whole", () => {
  const model = new WardModel(new NoWaves());
  assert.equal(model.dark, "connecting");
  model.apply("hello", { stall_ms: 3_000 }, 0);
  beat(model, 0);
  assert.equal(model.dark, "connecting");
  model.apply("ready", {}, 1);
  assert.equal(model.dark, null);
});

test("one value that is not renewed is deleted, and only that one", () => {
  const model = live();
  value(model, 1, 6_000, 0);
  value(model, 2, 6_000, 0);
  for (let at = 1_000; at <= 7_000; at += 1_000) {
    beat(model, at);
    value(model, 2, 6_000, at);
    model.sweep(at);
    assert.equal(shown(model, 1), at < 6_000 ? "76" : undefined);
    assert.equal(shown(model, 2), "76");
  }
  assert.equal(model.device(DEVICE).blanks.get(1), 1.7e12);
});

test("a stream that says nothing for three seconds blanks everything", () => {
  const model = live();
  value(model, 1, 60_000, 0);
  model.sweep(3_000);
  assert.equal(shown(model, 1), "76");
  model.sweep(3_001);
  assert.equal(model.dark, "stalled");
  assert.equal(shown(model, 1), undefined);
  assert.equal(model.darkSinceWallMs, 1.7e12);
  assert.equal(model.waves.cleared, 2);
});

test("data that comes too late ends the stream and is not shown", () => {
  const model = live();
  beat(model, 1_000);
  value(model, 1, 6_000, 1_000);
  // Sent at 2 s, here at 2 s and a little more than the limit.
  const late = { ms: 2_000 + 1e9, wall_ms: 1.7e12 + 2_000 };
  assert.equal(model.apply("beat", late, 2_000 + LAG_MS_MAX + 10), "reconnect");
  assert.equal(model.dark, "delayed");
  assert.equal(shown(model, 1), undefined);
});

test("what a stream is behind is taken from the time a value may stand", () => {
  const model = live();
  model.apply("beat", { ms: 1_000 + 1e9, wall_ms: 0 }, 2_500);
  value(model, 1, 6_000, 2_500);
  assert.ok(Math.abs(model.device(DEVICE).values.get(1).until - 7_000) < 5);
});

for (const [name, change] of [
  ["another bed", bed("2")],
  ["another patient", bed("1", { patient: "p2" })],
  ["another association", bed("1", { association: "a2" })],
  ["no patient any more", { ...bed("1", { association: null, link: "none" }), patient: { state: "none" } }],
]) {
  test(`values leave at once with ${name}`, () => {
    const model = live();
    value(model, 1, 6_000, 0);
    model.apply("beds", { beds: [change] }, 10);
    assert.equal(shown(model, 1), undefined);
    assert.deepEqual(model.waves.dropped, [DEVICE]);
    value(model, 1, 6_000, 20, "80");
    assert.equal(shown(model, 1), "80");
  });
}

test("a device that left the ward is gone, with its values and samples", () => {
  const model = live();
  value(model, 1, 6_000, 0);
  model.apply("beds", { beds: [] }, 10);
  assert.equal(model.devices.size, 0);
  value(model, 1, 6_000, 20);
  model.apply("waveform", { device: DEVICE, handle: 1 }, 20);
  assert.equal(model.devices.size, 0);
  assert.equal(model.waves.added.length, 0);
});

test("a revoked device shows nothing, whatever still comes", () => {
  const model = live();
  value(model, 1, 6_000, 0);
  model.apply("device", { name: DEVICE, connection: "revoked" }, 1);
  value(model, 1, 6_000, 2);
  assert.equal(shown(model, 1), undefined);
});

test("an alarm condition lives from onset to end; what is past is never active", () => {
  const model = live();
  const alarm = { device: DEVICE, id: "c1", active: true, past: false, text: "x", priority: "high" };
  model.apply("alarm", { ...alarm, past: true }, 0);
  assert.equal(model.device(DEVICE).alarms.size, 0);
  model.apply("alarm", alarm, 0);
  model.apply("alarm", { ...alarm, phase: "change" }, 1);
  assert.equal(model.device(DEVICE).alarms.size, 1);
  assert.equal(model.onsets.length, 1);
  model.apply("alarm", { ...alarm, active: false }, 2);
  assert.equal(model.device(DEVICE).alarms.size, 0);
  model.apply("alarms", { device: DEVICE, active: [{ id: "c2" }, { id: "c3" }] }, 3);
  assert.equal(model.device(DEVICE).alarms.size, 2);
});

test("a new stream voids everything that was known", () => {
  const model = live();
  value(model, 1, 60_000, 0);
  model.apply("hello", { stall_ms: 3_000 }, 100);
  assert.equal(model.dark, "connecting");
  assert.equal(model.devices.size, 0);
});

test("a view that the hub cut says why", () => {
  const model = live();
  value(model, 1, 60_000, 0);
  assert.equal(model.apply("cut", { reason: "slow" }, 10), "reconnect");
  assert.equal(model.dark, "slow");
  assert.equal(shown(model, 1), undefined);
});

test("events of a later hub are not understood and do no harm", () => {
  const model = live();
  assert.equal(model.apply("constructor", {}, 0), undefined);
  assert.equal(model.apply("new-kind", {}, 0), undefined);
});
