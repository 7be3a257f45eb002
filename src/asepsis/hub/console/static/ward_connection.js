// The stream, opened again whenever it ends: soon, but not by every display at the same moment.

import { SseReader } from "./ward_sse.js";

const OPEN_MS_MAX = 3_000; // For an answer to the request.
const RETRY_MS_MIN = 250;
const RETRY_MS_SPREAD = 250;
const SIGNED_OUT_MS = 5_000;

export class Connection {
  // outside: {open(headers, signal) -> Promise<Response>, random(), sleep(ms), timer}
  // onEvent(event, data) may return "reconnect"; onState(state) is told
  // "open", "closed", "signed-out" or "refused".
  constructor(outside, onEvent, onState) {
    this._outside = outside;
    this._onEvent = onEvent;
    this._onState = onState;
    this._lastId = null;
    this._abort = null;
  }

  async run() {
    for (;;) {
      const pause = await this._once();
      await this._outside.sleep(pause);
    }
  }

  // Ends the present stream; the next one is opened after the usual pause.
  again() {
    this._abort?.abort();
  }

  async _once() {
    const abort = new AbortController();
    this._abort = abort;
    let pause = RETRY_MS_MIN + this._outside.random() * RETRY_MS_SPREAD;
    try {
      const answer = await this._open(abort);
      const refusal = refused(answer);
      if (refusal) {
        this._onState(refusal.state);
        pause = Math.max(pause, refusal.pauseMs);
      } else {
        this._onState("open");
        await this._read(answer.body, abort);
        this._onState("closed");
      }
    } catch {
      // Whatever it was, the view goes dark by itself and is opened anew.
      this._onState("closed");
    }
    abort.abort();
    return pause;
  }

  async _open(abort) {
    const headers = { Accept: "text/event-stream" };
    if (this._lastId !== null) headers["Last-Event-ID"] = this._lastId;
    const timer = this._outside.after(OPEN_MS_MAX, () => abort.abort());
    try {
      return await this._outside.open(headers, abort.signal);
    } finally {
      this._outside.cancel(timer);
    }
  }

  async _read(body, abort) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    const events = new SseReader();
    while (!abort.signal.aborted) {
      const { value, done } = await reader.read();
      if (done) return;
      for (const { event, data } of events.feed(value)) {
        if (this._onEvent(event, JSON.parse(data)) === "reconnect") return;
      }
      if (events.lastId !== null) this._lastId = events.lastId;
    }
  }
}

function refused(answer) {
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    return { state: "signed-out", pauseMs: SIGNED_OUT_MS };
  }
  if (answer.status === 403) return { state: "refused", pauseMs: SIGNED_OUT_MS };
  const media = answer.headers.get("content-type") ?? "";
  if (!answer.ok || !media.startsWith("text/event-stream")) {
    return { state: "closed", pauseMs: 0 };
  }
  return null;
}
