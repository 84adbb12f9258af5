// card.js - the open message. What it shows and why: the passenger's own words first, what the model quoted from them
// underlined, then for and against with equal weight, because a one-sided reason makes a wrong verdict as convincing
// as a right one (arXiv 2605.10930). The model's trace stays folded and says it is not verified.
import { el } from "./dom.js";
import { GROUPS, LEVELS, UNJUDGED, levelBadge } from "./levels.js";
import { textNodes } from "./text.js";
import { clockTime, dateTime, duration, milliseconds, percent, probabilityWords, t, word } from "./i18n.js";

export class Card {
  constructor(root, { close, ageMs }) {
    this.root = root;
    this.close = close;
    this.ageMs = ageMs;
    this.item = null;
    this.traceOpen = false;
  }
  open(item) {
    if (this.item?.key !== item.key) this.traceOpen = false;
    this.item = item;
    this.render();
  }
  clear() {
    this.item = null;
    this.render();
  }
  toggleTrace() {
    const details = this.root.querySelector("details.trace");
    if (details !== null) details.open = !details.open;
  }
  tick(nowMs) {
    const age = this.root.querySelector(".card-age");
    if (age !== null && this.item !== null) age.textContent = t("age.ago", { age: duration(this.ageMs(this.item, nowMs)) });
  }

  render() {
    const empty = this.item === null;
    this.root.classList.toggle("empty", empty);
    this.root.classList.remove(...GROUPS);
    if (empty) {
      this.root.replaceChildren(el("p", { class: "card-empty" }, t("card.empty")), el("p", { class: "card-keys" }, t("card.empty.keys")));
      return;
    }
    this.root.classList.add(this.item.level);
    const v = this.item.verdict;
    const judged = this.item.level !== UNJUDGED;
    const parts = [this.head(v), this.message(v), judged ? this.reasons(v) : null, this.trace(v), judged ? this.levels(v) : null,
      this.facts(v), this.foot(v)];
    this.root.replaceChildren(...parts.filter((part) => part !== null));
    this.root.scrollTop = 0;
    this.tick(Date.now());
  }

  head(v) {
    const p = v.urgency?.p?.[this.item.level];
    return el("header", { class: "card-head" },
      el("div", { class: "card-level" }, levelBadge(this.item.level),
        Number.isFinite(p) && el("span", { class: "card-sure" }, probabilityWords(p), " · ", el("b", {}, percent(p))),
        el("span", { class: "card-when", title: `${t("card.received")} ${dateTime(this.item.timeMs)}` }, el("span", { class: "card-age" }), ` · ${received(this.item.timeMs)}`),
        el("button", { type: "button", class: "quiet close", onclick: this.close, "aria-label": t("card.close"), title: t("card.close") }, "✕")),
      el("div", { class: "card-what" }, el("h2", {}, v.class?.main ? word("class", v.class.main) : t("unjudged.why"), Number.isFinite(v.class?.p) && el("small", {}, percent(v.class.p))),
      el("p", { class: "card-place" }, v.place?.line && el("span", { class: "line" }, v.place.line),
        el("bdi", {}, v.place?.station || (v.place?.line ? "" : t("no_place"))),
        v.exercise === true && el("span", { class: "exercise-chip" }, t("exercise")))));
  }
  message(v) {
    const note = this.item.spans.length > 0 ? t("card.evidence") : t("card.no_evidence");
    return el("section", { "aria-label": t("card.message") },
      el("blockquote", { class: "card-text", dir: "auto", tabindex: "0" }, ...textNodes(v.text, this.item.spans, { visible: true })),
      el("p", { class: "note" }, note));
  }
  reasons(v) {
    const box = (name, text) => el("section", { class: `reason ${name}` }, el("h3", {}, t(`card.${name}`)),
      el("p", { dir: "auto", class: text ? "" : "absent" }, text || t("card.no_reason")));
    return el("div", { class: "reasons" }, box("for", v.for), box("against", v.against));
  }
  levels(v) {
    const bars = LEVELS.map((level) => {
      const p = Number(v.urgency?.p?.[level]);
      const bar = el("span", { class: `fill ${level}` });
      bar.style.width = `${Math.max(0, Math.min(1, p || 0)) * 100}%`;
      return el("li", { class: level === this.item.level ? "chosen" : null },
        el("span", { class: "name" }, level), el("span", { class: "track", "aria-hidden": "true" }, bar), el("span", { class: "value" }, percent(p)));
    });
    return el("section", { class: "levels" }, el("h3", {}, t("card.levels")), el("ul", {}, ...bars));
  }
  facts(v) {
    const distress = Object.entries(v.distress ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
    const rows = [
      [t("card.source"), [word("source", v.source?.label), Number.isFinite(v.source?.p) ? ` · ${percent(v.source.p)}` : ""]],
      [t("card.distress"), distress.length === 0 ? [t("card.distress.none")] : distress.map(([kind, n]) => el("span", { class: "kind" },
        word("distress", kind), el("span", { class: "dots", "aria-hidden": "true" }, "●".repeat(Math.min(3, n)), "○".repeat(Math.max(0, 3 - n))),
        el("small", {}, word("intensity", n))))],
      [t("card.flags"), v.flags?.length > 0 ? v.flags.map((flag) => el("span", { class: "flag" }, word("flag", flag))) : [t("card.flags.none")]],
      [t("card.channel"), [v.channel ? word("channel", v.channel) : "–"]],
      v.error ? [t("card.error"), [`${v.error.code ?? ""} ${v.error.message ?? ""}`]] : null,
    ];
    return el("dl", { class: "facts" }, ...rows.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, ...value))));
  }
  trace(v) {
    if (!v.trace) return null;
    const details = el("details", { class: "trace", open: this.traceOpen }, el("summary", {}, t(v.trace_writer === "rules" ? "card.trace.rules" : "card.trace"), el("kbd", { "aria-hidden": "true" }, "r")),
      el("p", { dir: "auto" }, v.trace));
    details.addEventListener("toggle", () => { this.traceOpen = details.open; });
    return details;
  }
  foot(v) {
    const timings = Object.entries(v.timing_ms ?? {}).filter(([, ms]) => Number.isFinite(ms))
      .map(([name, ms]) => `${word("timing", name)} ${milliseconds(ms)}`).join(" · ");
    const model = v.model ? `${v.model.name ?? "?"} · ${String(v.model.sha256 ?? "").slice(0, 12)}` : "–";
    return el("footer", { class: "card-foot" }, el("span", { title: v.model?.sha256 ?? "" }, `${t("card.model")} ${model}`),
      timings !== "" && el("span", {}, `${t("card.timing")} ${timings}`), el("span", {}, `${t("card.id")} ${v.id ?? v.seq}`));
  }
}

// The hour; with the date when it is not today's.
function received(ms) {
  return new Date(ms).toDateString() === new Date().toDateString() ? clockTime(ms) : dateTime(ms);
}
