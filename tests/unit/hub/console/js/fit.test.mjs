import assert from "node:assert/strict";
import { test } from "node:test";

import { COLUMNS, fit } from "./ward_fit.js";

const cell = (label, text, more = {}) => ({
  label,
  text,
  unit: "mmHg",
  mean: "",
  mark: "",
  blank: false,
  priority: "",
  rank: 10,
  ...more,
});
const block = (cells, big = 2) => [{ cells, big, title: "" }];
const many = (count, more = {}) =>
  Array.from({ length: count }, (_, index) => cell(`V${index}`, "120", { rank: index, ...more }));

test("numbers are as large as there is room", () => {
  const small = fit(block(many(6)), { width: 220, height: 170 });
  const large = fit(block(many(6)), { width: 440, height: 400 });
  assert.equal(small.left, 0);
  assert.ok(large.sizes.big > small.sizes.big);
});

test("what does not fit is counted, never squeezed", () => {
  for (const height of [0, 10, 40, 90, 140, 200, 300]) {
    const found = fit(block(many(24)), { width: 200, height });
    const shown = found.blocks[0].cells.length;
    assert.equal(shown + found.left, 24);
    assert.ok(found.spans[0].every((span) => span <= COLUMNS));
  }
});

test("a cell in alarm stays when others go", () => {
  const cells = many(20);
  cells.push(cell("Last", "7", { rank: 899, priority: "high" }));
  const found = fit(block(cells), { width: 200, height: 120 });
  assert.ok(found.left > 0);
  assert.ok(found.blocks[0].cells.some((each) => each.label === "Last"));
});

test("a number wider than the panel is left out and counted", () => {
  const cells = [cell("HR", "76"), cell("Odd", "1234567890123456789")];
  const found = fit(block(cells, 1), { width: 150, height: 300 });
  assert.equal(found.left, 1);
  assert.deepEqual(found.blocks[0].cells.map((each) => each.label), ["HR"]);
});

test("values that are looked up do not make watched ones small", () => {
  const looked = many(12).map((each, index) => ({ ...each, rank: 300 + index }));
  const watched = many(6);
  const room = { width: 220, height: 200 };
  const found = fit(block([...watched, ...looked]), room);
  assert.equal(found.left, 12);
  assert.ok(found.sizes.big >= 24);
});

test("every row fills the panel", () => {
  const { spans } = fit(block(many(7)), { width: 230, height: 260 });
  assert.equal(spans[0].reduce((sum, span) => sum + span, 0) % COLUMNS, 0);
});

test("with 99 or 100 the same size", () => {
  const room = { width: 220, height: 120 };
  const of = (text) => fit(block([cell("HR", text), cell("SpO2", "97")]), room).sizes.big;
  assert.equal(of("99"), of("100"));
});
