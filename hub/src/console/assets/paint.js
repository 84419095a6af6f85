// Small tools for putting values into the page. Everything goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children) if (child !== null && child !== undefined) node.append(child instanceof Node ? child : String(child));
  return node;
}

export function button(text, action, className) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}

export const words = (text) => String(text ?? "").replaceAll("_", " ");
export const isKnown = (value) => value !== null && value !== undefined;
export const clockTime = (ms) => isKnown(ms) ? `${new Date(ms).toISOString().replace("T", " ").slice(0, 19)} UTC` : "-";

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  const m = Math.round(s / 60);
  if (m < 90) return `${m} min`;
  const h = Math.round(m / 60);
  return h < 48 ? `${h} h` : `${Math.round(h / 24)} days`;
}
export const duration = (ms) => isKnown(ms) ? span(ms) : "unknown";

// The hub's clock as this page reckons it: what the hub said last, and how fast it ran between what it said.
// A pretend clock runs faster than ours.
const clock = { hub: null, own: 0, rate: 1 };
export function clockSaid(hub) {
  const own = performance.now();
  if (clock.hub !== null && own - clock.own > 1000) clock.rate = Math.max(0, (hub - clock.hub) / (own - clock.own));
  clock.hub = hub;
  clock.own = own;
}
export const now = () => clock.hub === null ? null : clock.hub + (performance.now() - clock.own) * clock.rate;

// A text that says how long ago something was, and goes on saying it.
export function age(at) {
  if (!isKnown(at)) return make("span", "", "age unknown");
  const node = make("span", "age");
  node.dataset.at = at;
  node.title = clockTime(at);
  grow(node);
  return node;
}
// A text that says until when something is due, and says so when that is over.
export function due(word, by) {
  const node = make("span", "due");
  node.dataset.by = by;
  node.dataset.word = word;
  grow(node);
  return node;
}
function grow(node) {
  const at = now();
  if (at === null) return;
  const { at: since, by, word } = node.dataset;
  let text;
  if (since !== undefined) text = `${span(at - Number(since))} ago`;
  else {
    const left = Number(by) - at;
    text = left >= 0 ? `${word} within ${span(left)}` : `${word} was due ${span(-left)} ago`;
    node.classList.toggle("bad", left < 0);
  }
  if (node.textContent !== text) node.textContent = text;
}
export function growAll() {
  for (const node of document.querySelectorAll("[data-at], [data-by]")) grow(node);
}

export function table(heads, rows) {
  const body = make("tbody", "", ...rows.map((row) => make("tr", "", ...row.map((cell) => make("td", "", cell)))));
  return make("div", "wide", make("table", "", make("thead", "", make("tr", "", ...heads.map((h) => make("th", "", h)))), body));
}

// Shows a list of items, one node each. A node stays while its item stays as it is, so that a finger on a button
// or an opened detail does not lose it when something else changes.
const kept = new WeakMap();
export function fill(list, items, keyOf, view, empty) {
  const before = kept.get(list) ?? new Map();
  const held = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const json = JSON.stringify(item);
    const known = before.get(key);
    held.set(key, known?.json === json ? known : { json, node: inPlaceOf(known?.node, view(item)) });
  }
  if (held.size === 0) {
    const known = before.get("");
    held.set("", known?.json === empty ? known : { json: empty, node: make("p", "soft", empty) });
  }
  kept.set(list, held);
  let next = list.firstChild;
  for (const { node } of held.values()) {
    if (node === next) next = next.nextSibling;
    else list.insertBefore(node, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

function inPlaceOf(old, node) {
  if (!old) return node;
  const open = [...old.querySelectorAll("details")].map((d) => d.open);
  node.querySelectorAll("details").forEach((d, i) => { if (open[i]) d.open = true; });
  const place = [...old.querySelectorAll("button, summary")].indexOf(document.activeElement);
  if (place >= 0) queueMicrotask(() => node.querySelectorAll("button, summary")[place]?.focus());
  return node;
}
