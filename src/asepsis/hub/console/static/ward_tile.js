// One bed on the screen. Text from outside is only ever textContent; values live in the model.

import { clockText } from "./ward_clock.js";
import {
  ASSURANCE_WORDS,
  BIG_CELLS,
  CONNECTION_WORDS,
  LANES,
  LANES_LARGE,
  SMALL_CELLS,
  cellsOf,
  conditionsOf,
  lanesOf,
} from "./ward_cells.js";
import { Lanes } from "./ward_lanes.js";

const BANNERS = 2;
const BANNERS_LARGE = 8;

export function element(tag, className, text) {
  const found = document.createElement(tag);
  if (className) found.className = className;
  if (text !== undefined) found.textContent = text;
  return found;
}

// Sets text only where it differs, so that an unchanged tile costs no layout.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps as many children as there are items; `make` adds one, `fill` writes one.
function rows(parent, items, make, fill) {
  while (parent.children.length > items.length) parent.lastChild.remove();
  while (parent.children.length < items.length) parent.append(make());
  items.forEach((item, index) => fill(parent.children[index], item));
}

export class Tile {
  constructor(key, number, onOpen) {
    this.key = key;
    this.large = false;
    this.conditions = [];
    const root = (this.root = element("article", "tile"));
    const head = element("header", "tile-head");
    this._open = element("button", "tile-open");
    this._open.type = "button";
    this._open.title = "Show this bed alone, or all again (Escape)";
    this._label = element("bdi", "bed");
    this._label.id = `bed-${number}`;
    root.setAttribute("aria-labelledby", this._label.id);
    this._open.append(this._label);
    this._open.addEventListener("click", () => onOpen(this.key));
    this._who = element("p", "patient");
    this._flags = element("p", "flags");
    head.append(this._open, this._who, this._flags);
    this._banners = element("ul", "banners");
    const body = element("div", "tile-body");
    const waves = element("div", "waves");
    this._canvas = element("canvas");
    this._canvas.setAttribute("aria-hidden", "true");
    this._lanesText = element("ol", "lane-names");
    waves.append(this._lanesText, this._canvas);
    this._lanes = new Lanes(this._canvas);
    this._numbers = element("div", "numbers");
    body.append(waves, this._numbers);
    this._dark = element("p", "dark");
    this._foot = element("ul", "machines");
    root.append(head, this._banners, body, this._dark, this._foot);
  }

  resize() {
    this._lanes.resize();
  }

  clear() {
    this._lanes.clear();
  }

  draw(waves, now) {
    this._lanes.draw(waves, now);
  }

  // bed: of the model; devices: [{placed, name, state}]; dark: text, or null while live.
  render(bed, devices, { dark, showWard }) {
    this.root.classList.toggle("is-dark", dark !== null);
    this._open.setAttribute("aria-expanded", String(this.large));
    say(this._label, showWard && bed.ward ? `${bed.ward} · ${bed.label}` : bed.label);
    this._renderWho(bed, devices);
    this._renderStates(devices, dark);
    this.conditions = dark === null ? conditionsOf(devices) : [];
    this._renderConditions();
    const lanes = this._renderLanes(devices);
    this.root.classList.toggle("no-waves", lanes === 0);
    this._renderNumbers(bed, devices);
    say(this._dark, dark ?? "");
    this._dark.hidden = dark === null;
  }

  _renderWho(bed, devices) {
    const { state, name, id } = bed.patient;
    this.root.dataset.patient = state;
    this._who.replaceChildren();
    if (!devices.length) {
      this._who.append(element("span", "nobody", "No device"));
    } else if (state === "confirmed") {
      const who = element("bdi", "name", name || id);
      who.title = id;
      this._who.append(who);
    } else if (state === "conflict") {
      this._who.append(link("/associations", "warning", "Two patients at this bed: check"));
    } else if (state === "proposed") {
      this._who.append(link("/associations", "warning", "Patient unconfirmed: confirm"));
    } else {
      this._who.append(element("span", "nobody", "No patient associated"));
    }
  }

  _renderStates(devices, dark) {
    const states = dark === null ? devices.map(({ state }) => state.facts?.state) : [];
    const told = new Set(states.filter((state) => state && state !== "in-use"));
    say(this._flags, [...told].join(", "));
    const known = dark === null ? devices : devices.map((d) => ({ ...d, unknown: true }));
    rows(this._foot, known, machineRow, fillMachine);
  }

  _renderConditions() {
    const shown = this.conditions.slice(0, this.large ? BANNERS_LARGE : BANNERS);
    const more = this.conditions.length - shown.length;
    const top = this.conditions[0];
    this.root.dataset.priority = top ? top.priority : "none";
    this.root.dataset.kind = top?.technical ? "technical" : "physiological";
    rows(this._banners, shown, bannerRow, fillBanner);
    if (more > 0) this._banners.lastChild.lastChild.textContent += ` +${more}`;
  }

  _renderLanes(devices) {
    const most = this.large ? LANES_LARGE : LANES;
    const all = devices.flatMap(({ name, state }) =>
      lanesOf(state).map((metric) => ({ device: name, metric })),
    );
    all.sort((a, b) => a.metric.rank - b.metric.rank);
    // One lead of the ECG is enough on a small tile: the others are for the large one.
    const shown = (this.large ? all : all.filter((l) => l.metric.rank < 200)).slice(0, most);
    const lanes = shown.length ? shown : all.slice(0, 1);
    this._lanes.show(lanes);
    rows(this._lanesText, lanes, laneRow, (row, lane) => {
      row.dataset.group = lane.metric.group;
      say(row.firstChild, lane.metric.label);
      row.firstChild.title = lane.metric.name;
    });
    this._lanes.labels = [...this._lanesText.children].map((row) => row.lastChild);
    return lanes.length;
  }

  _renderNumbers(bed, devices) {
    const groups = devices.map(({ placed, state }) => ({
      own: bed.patient.state !== "confirmed" || placed.link === "confirmed",
      label: state.facts?.label ?? "",
      cells: cellsOf(state),
    }));
    const mine = groups.filter((g) => g.own).flatMap((g) => g.cells);
    mine.sort((a, b) => a.rank - b.rank);
    const big = mine.filter((cell) => cell.rank < 900).slice(0, BIG_CELLS);
    const small = mine
      .filter((cell) => !big.includes(cell))
      .slice(0, this.large ? Infinity : SMALL_CELLS);
    const blocks = [{ kind: "own", cells: [...big, ...small], big: big.length }];
    for (const group of groups) {
      // Values of a device that nobody confirmed for this patient stand apart and say so.
      if (!group.own && group.cells.length) {
        const title = `${group.label}: not confirmed for this patient`;
        blocks.push({ kind: "apart", title, cells: group.cells.slice(0, SMALL_CELLS), big: 0 });
      }
    }
    rows(this._numbers, blocks, blockRow, fillBlock);
  }
}

function link(href, className, text) {
  const found = element("a", className, text);
  found.href = href;
  return found;
}

function bannerRow() {
  const row = element("li", "banner");
  row.append(
    element("span", "symbol"),
    element("span", "word"),
    element("bdi", "text"),
    element("span", "note"),
  );
  return row;
}

function fillBanner(row, condition) {
  const [symbol, word, text, note] = row.children;
  row.dataset.priority = condition.priority;
  row.dataset.kind = condition.technical ? "technical" : "physiological";
  say(symbol, condition.symbol);
  say(word, condition.technical ? `${condition.word} TECHNICAL` : condition.word);
  say(text, condition.text);
  text.title = condition.text;
  say(note, condition.note);
}

function laneRow() {
  const row = element("li");
  row.append(element("bdi", "lane-name"), element("span", "lane-scale"));
  return row;
}

function blockRow() {
  const block = element("section");
  block.append(element("h3"), element("dl"));
  return block;
}

function fillBlock(block, { kind, title, cells, big }) {
  const [heading, list] = block.children;
  block.className = `cells ${kind}`;
  say(heading, title ?? "");
  heading.hidden = !title;
  const sized = cells.map((cell, index) => ({
    ...cell,
    size: index < big ? "big" : "small",
    wide: index < Math.min(big, 3),
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
  row.dataset.priority = cell.priority;
  const pair = cell.text.includes("/") ? " pair" : "";
  row.className = `cell ${cell.size}${pair}${cell.blank ? " blank" : ""}`;
  say(term.firstChild, cell.label);
  term.firstChild.title = cell.name;
  say(term.lastChild, cell.unit);
  const [value, mean, mark, since] = content.children;
  say(value, cell.text);
  say(mean, cell.mean);
  say(mark, cell.mark);
  const gone = cell.blank && cell.sinceWallMs ? clockText(cell.sinceWallMs) : "";
  say(since, gone && cell.wide ? `since ${gone}` : gone);
}

function machineRow() {
  const row = element("li");
  row.append(element("span", "state-dot"), element("a", "machine"), element("span", "proof"));
  return row;
}

function fillMachine(row, { placed, name, state, unknown }) {
  const facts = state.facts;
  const connection = unknown ? "unknown" : (facts?.connection ?? "never");
  row.dataset.connection = connection;
  const [dot, machine, proof] = row.children;
  dot.title = CONNECTION_WORDS[connection];
  say(machine, facts?.label ?? name);
  machine.href = `/devices/${encodeURIComponent(name)}`;
  machine.title = `${name}, ${CONNECTION_WORDS[connection]}`;
  const link = { proposed: "unconfirmed", none: "no patient" }[placed.link];
  const words = [
    connection === "live" || unknown ? "" : CONNECTION_WORDS[connection],
    connection === "silent" && facts.last_wall_ms ? `since ${clockText(facts.last_wall_ms)}` : "",
    unknown ? "" : (ASSURANCE_WORDS[facts?.assurance] ?? ""),
    link ?? "",
  ];
  say(proof, words.filter(Boolean).join(" · "));
  proof.dataset.assurance = facts?.assurance ?? "none";
}
