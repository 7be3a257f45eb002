// The ward view: the stream, the model and the tiles brought together.
//
// Honest before pretty: every frame first blanks what may no longer be shown, then draws. A page
// that was hidden or asleep shows nothing until that was done, and should these scripts ever hang,
// the compositor takes the tiles away by itself.

import { WakeGuard, clockText } from "./ward_clock.js";
import { Connection } from "./ward_connection.js";
import { WardModel } from "./ward_model.js";
import { element } from "./ward_element.js";
import { Tile } from "./ward_tile.js";
import { Waves } from "./ward_waves.js";

const ALIVE_MS = 3_000; // The tiles go if this page shows no life for so long.
const TICK_MS = 250;
const FIRST_MS = 3_000; // A page may wait so long for its first values before it says "lost".
const REASONS = {
  connecting: "Connecting to the hub",
  stalled: "No data from the hub",
  delayed: "Data comes too late",
  slow: "This display is too slow",
  stopped: "The hub has ended the view",
  asleep: "This computer was asleep",
  "signed-out": "Signed out",
  refused: "Not permitted",
};

const root = document.getElementById("ward");
const ward = new URLSearchParams(location.search).get("ward");
const waves = new Waves();
const model = new WardModel(waves);
const guard = new WakeGuard();
const tiles = new Map();
const misfit = new Set(); // Beds whose tile has another size than it was rendered for.
let made = 0;
let alive = -ALIVE_MS;
let wasLive = false;

const bar = element("div", "ward-bar");
const wards = element("nav", "wards");
wards.setAttribute("aria-label", "Wards");
const status = element("p", "ward-status");
status.setAttribute("role", "status");
bar.append(wards, status);
const grid = element("div", "ward-grid");
const dead = element("p", "ward-dead", "This display has stopped. Load the page again.");
const spoken = element("div", "sr-only");
spoken.setAttribute("role", "log");
spoken.setAttribute("aria-label", "New alarm conditions");
root.replaceChildren(bar, grid, dead, spoken);

// Runs in the compositor: it needs these scripts only to be held back. Moving costs it no surface
// of its own, as fading would.
const HERE = { transform: "translateX(0)" };
const AWAY = { transform: "translateX(-300vw)" };
const stopping = { duration: ALIVE_MS, fill: "both" };
const fades = [
  ...[grid, bar].map((part) => part.animate([HERE, { ...HERE, offset: 0.999 }, AWAY], stopping)),
  dead.animate([AWAY, { ...AWAY, offset: 0.999 }, HERE], stopping),
];

const resized = new ResizeObserver((entries) => {
  const targets = new Set(entries.map((entry) => entry.target));
  for (const tile of tiles.values()) {
    if (tile.parts.some((part) => targets.has(part)) && tile.resize()) misfit.add(tile.key);
  }
});

function darkText() {
  if (model.dark === null) return null;
  const since = model.darkSinceWallMs;
  return since === null ? REASONS[model.dark] : `No data since ${clockText(since)}`;
}

function opened() {
  const match = /^#bed=(.+)$/.exec(location.hash);
  try {
    return match ? decodeURIComponent(match[1]) : null;
  } catch {
    return null;
  }
}

function open(key) {
  location.hash = opened() === key ? "" : `bed=${encodeURIComponent(key)}`;
}

function placeTiles() {
  const large = opened();
  const known = new Set();
  for (const bed of model.beds) {
    known.add(bed.key);
    let tile = tiles.get(bed.key);
    if (!tile) {
      made += 1;
      tile = new Tile(bed.key, made, open);
      tiles.set(bed.key, tile);
      for (const part of tile.parts) resized.observe(part);
    }
    tile.large = bed.key === large;
    tile.root.classList.toggle("large", tile.large);
    if (grid.children[known.size - 1] !== tile.root) {
      grid.insertBefore(tile.root, grid.children[known.size - 1] ?? null);
    }
  }
  for (const [key, tile] of tiles) {
    if (known.has(key)) continue;
    tile.root.remove();
    tiles.delete(key);
  }
  grid.classList.toggle("one", large !== null && known.has(large));
  placeWards();
}

function placeWards() {
  const names = [...model.wards];
  if (ward !== null && !names.includes(ward)) names.push(ward);
  const links = [null, ...names].map((name) => {
    const found = element("a", "", name ?? "All beds");
    found.href = name === null ? "/ward" : `/ward?ward=${encodeURIComponent(name)}`;
    if (name === ward) found.setAttribute("aria-current", "page");
    return found;
  });
  wards.replaceChildren(...links);
}

function render() {
  if (!model.changed.size && !misfit.size) return;
  const all = model.changed.has("*");
  if (all) placeTiles();
  const dark = darkText();
  for (const bed of model.beds) {
    const touched = misfit.has(bed.key) || bed.devices.some((d) => model.changed.has(d.name));
    if (!all && !touched) continue;
    const devices = bed.devices.map((placed) => ({
      placed,
      name: placed.name,
      state: model.device(placed.name),
    }));
    const tile = tiles.get(bed.key);
    tile.render(bed, devices, { dark, showWard: ward === null });
    if (dark !== null) tile.clear();
  }
  model.changed.clear();
  misfit.clear();
  renderStatus(dark);
  announce();
}

function renderStatus(dark) {
  let text = dark === null ? "" : [REASONS[model.dark], dark].filter(unlike).join(". ");
  if (model.leftOut) {
    text = `${model.leftOut} beds are too many for one view: choose a ward`;
  } else if (dark === null) {
    const counts = { high: 0, medium: 0, low: 0, unknown: 0 };
    for (const tile of tiles.values()) {
      for (const c of tile.conditions) counts[c.unknown ? "unknown" : c.priority] += 1;
    }
    const told = Object.entries(counts).filter(([, count]) => count);
    text = told.map(([word, count]) => `${count} ${word}`).join(", ");
    text = text ? `Alarm conditions: ${text}` : "No alarm condition";
  }
  if (status.textContent !== text) status.textContent = text;
  const live = dark === null ? "yes" : "no";
  if (root.dataset.live !== live) root.dataset.live = live;
}

// The badge of the header follows the stream: an answering hub is not yet a live ward.
function renderContact(now) {
  wasLive ||= model.dark === null;
  const first = !wasLive && now < FIRST_MS;
  window.asepsis?.contact(model.dark === null ? "good" : first ? "waiting" : "lost");
}

function unlike(text, index, all) {
  return all.indexOf(text) === index;
}

function announce() {
  for (const alarm of model.onsets.splice(0)) {
    const bed = model.beds.find((b) => b.devices.some((d) => d.name === alarm.device));
    const what = alarm.text || alarm.label;
    spoken.append(element("p", "", `${bed?.label ?? ""}: ${alarm.priority} priority: ${what}`));
    while (spoken.children.length > 20) spoken.firstChild.remove();
  }
}

function tick() {
  const now = performance.now();
  if (guard.woke(now, Date.now())) {
    model.goDark("asleep");
    connection.again();
  }
  const before = model.dark;
  model.sweep(now);
  if (before === null && model.dark !== null) connection.again();
  render();
  renderContact(now);
  if (!document.hidden && now - alive >= TICK_MS) {
    alive = now;
    for (const fade of fades) fade.currentTime = 0;
  }
  return now;
}

function frame() {
  const now = tick();
  if (model.dark === null) for (const tile of tiles.values()) tile.draw(waves, now);
  requestAnimationFrame(frame);
}

// What was on the screen when the page was left must not be there when it is back.
document.addEventListener("visibilitychange", () => {
  root.classList.toggle("is-hidden", document.hidden);
  for (const tile of tiles.values()) tile.clear();
  if (!document.hidden) tick();
});
window.addEventListener("hashchange", () => model.changed.add("*"));
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && opened() !== null) location.hash = "";
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const tile of tiles.values()) tile.resize();
});

const query = new URLSearchParams({ waveforms: "1" });
if (ward !== null) query.set("ward", ward);
const connection = new Connection(
  {
    open: (headers, signal) =>
      fetch(`/views/ward?${query}`, { headers, signal, cache: "no-store", redirect: "manual" }),
    random: Math.random,
    sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
    after: (ms, callback) => setTimeout(callback, ms),
    cancel: (timer) => clearTimeout(timer),
  },
  (event, data) => model.apply(event, data, performance.now()),
  (state) => {
    if (state === "signed-out" || state === "refused") model.goDark(state);
    if (state === "signed-out") window.asepsis?.signedOut();
  },
);

setInterval(tick, TICK_MS);
requestAnimationFrame(frame);
connection.run();
