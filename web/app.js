// app.js - the control room screen: feed -> store -> queue, card, bars, sound; and the keyboard.
// Arrivals only mark the page as dirty; drawing is done in requestAnimationFrame, at most every DRAW_MS, so fifty
// messages a second cost the same few redraws a second as one.
import { byId, el, keep, kept, setText } from "./dom.js";
import { Card } from "./card.js";
import { Feed } from "./feed.js";
import { LEVELS, levelShape } from "./levels.js";
import { Queue } from "./queue.js";
import { Sound } from "./sound.js";
import { Store } from "./store.js";
import { Trend } from "./trend.js";
import { extractBounds, fold, textNodes } from "./text.js";
import { duration, language, languageOpen, languageSet, number, t, word } from "./i18n.js";

const DRAW_MS = 150;
const SILENT_MS = 60000;       // a feed without a message for this long is said
const BLIND_GRACE_MS = 3000;   // a page that is only starting is not blind yet
const REALERT_MS = 30000;      // an unopened U4 sounds again
const ANNOUNCE_MS = 3000;      // at most one spoken announcement in this time
const STALE_AT_LOAD_MS = 30 * 60 * 1000; // older than this when the page opens: listed, not marked "to open"
const SEEN_KEPT = 1000;
const RATE_S = 60;             // the rate shown is over this many seconds
const LATE_S = 20;             // a message waiting longer than this for its verdict is said in a bar

const state = {
  link: null, lostAtMs: Date.now(), everUp: false, status: null, lastMessageMs: null,
  dirty: false, lastDrawMs: 0, drawCostMs: 0, announceAtMs: 0, pending: { U4: [], U3: [] }, lastAlertMs: 0, perSecond: new Array(RATE_S).fill(0),
};
const store = new Store();
const seenKeys = new Set(readSeen());
const sound = new Sound(renderControls);
const feed = new Feed({ verdict: onVerdict, status: onStatus, link: onLink });
// The age of a message on this desk: by the server's clock, and by arrival for a replayed day whose own times are far.
function ageMs(item, nowMs) {
  const age = nowMs + feed.clockSkewMs - item.timeMs;
  return item.verdict.exercise === true && Math.abs(age) > 12 * 3600e3 ? nowMs - item.arrivedMs : Math.max(0, age);
}
languageOpen();
themeSet(kept("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"), false);
const queue = new Queue(store, { open: openMessage, ageMs });
const card = new Card(byId("card"), { close: closeCard, ageMs });
const trend = new Trend();

// Feed
function onVerdict(verdict, live) {
  const nowMs = Date.now();
  const item = store.add(verdict, { nowMs, fresh: live });
  if (item === null) return;
  if (live) state.perSecond[Math.floor(nowMs / 1000) % RATE_S]++;
  state.lastMessageMs = live ? nowMs : Math.max(state.lastMessageMs ?? 0, Math.min(nowMs, item.timeMs - feed.clockSkewMs));
  if (seenKeys.has(item.key) || (!live && ageMs(item, nowMs) > STALE_AT_LOAD_MS)) store.see(item);
  if (item.news && !item.seen && state.pending[item.level] !== undefined) {
    state.pending[item.level].push(item);
    sound.play(item.level);
    if (item.level === "U4") state.lastAlertMs = nowMs;
  }
  if (card.item?.key === item.key) card.open(item); // judged again while open
  dirty();
}
function onStatus(status) {
  state.status = status;
  dirty();
  renderHealth();
}
function onLink(up) {
  state.link = up;
  if (up) {
    if (state.everUp) announce(t("blind.back"));
    state.everUp = true;
    trend.poll();
  } else state.lostAtMs = Date.now();
  renderHealth();
  dirty();
}

// Drawing
function dirty() {
  if (state.dirty) return;
  state.dirty = true;
  const wait = Math.max(0, state.lastDrawMs + Math.max(DRAW_MS, 4 * state.drawCostMs) - performance.now()); // at most a fifth of the time
  setTimeout(() => requestAnimationFrame(draw), wait);
}
function draw() {
  state.dirty = false;
  state.lastDrawMs = performance.now();
  queue.render();
  renderCounts();
  renderVital();
  renderAbove();
  renderHealth();
  const exercise = store.exercises > 0 || state.status?.exercise === true;
  byId("exercise").hidden = byId("watermark").hidden = !exercise;
  document.body.classList.toggle("all-exercise", store.exercises === store.byKey.size);
  byId("evicted").hidden = store.evictedUrgent === 0;
  if (store.evictedUrgent > 0) setText(byId("evicted"), t("evicted", { n: number(store.evictedUrgent) }));
  setText(byId("results"), queue.words.length === 0 ? "" : queue.matches === 1 ? t("search.result1") : t("search.results", { n: number(queue.matches) }));
  speak();
  state.drawCostMs = Math.min(250, performance.now() - state.lastDrawMs);
}
function renderCounts() {
  const root = byId("counts");
  if (root.childElementCount === 0) {
    root.append(...LEVELS.map((level) => el("li", { class: level, title: t(`level.${level}`) }, levelShape(level),
      el("span", { class: "visually-hidden" }, `${level} ${t(`level.${level}`)} `), el("b", {}))));
  }
  LEVELS.forEach((level, i) => setText(root.children[i].lastChild, number(store.count(level))));
}
function renderVital() {
  const bar = byId("vital"), unseen = store.unseen.get("U4");
  bar.hidden = unseen.size === 0;
  const item = unseen.size === 0 ? null : oldest(unseen);
  const signature = item === null ? "" : `${item.key} ${item.verdict.seq} ${unseen.size} ${language()}`;
  if (bar.dataset.signature === signature) return;
  bar.dataset.signature = signature;
  if (item === null) return bar.replaceChildren();
  const v = item.verdict, bounds = extractBounds(v.text, item.spans);
  const more = unseen.size - 1;
  bar.replaceChildren(levelShape("U4"),
    el("span", { class: "vital-what" },
      el("span", { class: "vital-title" }, el("b", {}, `U4 ${t("level.U4")}`), v.place?.line && el("span", { class: "line" }, v.place.line),
        el("bdi", {}, v.place?.station || (v.place?.line ? "" : t("no_place"))), el("span", {}, word("class", v.class?.main)),
        v.exercise === true && el("span", { class: "exercise-chip" }, t("exercise"))),
      el("span", { class: "vital-text", dir: "auto" }, ...textNodes(v.text, item.spans, bounds))),
    el("span", { class: "vital-side" }, el("span", { class: "age" }, duration(ageMs(item, Date.now()))),
      el("span", {}, more === 0 ? "" : more === 1 ? t("bar.more1") : t("bar.more", { n: number(more) })),
      el("span", { class: "vital-key" }, t("bar.open"))));
}
function oldest(items) {
  let first = null;
  for (const item of items) if (first === null || item.timeMs < first.timeMs) first = item;
  return first;
}
function renderAbove() {
  const n = queue.hiddenAbove(), button = byId("above");
  button.hidden = n === 0;
  if (n > 0) setText(button, t("queue.above", { n: number(n) }));
}
function renderHealth() {
  const nowMs = Date.now(), s = state.status;
  const lost = state.link !== true && (state.link === false || nowMs - state.lostAtMs > BLIND_GRACE_MS) && (state.everUp || nowMs - started > BLIND_GRACE_MS);
  const idleMs = state.lastMessageMs === null ? null : nowMs - state.lastMessageMs;
  const silent = state.link === true && idleMs !== null && idleMs > SILENT_MS;
  byId("health").className = `health ${lost ? "lost" : silent ? "silent" : state.link === true ? "live" : ""}`;
  setText(byId("health-link"), t(lost ? "health.lost" : state.link === true ? "health.live" : "health.connecting"));
  setText(byId("health-last"), idleMs === null ? t("health.none") : t(silent ? "health.silent" : "health.last", { age: duration(idleMs) }));
  const figures = s === null ? [] : [
    t("health.rate", { n: number(state.perSecond.reduce((a, b) => a + b)) }),
    Number.isFinite(s.queue_depth) && t("health.pending", { n: number(s.queue_depth) }),
    s.oldest_unjudged_s > 0 && t("health.oldest", { age: duration(s.oldest_unjudged_s * 1000) }),
    s.failed > 0 && t("health.failed", { n: number(s.failed) })].filter(Boolean);
  setText(byId("health-figures"), figures.join(" · "));
  const trouble = lost || s === null ? "" : s.worker === "stopped" || s.worker === "failing" ? t(`trouble.worker.${s.worker}`)
    : s.store !== undefined && s.store !== "ok" ? t("trouble.store")
      : s.oldest_unjudged_s > LATE_S ? t("trouble.late", { age: duration(s.oldest_unjudged_s * 1000) }) : "";
  byId("trouble").hidden = trouble === "";
  setText(byId("trouble-text"), trouble);
  if (trouble !== "") setText(byId("trouble-help"), t("trouble.help", { n: number(s.queue_depth ?? 0) }));
  const blind = byId("blind");
  if (lost) setText(byId("blind-text"), t(state.everUp ? "blind" : "blind.never", { age: duration(nowMs - (state.everUp ? state.lostAtMs : started)) }));
  blind.hidden = !lost;
  document.body.classList.toggle("is-blind", lost);
}
function renderControls() {
  const kind = sound.state();
  byId("sound").replaceChildren(el("kbd", { "aria-hidden": "true" }, "s"), t(`sound.${kind}`));
  byId("sound").setAttribute("aria-pressed", String(kind === "on" || kind === "blocked"));
  byId("sound").className = `sound-${kind}`;
  byId("sound").disabled = kind === "absent";
  setText(byId("theme"), t(document.documentElement.dataset.theme === "dark" ? "theme.light" : "theme.dark"));
  setText(byId("order"), t(queue.oldestFirst ? "queue.oldest" : "queue.newest"));
}

// Speech: new U4 and U3, gathered so that a flood says one sentence and not fifty.
function speak() {
  const { U4, U3 } = state.pending;
  if (U4.length + U3.length === 0 || performance.now() < state.announceAtMs) return;
  state.announceAtMs = performance.now() + ANNOUNCE_MS;
  if (U4.length + U3.length > 2) announce(t("announce.many", { n4: number(U4.length), n3: number(U3.length) }));
  else announce([...U4, ...U3].map((item) => t(`announce.${item.level}`, { what: summary(item) })).join(". "));
  state.pending = { U4: [], U3: [] };
}
function announce(sentence) {
  byId("announce").textContent = sentence;
}
function summary({ verdict: v }) {
  return [word("class", v.class?.main), v.place?.line, v.place?.station].filter(Boolean).join(", ");
}

// Acts of this desk
function openMessage(key, { focusCard = false } = {}) {
  const item = store.byKey.get(key);
  if (item === undefined) return;
  store.see(item);
  rememberSeen(item.key);
  queue.opened = key;
  queue.setCursor(key);
  card.open(item);
  dirty();
  if (focusCard) byId("card").focus({ preventScroll: true });
}
function closeCard() {
  queue.opened = null;
  card.clear();
  queue.render();
  queue.focusCursor();
}
function openNext() {
  const item = store.nextUnseen();
  if (item === null) return;
  openMessage(item.key);
  queue.render();
  queue.focusCursor();
}
function move(step) {
  const key = queue.move(step);
  if (key !== null && card.item !== null) openMessage(key); // with a card open, it follows
}
function readSeen() {
  try { return JSON.parse(kept("seen") ?? "[]").map(String); } catch { return []; }
}
let seenTimer = null;
function rememberSeen(key) {
  seenKeys.add(key);
  if (seenKeys.size > SEEN_KEPT) seenKeys.delete(seenKeys.values().next().value);
  clearTimeout(seenTimer);
  seenTimer = setTimeout(keepSeen, 500);
}
function keepSeen() {
  keep("seen", JSON.stringify([...seenKeys]));
}
addEventListener("pagehide", keepSeen);
function themeSet(theme, remember = true) {
  document.documentElement.dataset.theme = theme === "light" ? "light" : "dark";
  if (remember) keep("theme", theme);
}
function toggleTheme() {
  themeSet(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  renderControls();
  trend.render();
}
function toggleLanguage() {
  languageSet(language() === "fr" ? "en" : "fr");
  translate();
}
function toggleOrder() {
  queue.oldestFirst = !queue.oldestFirst;
  queue.render();
  renderControls();
}
function translate() {
  for (const node of document.querySelectorAll("[data-t]")) setText(node, t(node.dataset.t));
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-title]")) node.title = t(node.dataset.tTitle);
  for (const node of document.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
  document.title = `Sillon · ${t("product.tagline")}`;
  const rows = [[["j", "↓"], "j"], [["k", "↑"], "k"], [["g"], "g"], [["n"], "n"], [[t("key.enter")], "enter"], [[t("key.esc")], "esc"],
    [["r"], "r"], [["x"], "x"], [["o"], "o"], [["/"], "slash"], [["s"], "s"], [["t"], "t"], [["l"], "l"], [["?"], "h"]];
  byId("help-keys").replaceChildren(...rows.map(([names, key]) =>
    el("div", {}, el("dt", {}, ...names.map((name) => el("kbd", {}, name))), el("dd", {}, t(`help.${key}`)))));
  byId("counts").replaceChildren();
  queue.build();
  card.render();
  renderControls();
  renderHealth();
  trend.render();
  dirty();
}

// Keyboard. a, e, m, f and 0-4 are kept free for the operators' acts (acknowledge, escalate, mute, false alarm, correct).
const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  g: () => queue.first(), n: openNext, r: () => card.toggleTrace(), x: () => queue.toggleLow(), o: toggleOrder,
  "/": () => byId("search").focus(), "?": () => byId("help").showModal(), s: () => sound.toggle(), t: toggleTheme, l: toggleLanguage,
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (byId("help").open) return; // the dialog has its own Escape
  if (target === byId("search")) return searchKey(event);
  if (event.key === "Escape") return escape(event);
  if (event.key === "Enter") return enter(event, target);
  if (event.key.startsWith("Arrow") && target.closest("#card")) return; // arrows scroll the card
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
});
function enter(event, target) {
  if (target.closest("button:not(.row), a, input, summary")) return; // their own
  const row = target.closest(".row");
  if (row !== null) {
    event.preventDefault();
    openMessage(row.dataset.key, { focusCard: true });
  } else if (store.unseen.get("U4").size > 0 && !target.closest("#card")) {
    event.preventDefault();
    openNext();
  }
}
function escape(event) {
  event.preventDefault();
  if (card.item !== null) closeCard();
  else if (queue.words.length > 0) clearSearch();
  else queue.focusCursor();
}
function searchKey(event) {
  if (event.key === "Escape") { event.preventDefault(); clearSearch(); }
  else if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); queue.first(); }
}
function clearSearch() {
  byId("search").value = "";
  queue.search([]);
  dirty();
  queue.focusCursor();
}

byId("search").addEventListener("input", () => {
  queue.search(fold(byId("search").value).split(/\s+/).filter(Boolean));
  dirty();
});
byId("vital").addEventListener("click", openNext);
byId("above").addEventListener("click", () => queue.first());
byId("sound").addEventListener("click", () => sound.toggle());
byId("sound-test").addEventListener("click", () => sound.test());
byId("theme").addEventListener("click", toggleTheme);
byId("language").addEventListener("click", toggleLanguage);
byId("order").addEventListener("click", toggleOrder);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("help-close").addEventListener("click", () => byId("help").close());
byId("queue-scroll").addEventListener("scroll", dirty, { passive: true });

const started = Date.now();
translate();
setInterval(() => {
  const nowMs = Date.now();
  state.perSecond[(Math.floor(nowMs / 1000) + 1) % RATE_S] = 0; // the bucket about to be written
  queue.tick(nowMs);
  card.tick(nowMs);
  renderHealth();
  const unseen = store.unseen.get("U4");
  if (unseen.size > 0) {
    setText(byId("vital").querySelector(".age") ?? el("i"), duration(ageMs(oldest(unseen), nowMs)));
    if (nowMs - state.lastAlertMs > REALERT_MS) { state.lastAlertMs = nowMs; sound.play("U4"); }
  }
  speak();
}, 1000);
feed.run();
trend.run();
