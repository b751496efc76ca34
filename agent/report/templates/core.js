"use strict";
// The data are packed (raw deflate in base64), which halves the file; every browser since 2023 unpacks it by itself.
function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}
// Written straight into the stream: a Blob would fetch its own bytes from another process, piece by piece.
const inflate = new DecompressionStream("deflate-raw"), feed = inflate.writable.getWriter();
feed.write(bytes(document.getElementById("data").textContent));
feed.close();
const DATA = await new Response(inflate.readable).json();
const $ = (selector, root = document) => root.querySelector(selector);
const SVG = $("svg").namespaceURI;

// Text reaches the page only as text nodes and attribute values, never as markup.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const LETTERS = new Map([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].map((c, i) => [c, i]));
function letters(text, width, i) {
  const code = width === 1 ? LETTERS.get(text[i]) : LETTERS.get(text[2 * i]) * 64 + LETTERS.get(text[2 * i + 1]);
  return code === (width === 1 ? 63 : 4095) ? -1 : code;
}
const place = (column, i) => (Array.isArray(column.i) ? column.i[i] : letters(column.i, column.i.length / DATA.n, i));
function at(column, i) {
  if (Array.isArray(column)) return column[i];
  if ("c" in column) return column.c;
  if ("h" in column) return `H${String(column.h + i).padStart(4, "0")}`;
  if (column.f || column.g) {
    column.a ??= column.f ? new Float32Array(bytes(column.f).buffer) : new Float64Array(bytes(column.g).buffer);
    return Number.isNaN(column.a[i]) ? null : column.a[i];
  }
  if (column.w) return at(column.v, i).replace(/[\u0100-\u052f]/g, (letter) => column.w[letter] ?? letter);
  return column.d[place(column, i)];
}
function exactP(value, m) {
  return value === null ? null : typeof value === "number" ? (value + 1) / (m + 1) : Number(value);
}

function hex(digest) {
  if (digest.startsWith("=")) return digest.slice(1);
  return [...bytes(digest.replace(/-/g, "+").replace(/_/g, "/"))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
// A double as C and Python write it, %a: the ledger's own spelling, bit for bit.
function hexFloat(value) {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  const high = bits.getUint32(0), power = (high >>> 20) & 2047;
  const digits = (high & 0xfffff).toString(16).padStart(5, "0") + bits.getUint32(4).toString(16).padStart(8, "0");
  const sign = high >>> 31 ? "-" : "";
  if (!power) return value ? `${sign}0x0.${digits}p-1022` : `${sign}0x0.0p+0`;
  return `${sign}0x1.${digits}p${power < 1023 ? "-" : "+"}${Math.abs(power - 1023)}`;
}

// Thousands of rows open fast because only what the charts and the sorting need is decoded at once.
const EAGER = ["id", "iteration", "family", "test", "annotation", "role", "verdict", "route", "statistic", "effect", "null_mean", "m", "q_bh", "parent", "proposer", "reviews"];
const P = { p_raw: "m", p_scan: "m", p_confirm: null, p_confirm_adj: null, p_u_adj: null, p_h_adj: null };
const LATER = {};
for (const [name, column] of Object.entries(DATA.columns)) {
  if (EAGER.includes(name) || name in P || name === "k") continue;
  const get = name === "spec_sha256" ? (row) => hex(at(column, row.i)) : (row) => at(column, row.i);
  Object.defineProperty(LATER, name, { get() { return get(this); } });
}
const ROWS = Array.from({ length: DATA.n }, (_, i) => {
  const row = Object.create(LATER);
  row.i = i;
  for (const name of EAGER) row[name] = at(DATA.columns[name], i);
  const explored = DATA.columns.k ? at(DATA.columns.k, i) : at(DATA.columns.p_scan, i);
  row.k = typeof explored === "number" ? explored : null;
  for (const name in P) row[name] = exactP(at(DATA.columns[name], i), P[name] ? row.m : DATA.mLook);
  const known = row.effect !== null && row.null_mean !== null;
  row.d = known ? row.effect - row.null_mean : null;
  row.z = known && row.statistic !== null ? Math.sign(row.d) * Math.abs(row.statistic) : null;
  return row;
});
const BY_ID = new Map(ROWS.map((row) => [row.id, row]));

function specOf(row) {
  return Object.entries(DATA.specs).flatMap(([key, column]) => {
    const value = place(column, row.i);
    return value < 0 ? [] : [[key, column.d[value]?.x ? hex(column.d[value].x) : column.d[value]]];
  });
}

function unpack(text, n, low, step) {
  return Array.from({ length: n }, (_, v) => {
    const code = letters(text, text.length / n, v);
    return code < 0 ? null : low + step * code;
  });
}
function viewsOf(row) {
  if (!row.views) return null;
  const [g, group, low, step, effects, base, nulls, others] = row.views;
  const [layers, coordinates, layer, coordinate] = DATA.grids[g];
  const all = layer.map((q, v) => ({ q, c: coordinate[v] }));
  const fine = all.filter((view) => layers.length === 1 || view.c === group);
  const thin = all.filter((view) => layers.length > 1 && view.c !== group);
  const effect = unpack(effects, fine.length, low, step), null_ = unpack(nulls, fine.length, base, step);
  const rest = unpack(others, thin.length, low, 67 * step);
  fine.forEach((view, v) => { view.effect = effect[v]; view.null_ = null_[v]; });
  thin.forEach((view, v) => { view.effect = rest[v]; });
  const best = (row.best_view || "").split(/[·\s]/)[0];
  return { layers, coordinates, fine, thin, q: layers.indexOf(best), c: group };
}

const minus = (text) => text.replace("-", "−");
function num(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return minus(size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits))));
}
const pText = (p) => (p === null ? "–" : p >= 0.001 ? num(p) : minus(p.toExponential(1)));
const label = (verdict) => DATA.verdicts[verdict] || verdict;
const known = (verdict) => (verdict in DATA.verdicts ? verdict : "registered");
const ORDER = Object.keys(DATA.verdicts);
function mark(verdict) {
  return svg("svg", { class: `mark v-${known(verdict)}`, viewBox: "-8 -8 16 16", "aria-hidden": "true" },
    svg("use", { href: `#m-${known(verdict)}` }));
}
const chip = (verdict) => el("span", { class: `chip v-${known(verdict)}` }, mark(verdict), label(verdict));

// One row is selected at a time; whoever shows it listens.
const state = { selected: DATA.start };
const listeners = [];
const onSelect = (f) => listeners.push(f);
function select(i, from) {
  state.selected = i;
  for (const f of listeners) f(i, from);
}

const tip = $("#tip");
function showTip(x, y, ...content) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + 16 + box.height > innerHeight ? Math.max(4, y - box.height - 12) : y + 16}px`;
}
const hideTip = () => { tip.hidden = true; };
