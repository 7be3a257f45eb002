// Which numbers stand on a tile, and in which words. Pure.

import { clockText } from "./ward_clock.js";

const STATUS_WORDS = {
  questionable: "?",
  calibrating: "CAL",
  test: "TEST",
};
const UNVERIFIED_WORD = "UNV";
const PRIORITIES = ["high", "medium", "low"];
const SYMBOLS = { high: "!!!", medium: "!!", low: "!" };
const PRIORITY_WORDS = { high: "HIGH", medium: "MEDIUM", low: "LOW" };
const INACTIVATION_WORDS = {
  "audio-paused": "audio paused at the bed",
  "audio-off": "audio off at the bed",
  "alarm-paused": "alarm paused at the bed",
  "alarm-off": "alarm off at the bed",
  acknowledged: "acknowledged at the bed",
};
export const ASSURANCE_WORDS = {
  "device-origin": "signed by the device",
  "device-certificate": "sent by the device",
  "gateway-observed": "seen by a gateway",
  "source-claimed": "claimed by its source",
};
export const CONNECTION_WORDS = {
  live: "connected",
  silent: "no data",
  never: "never connected",
  revoked: "revoked",
  unknown: "not known while the hub is away",
};

// Returns the cells of one device in the order of their rank:
// {key, label, name, group, unit, rank, text, mean, mark, unverified, blank, sinceWallMs, priority,
// unknown}; `unverified` says why no chart may have the value, which is shown all the same;
// `unknown` says that nobody knows whether the condition of that priority is still active.
export function cellsOf(device) {
  const cells = new Map();
  const urgent = urgentHandles(device);
  for (const metric of device.metrics.values()) {
    const key = `${metric.group} ${metric.label}`;
    let cell = cells.get(key);
    if (!cell) {
      cell = { key, metric, parts: new Map(), urgent: null };
      cells.set(key, cell);
    }
    cell.urgent = urgent.get(metric.handle) ?? cell.urgent;
    if (metric.rank < cell.metric.rank) cell.metric = metric;
    if (!cell.parts.has(metric.part)) cell.parts.set(metric.part, partOf(device, metric.handle));
  }
  return [...cells.values()].map(write).sort((a, b) => a.rank - b.rank || (a.key < b.key ? -1 : 1));
}

// Returns the most urgent physiological condition of each metric that has one, known ones first.
function urgentHandles(device) {
  const found = new Map();
  for (const alarm of device.alarms.values()) {
    if (!alarm.handle || alarm.kind !== "physiological") continue;
    const urgent = { priority: alarm.priority, unknown: isUnknown(alarm) };
    const before = found.get(alarm.handle);
    if (!before || urgency(urgent) < urgency(before)) found.set(alarm.handle, urgent);
  }
  return found;
}

function urgency({ priority, unknown }) {
  return PRIORITIES.indexOf(priority) + (unknown ? PRIORITIES.length : 0);
}

function isUnknown(alarm) {
  return typeof alarm.unknown_since_ms === "number";
}

function partOf(device, handle) {
  const value = device.values.get(handle);
  if (!value || value.text === null) {
    const sinceWallMs = device.blanks.get(handle) ?? null;
    return { text: "--", mark: "", unverified: "", blank: true, sinceWallMs };
  }
  const unverified = value.unverified ?? "";
  const mark = unverified ? UNVERIFIED_WORD : (STATUS_WORDS[value.status] ?? "");
  return { text: value.text, mark, unverified, blank: false, sinceWallMs: null };
}

function write({ key, metric, parts, urgent }) {
  const all = [...parts.values()];
  const pair = parts.has("sys") || parts.has("dia");
  const text = pair
    ? `${parts.get("sys")?.text ?? "--"}/${parts.get("dia")?.text ?? "--"}`
    : (parts.get("") ?? parts.get("mean") ?? all[0]).text;
  return {
    key,
    priority: urgent?.priority ?? "",
    unknown: urgent?.unknown ?? false,
    label: metric.label,
    name: metric.name,
    group: metric.group,
    unit: metric.unit,
    rank: metric.rank,
    text,
    mean: pair && parts.has("mean") ? `(${parts.get("mean").text})` : "",
    mark: all.map((part) => part.mark).find(Boolean) ?? "",
    unverified: all.map((part) => part.unverified).find(Boolean) ?? "",
    blank: all.every((part) => part.blank),
    sinceWallMs: all.every((part) => part.blank) ? all[0].sinceWallMs : null,
  };
}

// Returns what stands above the numbers of a tile if some are unverified, "" if none is.
export function unverifiedTitle(cells) {
  const reasons = [...new Set(cells.map((cell) => cell.unverified).filter(Boolean))];
  if (!reasons.length) return "";
  const more = reasons.length > 1 ? `, and ${reasons.length - 1} more` : "";
  return `unverified: ${reasons[0]}${more}`;
}

// Returns the waveforms of a device to draw: metrics in the order of their rank.
export function lanesOf(device) {
  return [...device.waves.values()].sort((a, b) => a.rank - b.rank || a.handle - b.handle);
}

// Returns the conditions of a tile, most urgent first; what the view itself knows comes with them.
export function conditionsOf(devices) {
  const found = [];
  for (const { name, state } of devices) {
    for (const alarm of state.alarms.values()) found.push(words(name, alarm));
    const own = ownCondition(name, state);
    if (own && !found.some((c) => c.device === name && c.technical && c.text === own.text)) {
      found.push(own);
    }
  }
  return found.sort(
    (a, b) =>
      PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) ||
      Number(a.unknown) - Number(b.unknown) ||
      Number(a.technical) - Number(b.technical) ||
      b.wallMs - a.wallMs,
  );
}

function words(device, alarm) {
  const meaning = alarm.label || "Alarm condition";
  const text = alarm.text || (alarm.source ? `${alarm.source}: ${meaning}` : meaning);
  const unknown = isUnknown(alarm);
  const signals = [INACTIVATION_WORDS[alarm.inactivation], alarm.latching ? "latching" : ""];
  return {
    id: `${device} ${alarm.id}`,
    device,
    priority: alarm.priority,
    technical: alarm.kind === "technical",
    unknown,
    symbol: unknown ? "?" : SYMBOLS[alarm.priority],
    word: PRIORITY_WORDS[alarm.priority],
    text,
    handle: alarm.handle,
    note: unknown
      ? `unknown since ${clockText(alarm.unknown_since_ms)}`
      : signals.filter(Boolean).join(", "),
    wallMs: alarm.wall_ms,
    hub: alarm.found_by === "hub",
  };
}

// A device that is not there is a condition, whatever else was or was not told about it.
function ownCondition(device, state) {
  const connection = state.facts?.connection;
  const hubSaidSo = [...state.alarms.values()].some((a) => a.found_by === "hub");
  if (connection === "revoked") return absent(device, "high", "HUB: DEVICE REVOKED", state);
  if (connection === "never") return absent(device, "low", "HUB: DEVICE NEVER CONNECTED", state);
  if (connection === "silent" && !hubSaidSo) {
    return absent(device, "high", "HUB: NO DATA FROM DEVICE", state);
  }
  return null;
}

function absent(device, priority, text, state) {
  return {
    id: `${device} ${text}`,
    device,
    priority,
    technical: true,
    unknown: false,
    symbol: SYMBOLS[priority],
    word: PRIORITY_WORDS[priority],
    text,
    handle: 0,
    note: "",
    wallMs: state.facts.last_wall_ms ?? 0,
    hub: true,
  };
}
