// The numbers of one tile: as large as they fit, and a word where some do not.

import { clockText } from "./ward_clock.js";
import { cellsOf, unverifiedTitle } from "./ward_cells.js";
import { element, rows, say } from "./ward_element.js";
import { fit, lookedUp } from "./ward_fit.js";

const BIG_CELLS = 4;
const RANK_UNNAMED = 900; // What has no short name is never a big number.
const MANY_CELLS = 10; // From here on the numbers get more of the tile than the waveforms.
const NARROW = matchMedia("(max-width: 480px)"); // There a tile is as tall as its numbers.

export class Numbers {
  constructor(onMore) {
    this.root = element("div", "numbers");
    this._blocks = element("div", "blocks");
    this._more = element("button", "more-values");
    this._more.type = "button";
    this._more.title = "Show this bed alone";
    this._more.addEventListener("click", onMore);
    this.root.append(this._blocks, this._more);
    this._width = 0;
    this._height = 0;
  }

  // Notes the panel's size; returns whether it is another one.
  measure() {
    const { clientWidth, clientHeight } = this.root;
    const same = clientWidth === this._width && clientHeight === this._height;
    this._width = clientWidth;
    this._height = clientHeight;
    return !same;
  }

  // Returns whether the numbers need the larger part of the tile.
  render(bed, devices, large) {
    const blocks = blocksOf(bed, devices);
    const room = { width: this._width, height: NARROW.matches ? Infinity : this._height };
    let fitted = fit(blocks, room);
    // Alone on the screen nothing is left out: the panel scrolls.
    if (large && fitted.left) fitted = fit(blocks, { ...room, height: Infinity });
    const { sizes, spans, left } = fitted;
    for (const name of ["big", "small", "label", "rowBig", "rowSmall"]) {
      this._set(`--${name}`, `${sizes[name]}px`);
    }
    const shown = fitted.blocks
      .map((block, index) => ({ ...block, spans: spans[index] }))
      .filter((block) => block.cells.length);
    rows(this._blocks, shown, blockRow, fillBlock);
    this._more.hidden = left === 0;
    say(this._more, left ? `+${left} more` : "");
    this._more.setAttribute("aria-label", `${left} more values of ${bed.label}: show this bed alone`);
    const watched = blocks.flatMap((block) => block.cells).filter((c) => !lookedUp(c));
    return watched.length > MANY_CELLS;
  }

  _set(name, value) {
    const style = this.root.style;
    if (style.getPropertyValue(name) !== value) style.setProperty(name, value);
  }
}

function blocksOf(bed, devices) {
  const groups = devices.map(({ placed, state }) => ({
    own: bed.patient.state !== "confirmed" || placed.link === "confirmed",
    label: state.facts?.label ?? "",
    cells: cellsOf(state),
  }));
  const mine = groups.filter((g) => g.own).flatMap((g) => g.cells);
  mine.sort((a, b) => a.rank - b.rank);
  const big = mine.filter((cell) => cell.rank < RANK_UNNAMED).slice(0, BIG_CELLS);
  const small = mine.filter((cell) => !big.includes(cell));
  const own = { kind: "own", title: unverifiedTitle(mine), cells: [...big, ...small] };
  const blocks = [{ ...own, big: big.length }];
  for (const { own, label, cells } of groups) {
    // Values of a device that nobody confirmed for this patient stand apart and say so.
    if (own || !cells.length) continue;
    blocks.push({ kind: "apart", title: `${label}: not confirmed for this patient`, cells, big: 0 });
  }
  return blocks;
}

function blockRow() {
  const block = element("section");
  block.append(element("h3"), element("dl"));
  return block;
}

function fillBlock(block, { kind, title, cells, big, spans }) {
  const [heading, list] = block.children;
  block.className = `cells ${kind}`;
  say(heading, title);
  heading.hidden = !title;
  heading.title = title;
  const sized = cells.map((cell, index) => ({
    ...cell,
    size: index < big ? "big" : "small",
    span: spans[index],
  }));
  rows(list, sized, cellRow, fillCell);
}

function cellRow() {
  const row = element("div", "cell");
  const term = element("dt");
  term.append(element("bdi", "cell-label"), element("span", "cell-unit"));
  const value = element("dd");
  value.append(
    element("span", "value"),
    element("span", "mean"),
    element("span", "mark"),
    element("span", "since"),
  );
  row.append(term, value);
  return row;
}

function fillCell(row, cell) {
  const [term, content] = row.children;
  row.dataset.group = cell.group;
  row.dataset.cell = cell.label;
  row.dataset.priority = cell.unknown ? "" : cell.priority;
  row.dataset.span = cell.span;
  const pair = cell.text.includes("/") ? " pair" : "";
  const name = `cell ${cell.size}${pair}${cell.blank ? " blank" : ""}`;
  if (row.className !== name) row.className = name;
  say(term.firstChild, cell.label);
  term.firstChild.title = cell.name;
  say(term.lastChild, cell.unit);
  const [value, mean, mark, since] = content.children;
  say(value, cell.text);
  say(mean, cell.mean);
  say(mark, cell.mark);
  mark.title = cell.unverified ? `unverified: ${cell.unverified}` : "";
  const gone = cell.blank && cell.sinceWallMs ? clockText(cell.sinceWallMs) : "";
  say(since, gone && cell.size === "big" ? `since ${gone}` : gone);
}
