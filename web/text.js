// text.js - a message's text: byte offsets to string positions, evidence segments, the first words, search.

const BIDI = /[\u202A-\u202E\u2066-\u2069]/gu; // overrides that could make a text read other than it was written
const CONTROL = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F]/gu;

// The verdict's spans count bytes of UTF-8; a JavaScript string counts UTF-16 units. Returns the string position of
// each wanted byte offset (sorted or not); an offset inside a character falls back to that character's start.
export function positionsOfBytes(text, offsets) {
  const order = offsets.map((offset, i) => [offset, i]).sort((a, b) => a[0] - b[0]);
  const positions = new Array(offsets.length);
  let bytes = 0, position = 0, next = 0;
  for (const character of text) {
    const code = character.codePointAt(0);
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    while (next < order.length && order[next][0] < bytes + size) positions[order[next++][1]] = position;
    bytes += size;
    position += character.length;
  }
  while (next < order.length) positions[order[next++][1]] = position;
  return positions;
}

// Evidence as [begin, end) string positions, sorted, merged. A span whose quoted text is not what stands at its
// offsets is searched by its text; not found, it is dropped: the screen never underlines what was not quoted.
export function evidenceSpans(text, evidence) {
  if (!Array.isArray(evidence) || evidence.length === 0) return [];
  const offsets = evidence.flatMap((span) => [Number(span?.start ?? 0), Number(span?.end ?? 0)]);
  const positions = positionsOfBytes(text, offsets);
  const spans = [];
  evidence.forEach((span, i) => {
    let begin = positions[2 * i], end = positions[2 * i + 1];
    const quoted = typeof span?.text === "string" && span.text !== "" ? span.text : null;
    if (quoted !== null && text.slice(begin, end) !== quoted) {
      begin = text.indexOf(quoted);
      end = begin < 0 ? begin : begin + quoted.length;
    }
    if (begin >= 0 && end > begin) spans.push([begin, end]);
  });
  spans.sort((a, b) => a[0] - b[0]);
  const merged = [];
  for (const span of spans) {
    const last = merged[merged.length - 1];
    if (last !== undefined && span[0] <= last[1]) last[1] = Math.max(last[1], span[1]);
    else merged.push(span);
  }
  return merged;
}

// The text from `begin` to `end` as nodes, evidence in <mark>. With `visible`, a direction override or a control
// character is shown by its code instead of acting on the line.
export function textNodes(text, spans, { begin = 0, end = text.length, visible = false } = {}) {
  const nodes = [];
  let at = begin;
  for (const [spanBegin, spanEnd] of spans) {
    const from = Math.max(spanBegin, begin), to = Math.min(spanEnd, end);
    if (to <= from) continue;
    if (from > at) nodes.push(...plain(text.slice(at, from), visible));
    const mark = document.createElement("mark");
    mark.append(...plain(text.slice(from, to), visible));
    nodes.push(mark);
    at = to;
  }
  if (at < end) nodes.push(...plain(text.slice(at, end), visible));
  return nodes;
}
function plain(text, visible) {
  if (!visible) return [text.replace(BIDI, "").replace(CONTROL, " ")];
  const nodes = [];
  for (const part of text.split(/([\u202A-\u202E\u2066-\u2069\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F])/u)) {
    if (part.length === 1 && (part.search(BIDI) === 0 || part.search(CONTROL) === 0)) {
      const code = document.createElement("span");
      code.className = "control-character";
      code.textContent = `U+${part.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
      nodes.push(code);
    } else if (part !== "") nodes.push(part);
  }
  return nodes;
}

// Where the row's extract begins and ends: the first words, or, when the first evidence stands far in, a cut just
// before it, so that the row always shows why the message is where it is.
export function extractBounds(text, spans, { limit = 220, lead = 60 } = {}) {
  let begin = 0;
  if (spans.length > 0 && spans[0][0] > 1.5 * lead) {
    begin = spans[0][0] - lead;
    const space = text.indexOf(" ", begin);
    if (space >= 0 && space < spans[0][0]) begin = space + 1;
  }
  if (isLowSurrogate(text, begin)) begin--;
  let end = Math.min(text.length, begin + limit);
  if (isLowSurrogate(text, end)) end--;
  return { begin, end };
}
function isLowSurrogate(text, i) {
  return i > 0 && i < text.length && (text.charCodeAt(i) & 0xfc00) === 0xdc00;
}

// "Gaîté" and "gaite" are the same search.
export function fold(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}
