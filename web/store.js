// store.js - the verdicts this screen holds, bounded, in the order a supervisor reads: by level, then by age.
// "Seen" means opened on this screen. It is not an acknowledgement: nobody else is told.
import { GROUPS, LEVELS, UNJUDGED } from "./levels.js";
import { evidenceSpans, fold } from "./text.js";

export const LIMIT = 5000;

export class Store {
  constructor(limit = LIMIT) {
    this.limit = limit;
    this.byKey = new Map();                                          // message id -> item
    this.byLevel = new Map(GROUPS.map((level) => [level, []]));      // oldest first: an arrival is a push
    this.unseen = new Map([["U4", new Set()], ["U3", new Set()]]);   // items nobody opened here
    this.exercises = 0;
    this.evicted = 0;
    this.evictedUrgent = 0; // U3 or U4 never opened: said on screen, never silent
  }

  // Adds or replaces. Returns the item, or null when the same verdict is already held.
  add(verdict, { nowMs, fresh }) {
    const key = String(verdict.id ?? verdict.seq);
    const old = this.byKey.get(key);
    if (old !== undefined && (old.verdict.seq ?? 0) >= (verdict.seq ?? 0)) return null;
    if (old !== undefined) this.remove(old);
    const item = makeItem(key, verdict, nowMs);
    item.seen = old?.seen === true && old.level === item.level;
    item.news = fresh && old?.level !== item.level; // the same verdict with its trace is no news
    this.byKey.set(key, item);
    insertByTime(this.byLevel.get(item.level), item);
    if (!item.seen) this.unseen.get(item.level)?.add(item);
    if (verdict.exercise === true) this.exercises++;
    if (this.byKey.size > this.limit) this.evict();
    return item;
  }
  see(item) {
    item.seen = true;
    this.unseen.get(item.level)?.delete(item);
  }
  remove(item) {
    const list = this.byLevel.get(item.level);
    list.splice(list.indexOf(item), 1);
    this.forget(item);
  }
  forget(item) {
    this.byKey.delete(item.key);
    this.unseen.get(item.level)?.delete(item);
    if (item.verdict.exercise === true) this.exercises--;
  }

  // Drops the oldest of what may go: first everything but unseen U3 and U4, then unseen U3, then unseen U4.
  // A fiftieth at a time, so that a flood does not pay for it at every message.
  evict() {
    let n = this.byKey.size - this.limit + Math.floor(this.limit / 50);
    const passes = [(item) => item.seen || !this.unseen.has(item.level), (item) => item.level === "U3", () => true];
    passes.forEach((mayGo, pass) => {
      if (n <= 0) return;
      const candidates = [...this.byKey.values()].filter(mayGo).sort((a, b) => a.timeMs - b.timeMs).slice(0, n);
      const going = new Set(candidates);
      for (const [level, list] of this.byLevel) {
        this.byLevel.set(level, list.filter((item) => !going.has(item)));
      }
      candidates.forEach((item) => this.forget(item));
      n -= going.size;
      this.evicted += going.size;
      if (pass > 0) this.evictedUrgent += going.size;
    });
  }

  count(level) {
    return this.byLevel.get(level).length;
  }
  // The items of a level, newest first (or oldest first), at most `limit`, that match `words`.
  // total counts all that match.
  select(level, { words = [], limit, oldestFirst = false }) {
    const list = this.byLevel.get(level);
    const items = [];
    let total = 0;
    if (words.length === 0) total = list.length;
    for (let i = 0; i < list.length; i++) {
      const item = list[oldestFirst ? i : list.length - 1 - i];
      if (words.length > 0) {
        if (!matches(item, words)) continue;
        total++;
      }
      if (items.length < limit) items.push(item);
      else if (words.length === 0) break;
    }
    return { items, total };
  }
  // The next thing to look at: the oldest unseen U4, else the oldest unseen U3, else null.
  nextUnseen() {
    for (const set of [this.unseen.get("U4"), this.unseen.get("U3")]) {
      let first = null;
      for (const item of set) if (first === null || item.timeMs < first.timeMs) first = item;
      if (first !== null) return first;
    }
    return null;
  }
}

function makeItem(key, verdict, nowMs) {
  const level = LEVELS.includes(verdict.urgency?.level) ? verdict.urgency.level : UNJUDGED;
  const received = typeof verdict.received_at === "number" ? verdict.received_at * 1000
    : Date.parse(verdict.received_at ?? "");
  const timeMs = Number.isFinite(received) ? received : nowMs;
  return { key, verdict, level, timeMs, arrivedMs: nowMs, spans: evidenceSpans(verdict.text, verdict.evidence),
    seen: false, news: false, searchText: null };
}
function insertByTime(list, item) {
  let at = list.length; // arrivals are nearly in order: walk back from the end
  while (at > 0 && list[at - 1].timeMs > item.timeMs) at--;
  list.splice(at, 0, item);
}
function matches(item, words) {
  if (item.searchText === null) {
    const v = item.verdict;
    item.searchText = fold([item.level, v.place?.line, v.place?.station, v.class?.main, v.text].filter(Boolean).join(" "));
  }
  return words.every((word) => item.searchText.includes(word));
}
