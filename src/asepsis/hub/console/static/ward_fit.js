// Which numbers fit on a tile, and how large they are. Pure: it knows the panel's size in pixels.
//
// A number is shown whole or not at all: half of "152" is another number. What does not fit is
// counted, and the tile says how many there are.

export const COLUMNS = 12;
const SPANS = [2, 3, 4, 6, 8, 12];
const BIG_PX = [64, 58, 52, 47, 43, 39, 35, 32, 29, 26, 24, 22]; // Fonts of the big numbers.
const USUAL_PX = 32;
const READABLE_PX = 29; // Down to here all are shown before any is left to the large view.
const LABEL_PX = 10.5;
const SMALL_PX_MIN = 15;
const TITLE_PX = 20;
const MORE_PX = 22;
const PAD_PX = { big: 14, small: 10 }; // Left and right of a cell together.

// Says whether a value is looked up rather than watched: a second pulse rate, ST segments and the
// like. They do not make the others small.
export function lookedUp({ rank }) {
  return (rank >= 80 && rank < 100) || rank >= 300;
}

// Widths of characters in em, of the widest of the system fonts, bold.
function ems(text) {
  let sum = 0;
  for (const c of text) {
    if (c >= "0" && c <= "9") sum += 0.7;
    else if (".,:/()-".includes(c)) sum += 0.44;
    else if ("mwMW%".includes(c)) sum += 1.05;
    else sum += c >= "A" && c <= "Z" ? 0.8 : 0.7;
  }
  return sum;
}

// Returns {big, small, label, pair, mean, smallMean}: fonts, and the heights of rows, in pixels.
export function sizesOf(big) {
  const small = Math.min(30, Math.max(SMALL_PX_MIN, Math.round(big * 0.46)));
  const label = Math.min(15, Math.max(LABEL_PX, big * 0.3));
  return {
    big,
    small,
    label,
    rowBig: Math.ceil(label * 1.3 + big * 1.06 + 4),
    rowSmall: Math.ceil(label * 1.3 + small * 1.15 + 3),
  };
}

// The narrowest a cell may be. Numbers are given room for their usual length, so that nothing
// jumps between 99 and 100.
function widthOf(cell, big, sizes) {
  const pair = cell.text.includes("/");
  const font = big ? sizes.big * (pair ? 0.88 : 1) : sizes.small;
  const text = ems(cell.text.padStart(pair ? 7 : 3, "0")) * font;
  const mean = cell.mean ? ems(cell.mean.padStart(5, "0")) * font * 0.62 + 6 : 0;
  const mark = cell.mark ? 34 : 0;
  const label = (ems(cell.label.slice(0, 9)) + ems(cell.unit)) * sizes.label * 0.92 + 6;
  const since = cell.blank ? (big ? 74 : 84) : 0;
  return PAD_PX[big ? "big" : "small"] + Math.max(cell.blank ? since : text + mean + mark, label);
}

// Lays cells out in rows. Returns {height, spans}, or null if one is wider than the panel.
function layOut(cells, big, sizes, width) {
  const spans = [];
  let height = 0;
  let used = COLUMNS;
  let row = 0;
  for (const [index, cell] of cells.entries()) {
    const isBig = index < big;
    const need = widthOf(cell, isBig, sizes);
    const span = SPANS.find((count) => (count * width) / COLUMNS >= need);
    if (span === undefined) return null;
    const tall = isBig ? sizes.rowBig : sizes.rowSmall;
    if (used + span > COLUMNS) {
      height += row;
      used = 0;
      row = 0;
    }
    used += span;
    row = Math.max(row, tall);
    spans.push(span);
  }
  return { height: height + row, spans: stretched(spans) };
}

// Lets every row fill the panel: its narrowest cells grow first.
function stretched(spans) {
  const found = [];
  let row = [];
  const close = () => {
    let free = COLUMNS - row.reduce((sum, span) => sum + span, 0);
    for (; row.length && free > 0; free -= 1) row[row.indexOf(Math.min(...row))] += 1;
    found.push(...row);
    row = [];
  };
  for (const span of spans) {
    if (row.reduce((sum, each) => sum + each, 0) + span > COLUMNS) close();
    row.push(span);
  }
  close();
  return found;
}

function layOutAll(blocks, sizes, width) {
  let height = 0;
  const spans = [];
  for (const block of blocks) {
    const found = layOut(block.cells, block.big, sizes, width);
    if (!found) return null;
    if (block.cells.length) height += found.height + (block.title ? TITLE_PX : 0);
    spans.push(found.spans);
  }
  return { height, spans };
}

function without(blocks, victim) {
  return blocks.map((block) => {
    const at = block.cells.indexOf(victim);
    if (at < 0) return block;
    const cells = block.cells.filter((cell) => cell !== victim);
    return { ...block, cells, big: at < block.big ? block.big - 1 : block.big };
  });
}

// Fits blocks of cells into a panel.
//
// blocks: [{cells, big, title}], most important first; big is how many cells of it are big.
// height may be Infinity: then they get the size of a usual tile.
// Returns {blocks, spans, sizes, left}: `left` counts the cells that have no room.
export function fit(blocks, room) {
  const all = fitWhole(blocks, room, room.height);
  if (all && all.sizes.big >= READABLE_PX) return all;
  let watched = blocks;
  let left = 0;
  for (const cell of blocks.flatMap((block) => block.cells)) {
    if (!lookedUp(cell) || cell.priority) continue;
    watched = without(watched, cell);
    left += 1;
  }
  if (left) {
    const most = fitWhole(watched, room, room.height - MORE_PX);
    if (most) return { ...most, left };
  }
  return all ?? fitPart(blocks, room.width, room.height - MORE_PX);
}

function fitWhole(blocks, { width }, height) {
  for (const big of BIG_PX) {
    if (height === Infinity && big > USUAL_PX) continue;
    const sizes = sizesOf(big);
    const found = layOutAll(blocks, sizes, width);
    if (found && found.height <= height) return { blocks, spans: found.spans, sizes, left: 0 };
  }
  return null;
}

// The smallest size, without what is least important; a cell in alarm goes last.
function fitPart(blocks, width, height) {
  const sizes = sizesOf(BIG_PX.at(-1));
  const cells = blocks.flatMap((block) => block.cells);
  const tooWide = cells.filter((cell) => widthOf(cell, false, sizes) > width);
  const calm = cells.filter((cell) => !cell.priority).reverse();
  calm.sort((a, b) => Number(lookedUp(b)) - Number(lookedUp(a)));
  const urgent = cells.filter((cell) => cell.priority).reverse();
  const victims = [...new Set([...tooWide, ...calm, ...urgent])];
  let rest = blocks;
  let left = 0;
  for (;;) {
    const found = layOutAll(rest, sizes, width);
    if (found && found.height <= height) return { blocks: rest, spans: found.spans, sizes, left };
    if (left === victims.length) return { blocks: rest, spans: rest.map(() => []), sizes, left };
    rest = without(rest, victims[left]);
    left += 1;
  }
}
