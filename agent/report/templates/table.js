const CHUNK = 100, FIRST = 40;
// What a reader compares stands beside the claim; what one filters by stands last.
const COLUMNS = [
  ["id", "id", "", "text"],
  ["verdict", "verdict", "", "verdict"],
  ["route", "route", "", "text"],
  ["claim", "claim", "", "text"],
  ["effect", "effect", "", "num"],
  ["null_mean", "null mean", "", "num"],
  ["k", "k", "genes A", "count"],
  ["m", "m", "genes A", "count"],
  ["p_raw", "p_raw", "best view", "p"],
  ["p_scan", "p_scan", "all views", "p"],
  ["q_bh", "q_bh", "exploratory", "p"],
  ["p_confirm", "p_confirm", "the look", "p"],
  ["p_confirm_adj", "p_confirm_adj", "decides", "p"],
  ["test", "test", "", "text"],
  ["annotation", "annotation", "", "text"],
  ["family", "family", "", "text"],
  ["iteration", "iteration", "", "count"],
];
const table = { sort: "verdict", down: false, shown: [], start: 0, end: 0, open: new Set() };
const body = $("#rows tbody"), scroller = $("#scroller");
const SELECTS = ["verdict", "family", "test", "role", "proposer"];

function head() {
  $("#rows thead tr").replaceChildren(...COLUMNS.map(([key, name, note, kind]) => {
    const button = el("button", { type: "button", "data-sort": key }, el("span", {}, name), el("span", { class: "arrow", "aria-hidden": "true" }), note ? el("small", {}, note) : null);
    button.addEventListener("click", () => sortBy(key));
    return el("th", { scope: "col", class: ["text", "verdict"].includes(kind) ? "" : "n" }, button);
  }));
}
function sortBy(key) {
  table.down = table.sort === key && !table.down;
  table.sort = key;
  refresh();
}
function sortKey(key) {
  if (key === "verdict") return (row) => ORDER.indexOf(known(row.verdict));
  return (row) => (row[key] === "" ? null : row[key]);
}
function compare(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const order = a < b ? -1 : a > b ? 1 : 0;
  return table.down ? -order : order;
}
function refresh(rows = CHUNK) {
  const text = $("#f-text").value.trim().toLowerCase(), words = text ? text.split(/\s+/) : [];
  const wanted = SELECTS.map((name) => [name, $(`#f-${name}`).value]).filter(([, value]) => value);
  const passes = (row) => wanted.every(([name, value]) => row[name] === value) && words.every((word) => hay(row).includes(word));
  const key = sortKey(table.sort);
  // Keys are made once a row, not once a comparison.
  const keyed = ROWS.filter(passes).map((row) => ({ row, key: key(row), least: least(row) }));
  keyed.sort((a, b) => compare(a.key, b.key) || a.least - b.least || a.row.i - b.row.i);
  table.shown = keyed.map((one) => one.row);
  for (const th of $("#rows thead tr").children) {
    const on = $("button", th).dataset.sort === table.sort;
    if (on) th.setAttribute("aria-sort", table.down ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
    $(".arrow", th).textContent = on ? (table.down ? " ↓" : " ↑") : "";
  }
  const all = table.shown.length === ROWS.length;
  $("#count").textContent = all ? `${ROWS.length.toLocaleString("en")} hypotheses` : `${table.shown.length.toLocaleString("en")} of ${ROWS.length.toLocaleString("en")} hypotheses`;
  fadeVolcano(all ? null : new Set(table.shown.map((row) => row.i)));
  // Where there is nothing to scroll back, asking would lay out the page for nothing.
  if (body.firstChild) scroller.scrollTop = 0;
  show(0, rows);
}
// Ties go by the smaller p, so that the interesting rows of a verdict come first.
const least = (row) => row.p_confirm_adj ?? row.p_scan ?? 2;
function hay(row) {
  return (row.hay ??= [row.id, row.claim, row.annotation, row.rationale, row.reason, row.test, row.family, row.verdict].join(" ").toLowerCase());
}

// Only a window of rows is in the document; its edges grow when they scroll into sight.
function show(start, end) {
  table.start = Math.max(0, start);
  table.end = Math.min(table.shown.length, end);
  body.replaceChildren(...table.shown.slice(table.start, table.end).flatMap(rowNodes));
  if (!table.shown.length) body.append(el("tr", {}, el("td", { class: "empty", colspan: COLUMNS.length }, ROWS.length ? "No row passes the filter." : "No hypothesis has been registered yet.")));
  edges();
}
function edges() {
  for (const old of body.querySelectorAll(".edge")) old.remove();
  const edge = (text, go) => {
    const button = el("button", { type: "button", class: "link" }, text);
    button.addEventListener("click", go);
    return el("tr", { class: "edge" }, el("td", { colspan: COLUMNS.length }, button));
  };
  if (table.start > 0) body.prepend(edge(`${table.start} earlier rows`, () => show(table.start - CHUNK, table.end)));
  if (table.end < table.shown.length) {
    const last = edge(`${table.shown.length - table.end} more rows`, grow);
    body.append(last);
    watcher.disconnect();
    watcher.observe(last);
  }
}
function grow() {
  const from = table.end;
  table.end = Math.min(table.shown.length, from + CHUNK);
  body.append(...table.shown.slice(from, table.end).flatMap(rowNodes));
  edges();
}
const watcher = new IntersectionObserver((seen) => { if (seen.some((entry) => entry.isIntersecting)) grow(); }, { root: scroller, rootMargin: "300px" });

function cell(row, [key, , , kind]) {
  const value = row[key];
  if (key === "id") {
    const twist = el("button", { type: "button", class: "twist", "aria-expanded": table.open.has(row.i), "aria-label": `Details of ${row.id}` }, row.id);
    return el("td", { class: "first" }, twist);
  }
  if (key === "claim") return el("td", { class: "claim" }, el("div", { class: "prose", title: value }, value));
  if (kind === "verdict") {
    const said = row.reviews.length ? el("span", { class: "said", title: `${row.reviews.length} remarks of people` }, ` ✎${row.reviews.length}`) : null;
    return el("td", { class: row.role === "negative_control" && value === "confirmed" ? "loud" : "" }, chip(value), said);
  }
  if (kind === "p") return el("td", { class: key === "q_bh" ? "n explore" : "n", title: value === null ? null : String(value) }, key === "q_bh" ? num(value, 2) : pText(value));
  if (kind === "num") return el("td", { class: "n" }, num(value));
  if (kind === "count") return el("td", { class: "n" }, value === null ? "–" : value.toLocaleString("en"));
  return el("td", {}, value || "–");
}
function rowNodes(row) {
  const tr = el("tr", { class: `row${state.selected === row.i ? " on" : ""}`, "data-i": row.i }, ...COLUMNS.map((column) => cell(row, column)));
  return table.open.has(row.i) ? [tr, detail(row)] : [tr];
}
const nodeOf = (i) => $(`tr.row[data-i="${i}"]`, body);
function toggle(i, wanted = !table.open.has(i)) {
  const tr = nodeOf(i);
  if (wanted === table.open.has(i)) return;
  if (wanted) { table.open.add(i); tr.after(detail(ROWS[i])); } else { table.open.delete(i); tr.nextSibling.remove(); }
  $(".twist", tr).setAttribute("aria-expanded", wanted);
}
function bring(i) {
  const place = table.shown.indexOf(ROWS[i]);
  if (place < 0) return false;
  if (place < table.start || place >= table.end) show(place - 20, place + CHUNK);
  const tr = nodeOf(i);
  scroller.scrollTop = Math.max(0, tr.offsetTop - 90);
  return true;
}
function openRow(i) {
  if (!table.shown.includes(ROWS[i])) $("#filters").reset();
  select(i, "open");
  bring(i);
  toggle(i, true);
  $("#table").scrollIntoView({ block: "start" });
  $(".twist", nodeOf(i)).focus({ preventScroll: true });
}

