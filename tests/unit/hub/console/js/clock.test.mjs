import assert from "node:assert/strict";
import { test } from "node:test";

import { LagMeter, WakeGuard, clockText } from "./ward_clock.js";

test("only differences of two clocks count", () => {
  const lag = new LagMeter();
  assert.equal(lag.lag(1_000_000, 5), 0);
  assert.equal(lag.lag(1_001_000, 1_005), 0);
  assert.ok(Math.abs(lag.lag(1_002_000, 4_005) - 2_000) < 5);
});

test("a quicker event is the new measure, and is forgotten slowly", () => {
  const lag = new LagMeter();
  lag.lag(0, 100);
  assert.equal(lag.lag(1_000, 1_050), 0);
  assert.ok(Math.abs(lag.lag(101_000, 101_100) - 0) < 1e-6);
  assert.ok(lag.lag(102_000, 102_100) < 50);
});

test("a computer that slept is found, whichever clock stood still", () => {
  const guard = new WakeGuard();
  assert.equal(guard.woke(0, 1_000_000), false);
  assert.equal(guard.woke(250, 1_000_250), false);
  assert.equal(guard.woke(500, 1_060_500), true);
  assert.equal(guard.woke(750, 1_060_750), false);
  assert.equal(guard.woke(900_000, 1_060_800), true);
});

test("a moment that is not known is no moment", () => {
  assert.equal(clockText(null), "--:--:--");
  assert.match(clockText(0), /^\d\d:\d\d:\d\d$/);
});
