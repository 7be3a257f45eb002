// One bed on the screen. Text from outside is only ever textContent; values live in the model.

import { clockText } from "./ward_clock.js";
import { ASSURANCE_WORDS, CONNECTION_WORDS, conditionsOf, lanesOf } from "./ward_cells.js";
import { element, link, rows, say } from "./ward_element.js";
import { Lanes } from "./ward_lanes.js";
import { Numbers } from "./ward_numbers.js";

const BANNERS = 2;
const BANNERS_LARGE = 8;
const LANES_MIN = 2;
const LANES_MAX = 6;
const LANE_PX = 58; // A waveform in less would show its rhythm, but not its shape.
const MACHINES = 3;

export class Tile {
  constructor(key, number, onOpen) {
    this.key = key;
    this.large = false;
    this.conditions = [];
    this._lanesMax = LANES_MIN;
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
    this._numbers = new Numbers(() => onOpen(this.key));
    body.append(waves, this._numbers.root);
    this._waves = waves;
    this._dark = element("p", "dark");
    this._foot = element("ul", "machines");
    root.append(head, this._banners, body, this._dark, this._foot);
  }

  // What a change of its size, or of its parts, is to be watched of.
  get parts() {
    return [this._canvas, this._waves, this._numbers.root];
  }

  // Takes a new size; returns whether the tile must be rendered again for it.
  resize() {
    this._lanes.resize();
    const before = this._lanesMax;
    this._lanesMax = Math.max(LANES_MIN, Math.round(this._waves.clientHeight / LANE_PX));
    return this._numbers.measure() || before !== this._lanesMax;
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
    this.root.classList.toggle("many", this._numbers.render(bed, devices, this.large));
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
    const most = this.large ? Infinity : MACHINES;
    const here = (d) => Number(d.state.facts?.connection === "live");
    const shown = [...known].sort((a, b) => here(a) - here(b)).slice(0, most);
    rows(this._foot, shown, machineRow, fillMachine);
    this._foot.dataset.more = known.length > most ? `+${known.length - most} more` : "";
  }

  _renderConditions() {
    const shown = this.conditions.slice(0, this.large ? BANNERS_LARGE : BANNERS);
    const more = this.conditions.length - shown.length;
    const top = this.conditions.find((c) => !c.unknown) ?? this.conditions[0];
    this.root.dataset.priority = top ? top.priority : "none";
    this.root.dataset.kind = top ? kindOf(top) : "none";
    rows(this._banners, shown, bannerRow, fillBanner);
    if (more > 0) this._banners.lastChild.lastChild.textContent += ` +${more}`;
  }

  _renderLanes(devices) {
    const most = Math.min(LANES_MAX, this._lanesMax);
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

// A condition that may have ended unseen never looks like an active one.
function kindOf(condition) {
  if (condition.unknown) return "unknown";
  return condition.technical ? "technical" : "physiological";
}

function fillBanner(row, condition) {
  const [symbol, word, text, note] = row.children;
  row.dataset.priority = condition.priority;
  row.dataset.kind = kindOf(condition);
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
