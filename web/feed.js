// feed.js - verdicts from the server (docs/api.md): the recent ones, then the live stream.
// The stream is read with fetch() and not EventSource for two reasons: the first connection must say which verdict
// it has last (Last-Event-ID), and a half-open connection must be noticed; the server writes a status about every
// two seconds, so SILENCE_MS without a byte means the screen is blind, whatever the socket believes.

const RECENT = 1000; // verdicts asked for when the page opens
const SILENCE_MS = 7000;
const RETRY_MS = [250, 500, 1000, 2000, 3000]; // the last value repeats

// handlers: verdict(v), status(s), link(up: bool, reason: string). link() is called on changes only.
export class Feed {
  constructor(handlers, { base = "" } = {}) {
    this.handlers = handlers;
    this.base = base;
    this.lastSeq = null;
    this.up = null;
    this.failures = 0;
    this.loaded = false;
    this.abort = null;
    this.stopped = false;
    this.clockSkewMs = 0; // server clock minus this desk's, so that ages are right on a desk whose clock is wrong
  }

  async run() {
    while (!this.stopped) {
      try {
        if (!this.loaded) await this.load();
        await this.follow();
        this.lost("end of stream");
      } catch (error) {
        this.lost(String(error?.message ?? error));
      }
      const wait = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  stop() {
    this.stopped = true;
    this.abort?.abort();
  }

  lost(reason) {
    if (this.up !== false) this.handlers.link(false, reason);
    this.up = false;
  }
  alive() {
    if (this.up !== true) this.handlers.link(true, "");
    this.up = true;
    this.failures = 0;
  }

  async load() {
    const response = await fetch(`${this.base}/v1/verdicts?last=${RECENT}&limit=${RECENT}`,
      { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(`/v1/verdicts: HTTP ${response.status}`);
    const body = await response.json();
    for (const verdict of Array.isArray(body.verdicts) ? body.verdicts : []) this.take(verdict, false);
    if (Number.isFinite(body.next)) this.lastSeq = Math.max(this.lastSeq ?? 0, body.next);
    this.loaded = true;
  }

  async follow() {
    this.abort = new AbortController();
    let timer = null;
    const listen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.abort.abort(new Error("silence")), SILENCE_MS);
    };
    listen();
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.lastSeq !== null) headers["Last-Event-ID"] = String(this.lastSeq);
      const response = await fetch(`${this.base}/v1/stream`,
        { headers, cache: "no-store", signal: this.abort.signal });
      if (!response.ok) throw new Error(`/v1/stream: HTTP ${response.status}`);
      const parser = new EventParser((name, data, id) => this.event(name, data, id));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        listen();
        this.alive(); // on what was heard, not on what was opened: a server that accepts and says nothing is not alive
        parser.push(value);
      }
    } finally {
      clearTimeout(timer);
      this.abort.abort();
    }
  }

  event(name, data, id) {
    let body;
    try { body = JSON.parse(data); } catch { return console.warn("stream: not JSON", name, data.slice(0, 80)); }
    if (name === "verdict") {
      if (body.seq === undefined && id !== "") body.seq = Number(id);
      this.take(body, true);
    } else if (name === "status") {
      const skew = Date.parse(body.time ?? "") - Date.now();
      this.clockSkewMs = Math.abs(skew) > 1500 ? skew : 0; // less is the network; NaN is no clock
      this.handlers.status(body);
    }
  }
  take(verdict, live) {
    if (verdict === null || typeof verdict !== "object" || typeof verdict.text !== "string") return;
    if (Number.isFinite(verdict.seq)) this.lastSeq = Math.max(this.lastSeq ?? 0, verdict.seq);
    this.handlers.verdict(verdict, live);
  }
}

// Server-sent events, WHATWG HTML 9.2.6: lines end in LF, CR or CRLF; a blank line dispatches; ':' is a comment.
export class EventParser {
  constructor(dispatch) {
    this.dispatch = dispatch;
    this.rest = "";
    this.afterCr = false;
    this.clear();
    this.id = "";
  }
  clear() {
    this.name = "message";
    this.data = [];
  }
  push(chunk) {
    if (this.afterCr && chunk.startsWith("\n")) chunk = chunk.slice(1);
    this.afterCr = chunk.endsWith("\r");
    const lines = (this.rest + chunk).split(/\r\n|\n|\r/);
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
  }
  line(line) {
    if (line === "") {
      if (this.data.length > 0) this.dispatch(this.name, this.data.join("\n"), this.id);
      return this.clear();
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.name = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id" && !value.includes("\0")) this.id = value;
  }
}
