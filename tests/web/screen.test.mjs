// screen.test.mjs - the screen in a real browser (node --test). Against the fake API by default; with SILLON_URL, a
// short subset against a real server. SILLON_SCREENSHOT=PATH writes a picture. Exit 77 from tests/e2e/test_web.sh when
// node, playwright-core or Chromium is absent.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { readFileSync, readdirSync } from "node:fs";
import { FakeApi, MESSAGES, evening } from "./fake_api.mjs";

const web = new URL("../../web/", import.meta.url);
const { chromium } = createRequire(new URL("package.json", web))("playwright-core");
const REAL = process.env.SILLON_URL;
const SHOT = process.env.SILLON_SCREENSHOT;
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--autoplay-policy=user-gesture-required"];

let browser, api, context, page, problems;
before(async () => { browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS }); });
after(async () => { await browser?.close(); });

async function openPage(url, options = {}) {
  context = await browser.newContext({ viewport: { width: 1920, height: 1080 }, colorScheme: "dark", locale: "fr-FR",
    timezoneId: "Europe/Paris", ...options });
  page = await context.newPage();
  page.setDefaultTimeout(10000);
  problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => { if (/Content Security|Refused to|TypeError/.test(message.text())) problems.push(message.text()); });
  page.on("dialog", (dialog) => { problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(url);
}
const texts = (selector) => page.locator(selector).allTextContents();
const focusedKey = () => page.evaluate(() => document.activeElement?.dataset?.key ?? null);
const settle = () => page.waitForTimeout(400);

if (REAL !== undefined) {
  test("real server: the first verdict appears, its card opens", { timeout: 120000 }, async () => {
    const began = Date.now();
    await openPage(REAL);
    await page.waitForSelector(".health.live", { timeout: 60000 });
    if (process.env.SILLON_POST === "1") {
      const response = await fetch(new URL("/v1/messages?exercise=1", REAL), { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id: `screen-test-${process.pid}-${began}`, text: "un homme vient de tomber sur les voies à Gaîté ligne 13, il ne bouge plus", channel: "sms" }) });
      assert.equal(response.status, 200, await response.text());
    }
    await page.waitForFunction(() => [...document.querySelectorAll("#counts b")].some((b) => b.textContent !== "0"), null, { timeout: 90000 });
    console.log(`first verdict on screen after ${Date.now() - began} ms`);
    await page.keyboard.press("x"); // unfold U1 and U0, in case nothing is above
    await page.waitForSelector(".row");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#card .card-text");
    const card = await page.locator("#card").innerText();
    assert.match(card, /Modèle \S+ · [0-9a-f]{12}/);
    assert.equal(await page.locator(".levels li").count() % 5, 0);
    await page.waitForTimeout(1500);
    if (SHOT) await page.screenshot({ path: SHOT });
    assert.deepEqual(problems, []);
    await context.close();
  });
} else {
  describe("screen", { concurrency: false }, () => {
    let url;
    beforeEach(async () => { api = new FakeApi(); url = await api.listen(); });
    afterEach(async () => {
      await context?.close();
      await api.close();
      assert.deepEqual(problems, [], "page errors, CSP refusals or dialogs");
    });

    test("queue: by level, then newest first; U1 and U0 folded to counts; o turns the order", async () => {
      evening(api);
      await openPage(url);
      await page.waitForSelector(".row.U4");
      const rows = await page.$$eval(".row", (nodes) => nodes.map((n) => [n.classList[1], n.dataset.key]));
      const levels = rows.map(([level]) => level);
      assert.deepEqual(levels, [...levels].sort().reverse());
      assert.deepEqual([...new Set(levels)], ["U4", "U3", "U2"]);
      const time = new Map(api.log.map((v) => [v.id, Date.parse(v.received_at)]));
      const u3 = rows.filter(([level]) => level === "U3").map(([, key]) => time.get(key));
      assert.deepEqual(u3, [...u3].sort((a, b) => b - a));
      assert.deepEqual(await texts("#counts b"), ["3", "7", "12", "26", "14"]);
      for (const level of ["U4", "U3", "U2"]) { // colour, shape, letter, words
        const row = page.locator(`.row.${level}`).first();
        assert.equal(await row.locator("svg.shape").count(), 1);
        assert.match(await row.innerText(), new RegExp(`${level}[\\s\\S]*(danger vital|personne en difficulté|à traiter)`));
      }
      const shapes = await page.$$eval("#counts svg > :first-child", (nodes) => nodes.map((n) => n.tagName + (n.getAttribute("points") ?? n.getAttribute("class") ?? "")));
      assert.equal(new Set(shapes).size, 5, "five different outlines");
      await page.keyboard.press("o");
      const turned = await page.$$eval(".row.U3", (nodes) => nodes.map((n) => n.dataset.key));
      assert.deepEqual(turned.map((key) => time.get(key)), u3.reverse());
      await page.keyboard.press("x");
      assert.equal(await page.locator(".row.U1").count(), 26);
      const size = await page.$eval(".row.U4 .row-text", (n) => parseFloat(getComputedStyle(n).fontSize));
      assert.ok(size >= 32, `U4 line ${size} px`);
    });

    test("card: text, evidence from byte offsets, for and against alike, probability, model, folded trace", async () => {
      const v = api.push({ id: "m1", level: "U4", p: 0.93, class: "person_on_tracks", source: "witness", text: "😱 À Gaîté, ligne 13 : un gars est tombé sur la voie 🚇, vite",
        evidence: ["un gars est tombé sur la voie 🚇"], for: "Un homme sur la voie à Gaîté.", against: "Rien ne dit qu'un train approche.",
        distress: { fear: 2 }, flags: ["hyperbole"], place: { station: "Gaîté", line: "M13" }, channel: "sms" });
      await openPage(url);
      await page.waitForSelector(".row");
      await page.keyboard.press("j");
      await page.keyboard.press("Enter");
      assert.deepEqual(await texts("#card mark"), ["un gars est tombé sur la voie 🚇"]);
      assert.deepEqual(await texts(".row mark"), ["un gars est tombé sur la voie 🚇"]);
      const card = (await page.locator("#card").innerText()).replaceAll("\u00a0", " ");
      for (const wanted of ["U4", "danger vital", "presque certain", "93 %", "témoin direct", "peur", "marquée", "exagération", "Gaîté", "M13", "SMS",
        "sillon-court", "3fa1c09be4d2", "Justification produite par le modèle, non vérifiée", v.for, v.against]) {
        assert.ok(card.toLowerCase().includes(wanted.toLowerCase()), `card lacks « ${wanted} »`);
      }
      const boxes = await page.$$eval(".reason", (nodes) => nodes.map((n) => ({ w: Math.round(n.offsetWidth / 2), h: n.offsetHeight,
        font: getComputedStyle(n.querySelector("p")).fontSize + getComputedStyle(n.querySelector("p")).fontWeight, border: getComputedStyle(n).border })));
      assert.deepEqual(boxes[0], boxes[1], "for and against have the same weight");
      assert.equal(await page.locator("details.trace").evaluate((n) => n.open), false);
      await page.keyboard.press("r");
      assert.equal(await page.locator("details.trace").evaluate((n) => n.open), true);
      // the same message again, now with another level: one row, moved, the card follows
      api.push({ ...v, seq: ++api.seq, urgency: { level: "U3", p: { ...v.urgency.p, U3: 0.8, U4: 0.1 } } });
      await page.waitForSelector(".row.U3");
      assert.equal(await page.locator(".row").count(), 1);
      assert.match(await page.locator("#card .badge").innerText(), /U3/);
    });

    test("hostile text stays text", async () => {
      const hostile = ["<script>alert(1)</script><img src=x onerror=alert(2)>", "\u202Etxet desrever\u202C </li></ul><h1>x",
        "👩‍👩‍👧‍👦".repeat(30) + "é\u0000\u0007\u200F مرحبا بكم في محطة", "a".repeat(5000), "ligne\n".repeat(400), "${alert(3)} {{constructor}} javascript:alert(4)", "\uD800 seul"];
      hostile.forEach((text, i) => api.push({ id: `h${i}"><b>`, level: "U3", text, class: "<b>x</b>", place: { station: "<i>St</i>", line: "M\"1" }, for: text, against: text, evidence: [text.slice(0, 3)] }));
      api.push({ ...api.verdict({ id: "bad-spans", level: "U3", text: "é😀 court" }), evidence: [{ start: 1, end: 4, text: "introuvable" }, { start: -5, end: 99999 }, null, { start: 3, end: 2 }] });
      api.push({ id: "no-urgency", seq: ++api.seq, text: "message que le modèle n'a pas jugé", received_at: new Date().toISOString(), error: { code: "limit", message: "too long" } });
      await openPage(url);
      await page.waitForFunction(() => document.querySelectorAll(".row").length === 9);
      assert.equal(await page.locator("main script, main img, main h1, main i, main li ul").count(), 0);
      for (let i = 0; i < 9; i++) {
        await page.keyboard.press("j");
        await page.keyboard.press("Enter");
        assert.equal(await page.locator("#card .card-text").count(), 1);
        const width = await page.locator("#card").evaluate((n) => n.scrollWidth - n.clientWidth);
        assert.ok(width <= 1, `the card overflows by ${width} px`);
        await page.keyboard.press("Escape");
      }
      const shown = await page.evaluate(() => [...document.querySelectorAll(".row-text")].map((n) => n.textContent).join("|"));
      assert.ok(shown.includes("<script>alert(1)</script>"));
      assert.ok(!shown.includes("\u202E"), "direction overrides do not act in the queue");
      assert.match(await page.locator(".group.UX").innerText(), /non jugé/);
      await page.locator('.row[data-key^="h1"]').click();
      assert.match(await page.locator("#card .card-text").innerText(), /U\+202E/);
    });

    test("keyboard only: walk, open, follow, close, next, search, help, fold", async () => {
      evening(api);
      await openPage(url);
      await page.waitForSelector(".row.U4");
      const keys = await page.$$eval(".row", (nodes) => nodes.map((n) => n.dataset.key));
      await page.keyboard.press("j");
      assert.equal(await focusedKey(), keys[0]);
      await page.keyboard.press("j");
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("k");
      assert.equal(await focusedKey(), keys[1]);
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.equal(outline, "solid", "the focus is visible");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "card");
      await page.keyboard.press("j"); // with a card open, it follows
      await settle();
      assert.equal(await page.locator(".row[aria-current]").getAttribute("data-key"), keys[2]);
      await page.keyboard.press("Escape");
      assert.equal(await page.locator("#card.empty").count(), 1);
      assert.equal(await focusedKey(), keys[2]);
      await page.keyboard.press("n"); // the U4 not opened yet
      await settle();
      assert.equal(await page.locator(".row[aria-current]").getAttribute("data-key"), keys[0]);
      assert.equal(await page.locator("#vital").isVisible(), false, "every U4 was opened");
      await page.keyboard.press("Escape");
      await page.keyboard.press("/");
      await page.keyboard.type("m13");
      await settle();
      assert.match(await page.locator("#results").innerText(), /résultat/);
      assert.ok((await texts(".row .line")).every((line) => line === "M13") || (await texts(".row")).every((row) => /m13|13/i.test(row)));
      await page.keyboard.press("Enter");
      assert.notEqual(await focusedKey(), null);
      await page.keyboard.press("Escape");
      assert.equal(await page.locator("#search").inputValue(), "");
      await page.keyboard.press("?");
      assert.equal(await page.locator("#help").evaluate((n) => n.open), true);
      await page.keyboard.press("Escape");
      assert.equal(await page.locator("#help").evaluate((n) => n.open), false);
      for (let i = 0; i < 40; i++) await page.keyboard.press("Tab"); // no trap: Tab comes back to the top
      await page.keyboard.press("s");
      assert.match(await page.locator("#sound").innerText(), /Son actif|Son bloqué|Pas de son/);
    });

    test("French and English, kept over a reload; every string in both; theme kept", async () => {
      evening(api);
      await openPage(url);
      await page.waitForSelector(".row.U4");
      assert.equal(await page.locator("html").getAttribute("lang"), "fr");
      await page.keyboard.press("l");
      await page.keyboard.press("t");
      const english = await page.locator("body").innerText();
      assert.match(english, /vital danger/);
      assert.doesNotMatch(english, /danger vital|Chercher|Détresse par ligne/);
      await page.waitForTimeout(100);
      await page.reload();
      await page.waitForSelector(".row.U4");
      assert.equal(await page.locator("html").getAttribute("lang"), "en");
      assert.equal(await page.locator("html").getAttribute("data-theme"), "light");
      assert.deepEqual(await page.evaluate(async () => (await import("/i18n.js")).complete()), []);
      // every key the code asks for exists, every key of the table is asked for
      const table = await page.evaluate(async () => (await import("/i18n.js")).keys());
      const source = readdirSync(web).filter((name) => /\.(js|html)$/.test(name) && name !== "i18n.js").map((name) => readFileSync(new URL(name, web), "utf8")).join("\n");
      const asked = [...source.matchAll(/\bt\("([\w.]+)"|data-t(?:-\w+)?="([\w.]+)"/g)].map((m) => m[1] ?? m[2]);
      assert.deepEqual(asked.filter((key) => !table.includes(key)), []);
      const built = /^blind$|^(level|class|source|distress|intensity|flag|channel|words|timing|announce|sound|trend|card|trouble|help|health|queue|search|bar|blind|theme)\./;
      assert.deepEqual(table.filter((key) => !asked.includes(key) && !built.test(key)), []);
    });

    test("stream lost: blind banner with seconds; resumed from the last verdict, nothing missed; silence is noticed too", { timeout: 60000 }, async () => {
      api.push({ id: "a", level: "U3", text: "avant la coupure" });
      await openPage(url);
      await page.waitForSelector(".health.live");
      assert.equal(await page.locator("#blind").isVisible(), false);
      api.cut();
      await page.waitForSelector("#blind:not([hidden])", { timeout: 3000 });
      assert.match(await page.locator("#blind").innerText(), /ÉCRAN AVEUGLE : connexion perdue depuis \d+\ss/);
      const width = await page.locator("#blind").evaluate((n) => n.getBoundingClientRect().width);
      assert.equal(width, 1920);
      api.push({ id: "b", level: "U4", text: "pendant la coupure" });
      api.restore();
      await page.waitForSelector(".row.U4", { timeout: 8000 });
      await page.waitForSelector("#blind", { state: "hidden" });
      assert.equal(api.resumedFrom.at(-1), 1);
      api.mute = true; // the connection stays open and says nothing
      await page.waitForSelector("#blind:not([hidden])", { timeout: 12000 });
      api.restore();
      await page.waitForSelector("#blind", { state: "hidden", timeout: 8000 });
      api.worker = "stopped";
      await page.waitForSelector("#trouble:not([hidden])", { timeout: 5000 });
      assert.match(await page.locator("#trouble").innerText(), /MODÈLE EST ARRÊTÉ/);
    });

    test("a U4 arrives: full-width bar, polite announcement, sound only when turned on", async () => {
      await openPage(url);
      await page.waitForSelector(".health.live");
      assert.equal(await page.locator("#vital").isVisible(), false);
      const starts = () => page.evaluate(() => window.tones ?? 0);
      await page.evaluate(() => {
        const start = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function (...args) { window.tones = (window.tones ?? 0) + 1; return start.apply(this, args); };
      });
      api.push({ ...MESSAGES[0], id: "v1" });
      await page.waitForSelector("#vital:not([hidden])", { timeout: 2000 });
      assert.equal(await starts(), 0, "muted by default");
      assert.match(await page.locator("#announce").textContent(), /Nouveau danger vital/);
      const bar = await page.locator("#vital").evaluate((n) => ({ w: n.getBoundingClientRect().width, size: parseFloat(getComputedStyle(n.querySelector(".vital-title")).fontSize) }));
      assert.equal(bar.w, 1920);
      assert.ok(bar.size >= 32);
      await page.keyboard.press("s");
      await page.waitForTimeout(2600); // the turning-on tone, then quiet for the shortest gap
      const before4 = await starts();
      api.push({ ...MESSAGES[1], id: "v2" });
      await page.waitForFunction((n) => (window.tones ?? 0) >= n + 6, before4);
      await page.keyboard.press("Enter");
      await page.keyboard.press("n");
      await page.waitForSelector("#vital", { state: "hidden" });
      await page.reload(); // what this desk opened stays opened
      await page.waitForSelector(".row.U4");
      assert.equal(await page.locator("#vital").isVisible(), false);
    });

    test("exercise mark: badge and watermark with exercise messages, absent without", async () => {
      api.exercise = false;
      api.push({ ...MESSAGES[0] });
      await openPage(url);
      await page.waitForSelector(".row");
      assert.equal(await page.locator("#exercise").isVisible(), false);
      api.exercise = true;
      api.push({ ...MESSAGES[20] });
      await page.waitForSelector("#exercise:not([hidden])");
      assert.equal(await page.locator("#watermark").isVisible(), true);
      assert.equal(await page.locator(".row .exercise-chip:visible").count(), 1, "in a mixed queue the row says it");
    });

    test("contrast: levels 7:1 and text 4.5:1, both themes; no motion when asked", async () => {
      evening(api);
      await openPage(url, { reducedMotion: "reduce" });
      await page.waitForSelector(".row.U4");
      await page.keyboard.press("x");
      await page.keyboard.press("n");
      await settle();
      for (const theme of ["dark", "light"]) {
        await page.evaluate((name) => { document.documentElement.dataset.theme = name; }, theme);
        const low = await page.evaluate(contrastProblems);
        assert.deepEqual(low, [], theme);
      }
      assert.equal(await page.locator("#vital").evaluate((n) => getComputedStyle(n).animationName), "none");
      const unnamed = await page.$$eval("button, input", (nodes) => nodes.filter((n) => n.offsetParent !== null && n.innerText.trim() === "" &&
        !n.getAttribute("aria-label") && !n.labels?.length).map((n) => n.outerHTML));
      assert.deepEqual(unnamed, []);
      assert.equal(await page.locator("#announce").getAttribute("aria-live"), "polite");
      const ids = await page.$$eval("[id]", (nodes) => nodes.map((n) => n.id));
      assert.equal(new Set(ids).size, ids.length, "ids are unique");
    });

    test("flood: 1,000 messages in 20 s; keys answered, rows bounded, nothing lost", { timeout: 90000 }, async () => {
      evening(api);
      const had = api.log.length;
      await openPage(url);
      await page.waitForSelector(".row.U4");
      await page.keyboard.press("x");
      await page.evaluate(() => {
        window.longest = 0;
        window.tasks = [];
        new PerformanceObserver((list) => { for (const entry of list.getEntries()) { window.longest = Math.max(window.longest, entry.duration); window.tasks.push(Math.round(entry.duration)); } }).observe({ type: "longtask" });
      });
      let sent = 0;
      const began = Date.now();
      const timer = setInterval(() => {
        const due = Math.min(1000, Math.floor((Date.now() - began) / 20));
        for (; sent < due; sent++) api.push({ ...MESSAGES[(sent * 37) % MESSAGES.length], id: `flood-${sent}` });
      }, 20);
      const delays = [];
      while (Date.now() - began < 20500) {
        delays.push(await page.evaluate(() => new Promise((resolve) => {
          const start = performance.now();
          dispatchEvent(new KeyboardEvent("keydown", { key: "j" }));
          requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
        })));
        await page.waitForTimeout(200);
      }
      clearInterval(timer);
      assert.equal(sent, 1000);
      await page.waitForFunction((n) => [...document.querySelectorAll("#counts b")].reduce((sum, b) => sum + Number(b.textContent.replace(/\D/g, "")), 0) === n, had + 1000);
      delays.sort((a, b) => a - b);
      const at = (q) => delays[Math.floor(delays.length * q)], p95 = at(0.95), longest = await page.evaluate(() => window.longest);
      const rows = await page.locator(".row").count();
      if (process.env.SILLON_VERBOSE) console.log(JSON.stringify(await page.evaluate(() => window.tasks)));
      console.log(`flood: key to frame p50 ${at(0.5).toFixed(0)} ms, p75 ${at(0.75).toFixed(0)} ms, p95 ${p95.toFixed(0)} ms, longest task ${longest.toFixed(0)} ms, ${rows} rows in the page`);
      // Timings are printed, and judged only on a quiet machine ("good" by the INP rule is p75 <= 200 ms).
      if (process.env.SILLON_TIMING === "1") {
        assert.ok(at(0.75) <= 200, `p75 ${at(0.75)} ms`);
        assert.ok(p95 < 1000, `p95 ${p95} ms`);
      }
      assert.ok(rows <= 700, `${rows} rows`);
    });

    test("memory: 5,000 kept at most, unseen U3 and U4 go last", async () => {
      await openPage(url);
      await page.waitForSelector(".health.live");
      const held = await page.evaluate(async () => {
        const { Store } = await import("/store.js");
        const store = new Store(500);
        for (let i = 0; i < 3000; i++) {
          const level = i % 30 === 0 ? "U4" : i % 10 === 0 ? "U3" : `U${i % 3}`;
          store.add({ id: `m${i}`, seq: i + 1, text: "x", urgency: { level } }, { nowMs: i, fresh: true });
        }
        return { size: store.byKey.size, U4: store.count("U4"), U3: store.count("U3"), evicted: store.evicted, urgent: store.evictedUrgent };
      });
      assert.ok(held.size <= 500 && held.size > 480);
      assert.equal(held.U4, 100);
      assert.equal(held.U3, 200);
      assert.equal(held.urgent, 0);
      assert.equal(held.evicted + held.size, 3000);
    });

    test("events: chunks cut anywhere give the same events", async () => {
      await openPage(url);
      const events = await page.evaluate(async () => {
        const { EventParser } = await import("/feed.js");
        const stream = ": beat\r\n\r\nid: 7\r\nevent: verdict\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: status\ndata:x\n\nretry: 5\n\n";
        return [1, 2, 3, 7, 1000].map((size) => {
          const got = [];
          const parser = new EventParser((name, data, id) => got.push([name, data, id]));
          for (let i = 0; i < stream.length; i += size) parser.push(stream.slice(i, i + size));
          return JSON.stringify(got);
        });
      });
      assert.equal(events[0], JSON.stringify([["verdict", "{\"a\":\n1}", "7"], ["status", "x", "7"]]));
      assert.equal(new Set(events).size, 1);
    });

    test("one column at 200 % zoom, without uPlot figures remain, screenshot", async () => {
      evening(api);
      await openPage(url, { viewport: { width: 960, height: 540 } });
      await page.waitForSelector(".row.U4");
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 960, "no sideways scrolling");
      await page.route("**/vendor/*", (route) => route.abort());
      await page.setViewportSize({ width: 1920, height: 1080 });
      await page.reload();
      await page.waitForSelector("#trend-table tbody tr");
      assert.equal(await page.locator("#trend-chart canvas").count(), 0);
      await page.unroute("**/vendor/*");
      await page.reload();
      await page.waitForSelector("#trend-chart canvas");
      api.push({ ...MESSAGES[3], id: "last" });
      await page.waitForSelector('.row[data-key="last"]');
      await page.keyboard.press("n");
      await settle();
      if (SHOT) await page.screenshot({ path: SHOT });
    });
  });
}

// Runs in the page: text whose contrast with its ground is too low. WCAG 2.2 relative luminance.
function contrastProblems() {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = (node) => {
    for (let n = node; n !== null; n = n.parentElement) {
      const colour = parse(getComputedStyle(n).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [0, 0, 0];
  };
  const found = [];
  const check = (node, ink, back, wanted) => {
    const r = ratio(ink, back);
    if (!(r >= wanted)) found.push(`${node.tagName}.${node.getAttribute("class")} ${node.textContent.trim().slice(0, 20)}: ${r.toFixed(2)} < ${wanted}`);
  };
  for (const node of document.querySelectorAll("body *")) {
    if (node.closest("svg, .watermark, .visually-hidden, .skip, canvas, [hidden], dialog") || node.getClientRects().length === 0) continue;
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== "")) continue;
    if (node.closest(".blind")) continue;
    check(node, parse(getComputedStyle(node).color), ground(node), node.closest(".badge, .vital") ? 7 : 4.5);
  }
  for (const shape of document.querySelectorAll("svg.shape")) { // the digit on its shape
    if (shape.getClientRects().length === 0) continue;
    check(shape, parse(getComputedStyle(shape.querySelector("text")).fill), parse(getComputedStyle(shape.firstChild).fill), 7);
  }
  return found;
}
