import assert from "node:assert/strict";
import { test } from "node:test";

import { Scale } from "./ward_scale.js";
import { Sweep, WIPE_PX } from "./ward_sweep.js";
import { MISSING, Playhead, WaveBuffer, Waves, decodeSamples } from "./ward_waves.js";

const STEP_MS = 4;
const COUNT = 250;

function frame(sequence, at, samples = new Int16Array(COUNT).fill(sequence)) {
  const rest = { period_ms: STEP_MS, scale: 0.5, offset: 1 };
  return [{ sequence, at_ms: at, ...rest }, samples];
}

function read(buffer, from, to) {
  const found = [];
  buffer.read(from, to, (at, value) => found.push([at, value]));
  return found;
}

test("samples are big-endian, as on the wire", () => {
  const bytes = Buffer.from([0x00, 0x01, 0xff, 0xff, 0x80, 0x00, 0x7f, 0xff]);
  assert.deepEqual([...decodeSamples(bytes.toString("base64"))], [1, -1, MISSING, 32_767]);
});

test("frames that follow each other join, whatever jitters in their times", () => {
  const buffer = new WaveBuffer();
  buffer.add(...frame(1, 1_000));
  buffer.add(...frame(2, 2_003));
  const found = read(buffer, 1_000, 3_000);
  assert.equal(found.length, 2 * COUNT);
  assert.ok(found.every(([, value]) => value !== null));
  assert.deepEqual(found[COUNT], [2_000, 2]);
});

test("a missing frame and a missing sample are gaps, never lines", () => {
  const buffer = new WaveBuffer();
  buffer.add(...frame(1, 0));
  const holed = new Int16Array(COUNT);
  holed[10] = MISSING;
  buffer.add(...frame(3, 2_000, holed));
  const found = read(buffer, 0, 3_000);
  assert.deepEqual(found[COUNT], [2_000, null]);
  assert.equal(found[COUNT + 1 + 10][1], null);
});

test("a frame that begins before the last one ended takes its place, and no trace goes back", () => {
  const buffer = new WaveBuffer();
  const low = new Int16Array(COUNT).fill(-400);
  buffer.add(...frame(1, 0));
  buffer.add(...frame(2, 1_000, new Int16Array(COUNT).fill(1)));
  buffer.add(...frame(3, 1_902, low)); // 98 ms early: more than jitter that joins.
  buffer.add(...frame(5, 2_850)); // After a missing frame, and early too.
  const sweep = new Sweep(10_000, 0.1);
  let before = -1;
  for (let at = 0; at < 3_850; at += 16.7) {
    buffer.read(at, at + 16.7, (time) => {
      assert.ok(time >= before, `${time} after ${before}`);
      before = time;
    });
    const { lines } = sweep.step(at, 0, (from, to, visit) => buffer.read(from, to, visit));
    for (const line of lines) {
      const values = line.filter((_, index) => index % 2 === 1);
      assert.equal(new Set(values).size, 1, "no line joins what does not belong together");
    }
  }
  const seams = read(buffer, 0, 4_000).filter(([, value]) => value === null);
  assert.deepEqual(seams.map(([time]) => time), [1_902, 2_850]);
});

test("reading in pieces gives every sample once", () => {
  const buffer = new WaveBuffer();
  for (let n = 1; n <= 4; n += 1) buffer.add(...frame(n, n * 1_000));
  const found = [];
  for (let at = 900; at < 5_100; at += 16.7) {
    found.push(...read(buffer, at, at + 16.7).filter(([, value]) => value !== null));
  }
  assert.equal(found.length, 4 * COUNT);
});

test("a buffer keeps seconds, not hours", () => {
  const buffer = new WaveBuffer();
  for (let n = 1; n <= 100; n += 1) buffer.add(...frame(n, n * 1_000));
  assert.ok(read(buffer, 0, 1e9).length <= 14 * COUNT);
});

test("the playhead never passes the newest sample of a steady device", () => {
  const playhead = new Playhead();
  let newest = 0;
  let seed = 7;
  for (let second = 1; second < 60; second += 1) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    const jitter = (seed / 2 ** 31) * 150;
    newest = second * 1_000;
    playhead.arrived(newest, 1_000, 50_000 + newest + jitter);
    for (let part = 0; part < 50; part += 1) {
      const now = 50_000 + newest + 160 + part * 16.7;
      const at = playhead.at(now);
      if (second > 10) assert.ok(at <= newest + 1, `${at} is beyond ${newest}`);
      if (second > 10) assert.ok(newest - at < 1_700);
    }
  }
  assert.ok(playhead.jumps <= 2);
});

test("when samples stop, the playhead goes on: a gap grows, the past is not repeated", () => {
  const playhead = new Playhead();
  playhead.arrived(10_000, 1_000, 0);
  const first = playhead.at(0);
  const later = playhead.at(2_000);
  assert.ok(later - first > 1_800);
  assert.ok(later > first);
});

test("a device whose clock was set back is drawn again after a gap", () => {
  const playhead = new Playhead();
  for (let s = 0; s < 5; s += 1) playhead.arrived(100_000 + s * 1_000, 1_000, s * 1_000);
  playhead.at(4_100);
  for (let s = 5; s < 9; s += 1) playhead.arrived(40_000 + s * 1_000, 1_000, s * 1_000);
  const at = playhead.at(8_100);
  assert.ok(at > 45_000 && at < 48_100, `${at}`);
});

test("a dropped device has no samples left", () => {
  const waves = new Waves();
  const [head] = frame(1, 0);
  waves.add("d", { ...head, handle: 5, samples: Buffer.alloc(20).toString("base64") }, 0);
  assert.ok(waves.buffer("d", 5));
  waves.drop("d");
  assert.equal(waves.buffer("d", 5), null);
  assert.equal(waves.playhead("d"), null);
});

test("a sweep wipes ahead of its pen and draws what it passed, over the edge too", () => {
  const sweep = new Sweep(100, 0.1);
  const every = (from, to, visit) => {
    for (let at = Math.ceil(from / 10) * 10; at < to; at += 10) visit(at, 1);
  };
  assert.equal(sweep.step(10_000, 1, every).clear, true);
  let drawn = 0;
  for (let at = 10_020; at <= 13_000; at += 20) {
    const { clear, wipes, lines } = sweep.step(at, 1, every);
    assert.equal(clear, false);
    const wiped = wipes.reduce((sum, [, width]) => sum + width, 0);
    assert.ok(Math.abs(wiped - (2 + WIPE_PX)) < 1e-6);
    for (const line of lines) {
      for (let i = 2; i < line.length; i += 2) assert.ok(line[i] > line[i - 2]);
      drawn += line.length / 2;
    }
  }
  assert.ok(drawn >= 298);
});

test("a gap in the samples is a gap in the line", () => {
  const sweep = new Sweep(1_000, 0.1);
  const holed = (from, to, visit) => {
    for (let at = Math.ceil(from / 10) * 10; at < to; at += 10) {
      if (at < 400 || at >= 700) visit(at, 1);
    }
  };
  sweep.step(0, 1, () => {});
  const { lines } = sweep.step(1_000, 1, holed);
  assert.equal(lines.length, 2);
  assert.ok(lines[0].at(-2) < 40 && lines[1][0] >= 70);
});

test("after a long sleep the lane is wiped, not caught up", () => {
  const sweep = new Sweep(100, 0.1);
  sweep.step(0, 1, () => {});
  const { clear, lines } = sweep.step(60_000, 1, (from, to, visit) => visit(from, 1));
  assert.equal(clear, true);
  assert.deepEqual(lines, []);
});

test("scales grow at once and shrink slowly", () => {
  const scale = new Scale("abp");
  scale.see(120);
  assert.equal(scale.settle(0), true);
  assert.equal(scale.high, 160);
  scale.see(190);
  assert.equal(scale.settle(10), true);
  assert.equal(scale.high, 200);
  for (let now = 100; now <= 20_000; now += 100) {
    scale.see(50);
    scale.settle(now);
  }
  assert.equal(scale.high, 60);
});

test("an electrocardiogram keeps its middle and a round size", () => {
  const scale = new Scale("ecg");
  scale.see(-0.2);
  scale.see(1.1);
  scale.settle(0);
  assert.equal(scale.high - scale.low, 2);
  assert.equal(scale.label, "2 mV");
});
