// levels.js - a level of urgency as four signs at once: colour, shape, letter, words. No sign is needed to read the
// others, so the screen works for a colour-blind supervisor and on a bad projector.
import { el, svg } from "./dom.js";
import { t } from "./i18n.js";

export const LEVELS = ["U4", "U3", "U2", "U1", "U0"]; // most urgent first
export const UNJUDGED = "UX"; // the model could not judge it: a person must, so it stands above U2
export const GROUPS = ["U4", "U3", UNJUDGED, "U2", "U1", "U0"];

// Outlines in a 24 x 24 box. Corners grow with urgency: circle, square, triangle, octagon.
function outline(level) {
  switch (level) {
    case "U4": return svg("polygon", { points: "7.6,1 16.4,1 23,7.6 23,16.4 16.4,23 7.6,23 1,16.4 1,7.6" });
    case "U3": return svg("polygon", { points: "12,1 23.5,22.5 0.5,22.5" });
    case "U2": return svg("rect", { x: 2, y: 2, width: 20, height: 20 });
    case UNJUDGED: return svg("polygon", { points: "12,0 24,12 12,24 0,12" });
    case "U1": return svg("circle", { cx: 12, cy: 12, r: 10.5 });
    default: return svg("circle", { cx: 12, cy: 12, r: 9.5, class: "hollow" });
  }
}
export function levelShape(level) {
  const digit = svg("text", { x: 12, y: level === "U3" ? 20 : 17, "text-anchor": "middle" }, level === UNJUDGED ? "?" : level.slice(1));
  return svg("svg", { viewBox: "0 0 24 24", class: `shape ${level}`, "aria-hidden": "true" }, outline(level), digit);
}
// The badge: shape, letter and (unless short) the words, on the level's own ground, 7:1 in both themes.
export function levelBadge(level, { words = true } = {}) {
  return el("span", { class: `badge ${level}` }, levelShape(level),
    level !== UNJUDGED && el("b", {}, level), words && el("span", { class: "words" }, t(`level.${level}`)));
}
