// fake_api.mjs - a server that speaks docs/api.md from scripted messages: serves web/ through web/assets.txt with the
// product's Content-Security-Policy, streams verdicts, and can fall silent or cut the line on command.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const WEB = join(here, "../../web");
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
export const MESSAGES = JSON.parse(readFileSync(join(here, "messages.json"), "utf8"));
const LEVELS = ["U0", "U1", "U2", "U3", "U4"];

// A deterministic stream of numbers in [0, 1): the same screen at every run.
function random(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

export class FakeApi {
  constructor({ exercise = true } = {}) {
    this.exercise = exercise;
    this.seq = 0;
    this.log = [];          // every verdict, by seq
    this.clients = new Set();
    this.refuse = false;    // cut: streams closed, new ones refused
    this.mute = false;      // silent: connections stay open, nothing is written (a half-open line)
    this.worker = "ok";
    this.resumedFrom = [];  // Last-Event-ID of each stream request
    this.rng = random(7);
    this.stats = { minutes: [], lines: [] };
  }

  // A verdict from a labelled message or from overrides. ageS: seconds before now.
  verdict({ ageS = 0, ...message }) {
    const text = message.text, level = message.level;
    const evidence = (message.evidence ?? []).map((quote) => {
      const at = text.indexOf(quote);
      const start = Buffer.byteLength(text.slice(0, at)), length = Buffer.byteLength(quote);
      return { start, end: start + length, unit: "byte", text: quote };
    });
    const p = {}, sure = message.p ?? 0.55 + 0.43 * this.rng(), chosen = LEVELS.indexOf(level);
    let rest = 0;
    LEVELS.forEach((name, i) => { if (i !== chosen) rest += p[name] = 1 / (1 + 3 * Math.abs(i - chosen) ** 2); });
    LEVELS.forEach((name, i) => { p[name] = i === chosen ? sure : p[name] / rest * (1 - sure); });
    const explained = message.for !== undefined && message.for !== null && level >= "U2";
    return { id: message.id, seq: ++this.seq, text, channel: message.channel ?? "post", exercise: this.exercise,
      received_at: new Date(Date.now() - ageS * 1000).toISOString(),
      urgency: { level, p }, class: { main: message.class ?? "service", p: 0.6 + 0.39 * this.rng() }, distress: message.distress ?? {},
      source: { label: message.source ?? "witness", p: 0.7 + 0.29 * this.rng() }, flags: message.flags ?? [],
      place: message.place ?? { station: null, line: null }, evidence, for: explained ? message.for : null, against: explained ? message.against : null,
      trace: explained ? `Pour : ${message.for}\nContre : ${message.against}` : null,
      model: { name: "sillon-court", sha256: "3fa1c09be4d27715aa90e6b1c4f8d5027e6b9a1d33c0f4e85b2a7d6c1908e4f2" },
      timing_ms: { queue: 4 + 30 * this.rng(), level: 38 + 20 * this.rng(), trace: explained ? 300 + 200 * this.rng() : 0 } };
  }
  push(message) {
    const verdict = typeof message.seq === "number" ? message : this.verdict(message);
    this.log.push(verdict);
    if (!this.mute) for (const client of this.clients) this.write(client, verdict);
    return verdict;
  }
  write(client, verdict) {
    client.write(`id: ${verdict.seq}\nevent: verdict\ndata: ${JSON.stringify(verdict)}\n\n`);
  }
  status() {
    const counts = Object.fromEntries(LEVELS.map((level) => [level, this.log.filter((v) => v.urgency?.level === level).length]));
    return { time: new Date().toISOString(), queue_depth: 2, oldest_unjudged_s: 0, traces_due: 1, worker: this.worker, store: "ok", counts,
      messages: this.log.length, failed: 0, exercise: this.exercise, seq: this.seq, model: { name: "sillon-court", sha256: "3fa1c09b" } };
  }
  // Two hours of a plausible evening: a slow tide, and one line that flares.
  makeStats() {
    const now = Math.floor(Date.now() / 60000) * 60, rng = random(3);
    this.stats.minutes = Array.from({ length: 120 }, (_, i) => now - (119 - i) * 60);
    this.stats.lines = [["M13", 2.2, 88], ["RER B", 1.7, 40], ["RER A", 1.4, 999], ["M4", 0.9, 999], ["RER C", 0.8, 70], ["M9", 0.5, 999], ["", 1, 999]].map(([line, rate, flare]) => {
      const n = this.stats.minutes.map((_, i) => Math.floor(rate * (0.4 + rng() + (i > flare ? 4 * Math.exp(-(i - flare) / 14) : 0))));
      return { line, n, urgency: n.map((x) => x * 0.12 * rng() * 2), distress: n.map((x, i) => x === 0 ? 0 : 0.2 + 0.5 * rng() + (i > flare ? 1.4 * Math.exp(-(i - flare) / 20) : 0)) };
    });
  }

  cut() {
    this.refuse = true;
    for (const client of this.clients) client.destroy();
    this.clients.clear();
  }
  restore() {
    if (this.mute) this.cut(); // what was not heard is asked for again
    this.refuse = this.mute = false;
  }

  async listen(port = 0) {
    const assets = new Map(readFileSync(join(WEB, "assets.txt"), "utf8").trim().split("\n").map((line) => line.split("\t")));
    this.server = createServer((request, response) => this.answer(request, response, assets));
    this.beat = setInterval(() => {
      if (!this.mute) for (const client of this.clients) client.write(`event: status\ndata: ${JSON.stringify(this.status())}\n\n`);
    }, 2000);
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    return `http://127.0.0.1:${this.server.address().port}`;
  }
  async close() {
    clearInterval(this.beat);
    this.cut();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  answer(request, response, assets) {
    const url = new URL(request.url, "http://x"), path = url.pathname;
    response.setHeader("Content-Security-Policy", "default-src 'self'");
    response.setHeader("X-Content-Type-Options", "nosniff");
    const json = (body) => response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    if (path.startsWith("/v1/") && this.refuse) return response.destroy();
    if (path === "/v1/verdicts") {
      const last = Number(url.searchParams.get("last") ?? 100);
      return json({ verdicts: this.log.slice(-last), next: this.log.at(-1)?.seq ?? 0 });
    }
    if (path === "/v1/stats") return json(this.stats);
    if (path === "/v1/stream") {
      const from = Number(request.headers["last-event-id"] ?? this.seq);
      this.resumedFrom.push(from);
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      this.clients.add(response);
      request.on("close", () => this.clients.delete(response));
      if (this.mute) return response.flushHeaders();
      response.write(`event: status\ndata: ${JSON.stringify(this.status())}\n\n`);
      for (const verdict of this.log) if (verdict.seq > from) this.write(response, verdict);
      return undefined;
    }
    const file = assets.get(path);
    if (file === undefined) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[file.split(".").pop()] });
    return response.end(readFileSync(join(WEB, file)));
  }
}

// An evening: the bundled messages spread over the last 25 minutes, urgent ones rarer, as a real feed has them.
export function evening(api) {
  const share = { U4: 3, U3: 7, U2: 12, U1: 26, U0: 14 };
  const taken = Object.entries(share).flatMap(([level, n]) => MESSAGES.filter((m) => m.level === level).slice(0, n));
  const rng = random(11);
  taken.map((m) => ({ ...m, ageS: Math.floor(20 + rng() * 1500) })).sort((a, b) => b.ageS - a.ageS).forEach((m) => api.push(m));
  api.makeStats();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) { // node fake_api.mjs [port]: to look at the screen by hand
  const api = new FakeApi();
  evening(api);
  console.log(await api.listen(Number(process.argv[2] ?? 8090)));
  let i = 0;
  setInterval(() => api.push({ ...MESSAGES[(i * 37) % MESSAGES.length], id: `live-${i++}` }), 1500);
}
