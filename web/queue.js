// queue.js - the list on the left: five groups, U4 to U0, rows reconciled with the store at most a few times a second.
// The number of rows in the page is bounded whatever arrives; what is not shown is counted.
import { byId, el, setText } from "./dom.js";
import { GROUPS, UNJUDGED, levelBadge } from "./levels.js";
import { extractBounds, textNodes } from "./text.js";
import { duration, number, percent, t, word } from "./i18n.js";

const ROWS = { U4: 120, U3: 80, UX: 30, U2: 50, U1: 50, U0: 50 }; // rows shown per level
const ROWS_MORE = 50;                                      // added when a person asks
const ROWS_MAX = 400;
const HOVER_MS = 3000; // how long a resting pointer keeps its row still

export class Queue {
  constructor(store, { open, ageMs }) {
    this.store = store;
    this.open = open;
    this.ageMs = ageMs;
    this.scroll = byId("queue-scroll");
    this.rows = new Map();                       // key -> { li, button, age }
    this.groups = new Map();                     // level -> { section, title, count, toggle, list, more }
    this.folded = new Set(["U1", "U0"]);
    this.limits = { ...ROWS };
    this.words = [];
    this.oldestFirst = false;
    this.cursor = null;                          // key of the row the keyboard is on
    this.opened = null;                          // key of the open message
    this.hover = { key: null, atMs: 0 };
    this.matches = 0;
    this.scroll.addEventListener("click", (event) => {
      const button = event.target.closest(".row");
      if (button !== null) this.open(button.dataset.key);
    });
    this.scroll.addEventListener("focusin", (event) => {
      const button = event.target.closest(".row");
      if (button !== null) this.setCursor(button.dataset.key);
    });
    this.scroll.addEventListener("pointermove", (event) => {
      this.hover = { key: event.target.closest(".row")?.dataset.key ?? null, atMs: performance.now() };
    });
    this.scroll.addEventListener("pointerleave", () => { this.hover.key = null; });
    this.build();
  }

  // Everything that carries words: called again when the language changes.
  build() {
    this.rows.clear();
    const focused = this.scroll.contains(document.activeElement);
    const sections = GROUPS.map((level) => {
      const count = el("span", { class: "group-count" }), unseen = el("span", { class: "group-unseen" });
      const toggle = ["U1", "U0"].includes(level) ? el("button", { type: "button", class: "quiet", onclick: () => this.toggle(level) }) : null;
      const list = el("ul", { class: "rows", role: "list" });
      const more = el("button", { type: "button", class: "more quiet", hidden: true, onclick: () => this.showMore(level) });
      const section = el("section", { class: `group ${level}`, "aria-labelledby": `group-${level}` },
        el("h3", { id: `group-${level}` }, levelBadge(level), count, unseen, toggle), list, more);
      this.groups.set(level, { section, count, unseen, toggle, list, more });
      return section;
    });
    this.scroll.replaceChildren(...sections);
    this.render();
    if (focused) this.focusCursor();
  }

  toggle(level) {
    if (!this.folded.delete(level)) this.folded.add(level);
    this.render();
  }
  toggleLow() {
    const fold = !this.folded.has("U1") || !this.folded.has("U0");
    for (const level of ["U1", "U0"]) fold ? this.folded.add(level) : this.folded.delete(level);
    this.render();
  }
  showMore(level) {
    this.limits[level] = Math.min(ROWS_MAX, this.limits[level] + ROWS_MORE);
    this.render();
  }
  search(words) {
    this.words = words;
    this.render();
  }

  render() {
    const anchor = this.anchor();
    const focusedKey = document.activeElement?.closest?.(".row")?.dataset.key ?? null;
    const shown = new Set();
    this.matches = 0;
    for (const level of GROUPS) this.renderGroup(level, shown);
    for (const key of this.rows.keys()) if (!shown.has(key)) this.rows.delete(key);
    this.renderTabStop();
    this.tick(Date.now()); // the last change: measuring after it lays the page out once
    if (anchor !== null) {
      const row = this.rows.get(anchor.key);
      if (row?.li.isConnected) this.scroll.scrollTop += row.li.getBoundingClientRect().top - anchor.top;
    }
    if (focusedKey !== null && document.activeElement?.dataset?.key !== focusedKey) { // it moved group, or left
      (this.rows.get(focusedKey)?.button ?? this.buttons()[0])?.focus({ preventScroll: true });
    }
  }
  renderGroup(level, shown) {
    const group = this.groups.get(level);
    const searching = this.words.length > 0;
    const folded = this.folded.has(level) && !searching;
    const { items, total } = this.store.select(level,
      { words: this.words, limit: folded ? 0 : this.limit(level), oldestFirst: this.oldestFirst });
    this.matches += total;
    setText(group.count, total === 0 ? t("queue.empty") : number(total));
    const unseen = this.store.unseen.get(level)?.size ?? 0;
    setText(group.unseen, unseen > 0 ? `${number(unseen)} ${t("queue.unseen")}` : "");
    group.section.classList.toggle("none", total === 0);
    group.section.hidden = level === UNJUDGED && total === 0;
    if (group.toggle !== null) {
      setText(group.toggle, t(folded ? "queue.show" : "queue.hide"));
      group.toggle.setAttribute("aria-expanded", String(!folded));
      group.toggle.hidden = searching;
    }
    // Reconcile in order: a row that stays is moved only when its neighbour changed.
    let next = group.list.firstChild;
    for (const item of items) {
      shown.add(item.key);
      const row = this.row(item);
      if (row.li === next) next = next.nextSibling;
      else group.list.insertBefore(row.li, next);
    }
    while (next !== null) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    const hidden = folded ? 0 : total - items.length;
    group.more.hidden = hidden <= 0;
    group.more.disabled = this.limits[level] >= ROWS_MAX;
    if (hidden > 0) setText(group.more, t("queue.more", { n: number(hidden) }));
  }
  // The row under the cursor stays in the page while newer ones push it down.
  limit(level) {
    const item = this.store.byKey.get(this.cursor);
    if (item === undefined || item.level !== level || this.words.length > 0) return this.limits[level];
    const list = this.store.byLevel.get(level), at = list.lastIndexOf(item);
    return Math.min(ROWS_MAX, Math.max(this.limits[level], (this.oldestFirst ? at : list.length - 1 - at) + 5));
  }

  row(item) {
    let row = this.rows.get(item.key);
    if (row === undefined) {
      const button = el("button", { type: "button", "data-key": item.key, tabindex: -1 });
      row = { li: el("li", {}, button), button, age: null, item: null };
      this.rows.set(item.key, row);
    }
    if (row.item !== item) this.fillRow(row, item);
    row.button.classList.toggle("unseen", !item.seen && this.store.unseen.has(item.level));
    const current = item.key === this.opened ? "true" : null;
    if (row.button.getAttribute("aria-current") !== current) {
      current === null ? row.button.removeAttribute("aria-current") : row.button.setAttribute("aria-current", current);
    }
    return row;
  }
  fillRow(row, item) {
    const v = item.verdict;
    const bounds = extractBounds(v.text, item.spans, { lead: item.level === "U4" ? 16 : 60 }); // larger letters, fewer words
    row.item = item;
    row.age = el("span", { class: "age" });
    row.button.className = `row ${item.level}`;
    row.button.replaceChildren(
      levelBadge(item.level),
      el("span", { class: "row-top" },
        v.place?.line ? el("span", { class: "line" }, v.place.line) : "",
        v.place?.station ? el("bdi", { class: "station" }, v.place.station) : "",
        el("span", { class: "class" }, item.level === UNJUDGED ? t("unjudged.why") : word("class", v.class?.main)),
        v.exercise === true ? el("span", { class: "exercise-chip" }, t("exercise.short")) : ""),
      el("span", { class: "row-text", dir: "auto" }, bounds.begin > 0 ? "… " : "", ...textNodes(v.text, item.spans, bounds),
        bounds.end < v.text.length ? " …" : ""),
      el("span", { class: "row-side" }, row.age, el("span", { class: "sure" }, percent(v.urgency?.p?.[item.level])),
        el("span", { class: "to-open" }, t("queue.unseen"))));
  }

  // Which row must not move on the screen while others arrive: the one under a pointer that is being used, the one
  // with the focus, else, in a list that was scrolled, the first in view. At the top nothing is held: news shows.
  anchor() {
    const hovered = performance.now() - this.hover.atMs < HOVER_MS ? this.rows.get(this.hover.key) : undefined;
    const focused = document.activeElement?.closest?.(".row");
    let li = hovered?.li ?? (focused ? focused.parentElement : null);
    if (li === null && this.scroll.scrollTop > 4) {
      const top = this.scroll.getBoundingClientRect().top;
      li = [...this.scroll.querySelectorAll(".rows > li")].find((node) => node.getBoundingClientRect().bottom > top + 40) ?? null;
    }
    if (li === null || !li.isConnected) return null;
    return { key: li.firstChild.dataset.key, top: li.getBoundingClientRect().top };
  }
  // U3 and U4 rows, not opened, scrolled out of view above.
  hiddenAbove() {
    if (this.scroll.scrollTop < 4) return 0;
    const top = this.scroll.getBoundingClientRect().top;
    const rows = [...this.scroll.querySelectorAll(".row.unseen")];
    const visible = rows.findIndex((row) => row.getBoundingClientRect().bottom >= top + 30);
    return visible < 0 ? rows.length : visible;
  }
  tick(nowMs) {
    for (const row of this.rows.values()) setText(row.age, duration(this.ageMs(row.item, nowMs)));
  }

  // Keyboard
  buttons() {
    return [...this.scroll.querySelectorAll(".row")];
  }
  setCursor(key) {
    this.cursor = key;
    this.renderTabStop();
  }
  renderTabStop() { // one row is a tab stop: Tab enters the list, j and k walk it
    const stop = this.rows.get(this.cursor)?.button ?? this.buttons()[0] ?? null;
    if (this.tabStop !== stop) this.tabStop?.setAttribute("tabindex", "-1");
    stop?.setAttribute("tabindex", "0");
    this.tabStop = stop;
  }
  move(step) {
    const buttons = this.buttons();
    if (buttons.length === 0) return null;
    const at = buttons.findIndex((button) => button.dataset.key === this.cursor);
    const from = buttons[at];
    if (step > 0 && from !== undefined && from.parentElement.nextSibling === null) {
      const level = this.store.byKey.get(this.cursor)?.level;
      if (level !== undefined && !this.groups.get(level).more.hidden && this.limits[level] < ROWS_MAX) {
        this.showMore(level);
        return this.move(step);
      }
    }
    return this.focusRow(buttons[at < 0 ? 0 : Math.max(0, Math.min(buttons.length - 1, at + step))]);
  }
  first() {
    this.scroll.scrollTop = 0;
    return this.focusRow(this.buttons()[0]);
  }
  focusRow(button) {
    if (button === undefined) return null;
    button.focus({ preventScroll: true });
    button.scrollIntoView({ block: "nearest" });
    return button.dataset.key;
  }
  focusCursor() {
    this.focusRow(this.rows.get(this.cursor)?.button ?? this.buttons()[0]);
  }
}
