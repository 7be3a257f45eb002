// Server-Sent Events out of the text of a stream, in any chunking.
// Source: WHATWG HTML section 9.2.6 (parsing an event stream).

const LINE_CHARS_MAX = 1 << 20;

export class SseReader {
  constructor() {
    this.lastId = null;
    this._rest = "";
    this._begin();
  }

  // Takes text and returns the events that it completes: {event, data, id}.
  feed(text) {
    const found = [];
    const lines = (this._rest + text).split("\n");
    this._rest = lines.pop();
    if (this._rest.length > LINE_CHARS_MAX) throw new RangeError("a line of the stream is too long");
    for (const line of lines) this._line(line.endsWith("\r") ? line.slice(0, -1) : line, found);
    return found;
  }

  _begin() {
    this._event = "message";
    this._data = [];
    this._id = null;
  }

  _line(line, found) {
    if (line === "") {
      if (this._id !== null) this.lastId = this._id;
      if (this._data.length) {
        found.push({ event: this._event, data: this._data.join("\n"), id: this._id });
      }
      this._begin();
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "event") this._event = value;
    else if (name === "data") this._data.push(value);
    else if (name === "id") this._id = value;
  }
}
