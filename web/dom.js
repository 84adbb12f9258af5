// dom.js - small helpers to build the page. Text always enters through text nodes: a passenger's message is data,
// so nothing in this screen ever writes HTML from a string.

// el("p", { class: "x", "aria-label": "…", onclick: fn }, "text", node, …)
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function byId(id) {
  return document.getElementById(id);
}
// Writes only what changed: a text node touched without need costs a layout and a screen reader's repeat.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A choice kept on this desk (language, theme, sound). Storage may be refused by the browser's policy: then the
// choice lasts as long as the page.
const session = new Map();
export function keep(name, value) {
  session.set(name, value);
  try { localStorage.setItem(`sillon.${name}`, value); } catch { /* kept in `session` */ }
}
export function kept(name) {
  if (session.has(name)) return session.get(name);
  try { return localStorage.getItem(`sillon.${name}`); } catch { return null; }
}
