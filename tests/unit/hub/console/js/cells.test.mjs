import assert from "node:assert/strict";
import { test } from "node:test";

import { cellsOf, conditionsOf, unverifiedTitle } from "./ward_cells.js";

function device({ metrics = [], values = {}, blanks = {}, alarms = [], facts = {} }) {
  return {
    facts: { connection: "live", last_wall_ms: 5, ...facts },
    metrics: new Map(metrics.map((metric) => [metric.handle, metric])),
    waves: new Map(),
    values: new Map(Object.entries(values).map(([h, [text, status]]) => [Number(h), { text, status }])),
    blanks: new Map(Object.entries(blanks).map(([h, at]) => [Number(h), at])),
    alarms: new Map(alarms.map((alarm) => [alarm.id, alarm])),
  };
}

const ABP = ["sys", "dia", "mean"].map((part, index) => ({
  handle: index + 1,
  label: "ABP",
  name: part,
  group: "abp",
  part,
  rank: 30,
  unit: "mmHg",
}));
const HR = { handle: 9, label: "HR", name: "Heart rate", group: "ecg", part: "", rank: 10, unit: "/min" };

test("a pressure is one cell, in the order of rank", () => {
  const found = cellsOf(
    device({
      metrics: [...ABP, HR],
      values: { 1: ["120", "valid"], 2: ["80", "valid"], 3: ["93", "valid"], 9: ["76", "valid"] },
    }),
  );
  assert.deepEqual(found.map((cell) => [cell.label, cell.text, cell.mean]), [
    ["HR", "76", ""],
    ["ABP", "120/80", "(93)"],
  ]);
});

test("a blank part never takes the place of another", () => {
  const [cell] = cellsOf(device({ metrics: ABP, values: { 2: ["80", "valid"] }, blanks: { 1: 7 } }));
  assert.equal(cell.text, "--/80");
  assert.equal(cell.blank, false);
  const [gone] = cellsOf(device({ metrics: ABP, blanks: { 1: 7 } }));
  assert.equal(gone.text, "--/--");
  assert.equal(gone.blank, true);
  assert.equal(gone.sinceWallMs, 7);
});

test("a value that is doubtful says so, one that is none is blank", () => {
  const doubtful = cellsOf(device({ metrics: [HR], values: { 9: ["76", "questionable"] } }));
  assert.equal(doubtful[0].mark, "?");
  const none = cellsOf(device({ metrics: [HR], values: { 9: [null, "invalid"] } }));
  assert.equal(none[0].text, "--");
  assert.equal(none[0].blank, true);
});

function alarm(id, priority, kind, more = {}) {
  return { id, priority, kind, text: id, label: "", source: "", inactivation: "none", wall_ms: 0, handle: 9, ...more };
}

test("the most urgent condition stands first, technical behind physiological", () => {
  const state = device({
    metrics: [HR],
    alarms: [
      alarm("a", "low", "physiological"),
      alarm("b", "high", "technical"),
      alarm("c", "high", "physiological"),
      alarm("d", "medium", "physiological"),
    ],
  });
  const found = conditionsOf([{ name: "n", state }]);
  assert.deepEqual(found.map((c) => c.text), ["c", "b", "d", "a"]);
  assert.deepEqual(found.map((c) => c.symbol), ["!!!", "!!!", "!!", "!"]);
  assert.equal(cellsOf(state)[0].priority, "high");
});

test("a condition that may have ended unseen is neither active nor gone", () => {
  const since = { unknown_since_ms: new Date(2026, 10, 22, 14, 2, 10).getTime() };
  const state = device({
    metrics: [HR],
    alarms: [
      alarm("a", "high", "physiological", { ...since, inactivation: "audio-paused" }),
      alarm("b", "high", "technical", { unknown_since_ms: null, found_by: "hub" }),
    ],
  });
  const [known, unknown] = conditionsOf([{ name: "n", state }]);
  assert.deepEqual([known.text, known.unknown, known.symbol], ["b", false, "!!!"]);
  assert.deepEqual([unknown.text, unknown.unknown, unknown.symbol], ["a", true, "?"]);
  assert.equal(unknown.note, "unknown since 14:02:10");
  const [cell] = cellsOf(state);
  assert.deepEqual([cell.priority, cell.unknown], ["high", true]);
  state.alarms.set("c", alarm("c", "low", "physiological"));
  assert.deepEqual([cellsOf(state)[0].priority, cellsOf(state)[0].unknown], ["low", false]);
});

test("words come from the device; without them the meaning of the code stands there", () => {
  const coded = alarm("x", "low", "technical", { text: "", label: "Above high limit", source: "HR" });
  const [found] = conditionsOf([{ name: "n", state: device({ alarms: [coded] }) }]);
  assert.equal(found.text, "HR: Above high limit");
});

for (const [connection, text] of [
  ["revoked", "HUB: DEVICE REVOKED"],
  ["silent", "HUB: NO DATA FROM DEVICE"],
  ["never", "HUB: DEVICE NEVER CONNECTED"],
]) {
  test(`a device that is ${connection} is a technical condition, not an empty tile`, () => {
    const state = device({ facts: { connection } });
    const [found] = conditionsOf([{ name: "n", state }]);
    assert.equal(found.text, text);
    assert.equal(found.technical, true);
  });
}

test("an unverified value is shown, with its mark and its reason", () => {
  const shown = device({ metrics: [HR, ...ABP], values: { 9: ["0", "valid"], 1: ["120", "valid"] } });
  shown.values.get(9).unverified = "patient: another";
  const [heart, pressure] = cellsOf(shown);
  assert.deepEqual([heart.text, heart.mark, heart.unverified], ["0", "UNV", "patient: another"]);
  assert.deepEqual([pressure.mark, pressure.unverified], ["", ""]);
  assert.equal(unverifiedTitle([heart, pressure]), "unverified: patient: another");
  assert.equal(unverifiedTitle([pressure]), "");
  const other = { unverified: "range: above" };
  assert.equal(unverifiedTitle([heart, other]), "unverified: patient: another, and 1 more");
});
