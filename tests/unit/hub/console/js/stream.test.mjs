import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "./ward_connection.js";
import { SseReader } from "./ward_sse.js";

const TEXT =
  "retry: 500\n\n: alive\n\nid: 7\nevent: alarm\ndata: {\"a\":1}\n\nevent: beat\r\ndata: 1\r\ndata: 2\r\n\r\n";

test("any chunking gives the same events", () => {
  for (let size = 1; size < TEXT.length; size += 1) {
    const reader = new SseReader();
    const found = [];
    for (let at = 0; at < TEXT.length; at += size) found.push(...reader.feed(TEXT.slice(at, at + size)));
    assert.deepEqual(found, [
      { event: "alarm", data: '{"a":1}', id: "7" },
      { event: "beat", data: "1\n2", id: null },
    ]);
    assert.equal(reader.lastId, "7");
  }
});

test("a half event is no event, and moves no position", () => {
  const reader = new SseReader();
  assert.deepEqual(reader.feed("id: 9\nevent: alarm\ndata: {}"), []);
  assert.equal(reader.lastId, null);
});

test("an endless line is refused", () => {
  const reader = new SseReader();
  assert.throws(() => {
    for (let n = 0; n < 3; n += 1) reader.feed("x".repeat(1 << 19));
  }, RangeError);
});

function outside(answers) {
  const asked = [];
  const pauses = [];
  const over = new Error("over");
  return {
    asked,
    pauses,
    over,
    open: async (headers, signal) => {
      asked.push(headers);
      const answer = answers.shift();
      if (answer === undefined) throw new TypeError("refused");
      return answer(signal);
    },
    random: () => 0.5,
    sleep: async (ms) => {
      pauses.push(ms);
      if (pauses.length === 3) throw over;
    },
    after: () => 0,
    cancel: () => {},
  };
}

function stream(text) {
  return () =>
    new Response(new Blob([text]).stream(), { headers: { "content-type": "text/event-stream" } });
}

async function run(answers, onEvent = () => undefined) {
  const world = outside(answers);
  const states = [];
  const connection = new Connection(world, onEvent, (state) => states.push(state));
  await assert.rejects(connection.run(), world.over);
  return { ...world, states };
}

test("an ended stream is opened again within half a second, after the last alarm", async () => {
  const { asked, pauses, states } = await run([
    stream('id: 7\nevent: alarm\ndata: {}\n\n'),
    stream(""),
  ]);
  assert.equal(asked[0]["Last-Event-ID"], undefined);
  assert.equal(asked[1]["Last-Event-ID"], "7");
  assert.equal(asked[2]["Last-Event-ID"], "7");
  assert.ok(pauses.every((ms) => ms >= 250 && ms <= 500));
  assert.deepEqual(states, ["open", "closed", "open", "closed", "closed"]);
});

test("who is signed out is told so and asks less often", async () => {
  const signedOut = () => new Response("{}", { status: 401 });
  const { pauses, states } = await run([signedOut, () => new Response("{}", { status: 403 })]);
  assert.deepEqual(states, ["signed-out", "refused", "closed"]);
  assert.ok(pauses[0] >= 5_000 && pauses[1] >= 5_000);
});

test("an answer that is no stream is not read", async () => {
  const events = [];
  const page = () => new Response("data: {}\n\n", { headers: { "content-type": "text/html" } });
  const { states } = await run([page], (event) => events.push(event));
  assert.deepEqual(events, []);
  assert.equal(states[0], "closed");
});

test("a stream that the page gives up is not read on", async () => {
  const seen = [];
  await run([stream("data: 1\n\ndata: 2\n\n")], (_event, data) => {
    seen.push(data);
    return "reconnect";
  });
  assert.deepEqual(seen, [1]);
});
