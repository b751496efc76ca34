const CHUNK = 100;
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
const SELECTS = ["verdict", "family", "test", "role"];

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
function refresh() {
  const text = $("#f-text").value.trim().toLowerCase(), words = text ? text.split(/\s+/) : [];
  const wanted = SELECTS.map((name) => [name, $(`#f-${name}`).value]).filter(([, value]) => value);
  const passes = (row) => wanted.every(([name, value]) => row[name] === value) && words.every((word) => hay(row).includes(word));
  const key = sortKey(table.sort);
  table.shown = ROWS.filter(passes).sort((a, b) => compare(key(a), key(b)) || least(a) - least(b) || a.i - b.i);
  for (const th of $("#rows thead tr").children) {
    const on = $("button", th).dataset.sort === table.sort;
    if (on) th.setAttribute("aria-sort", table.down ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
    $(".arrow", th).textContent = on ? (table.down ? " ↓" : " ↑") : "";
  }
  const all = table.shown.length === ROWS.length;
  $("#count").textContent = all ? `${ROWS.length.toLocaleString("en")} hypotheses` : `${table.shown.length.toLocaleString("en")} of ${ROWS.length.toLocaleString("en")} hypotheses`;
  fadeVolcano(all ? null : new Set(table.shown.map((row) => row.i)));
  scroller.scrollTop = 0;
  show(0, CHUNK);
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
  if (kind === "verdict") return el("td", { class: row.role === "negative_control" && value === "confirmed" ? "loud" : "" }, chip(value));
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

// Details
function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, ...shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "prose" }, value))));
}
const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const code = (text) => el("code", { class: "hash" }, text);
function detail(row) {
  const kids = ROWS.filter((other) => other.parent === row.id);
  const link = (id) => (BY_ID.has(id) ? el("a", { href: `#${id}` }, id) : id);
  const lineage = el("span", {}, ...(row.parent ? ["refines ", link(row.parent)] : ["not derived from another row"]),
    ...(kids.length ? ["; refined by ", ...kids.flatMap((kid, n) => (n ? [", ", link(kid.id)] : [link(kid.id)]))] : []));
  const left = el("div", {}, el("h4", {}, "Claim"), el("p", { class: "prose" }, row.claim),
    ...(row.rationale ? [el("h4", {}, "Rationale, as the proposer gave it"), el("p", { class: "prose" }, row.rationale)] : []),
    ...(row.reason ? [el("h4", {}, "Reason"), el("p", { class: "prose" }, row.reason)] : []),
    ...(row.unbalanced || row.notes ? [el("h4", {}, "Notes")] : []),
    ...[row.unbalanced, ...row.notes.split("\n")].filter(Boolean).map((text) => el("p", { class: "prose" }, text)),
    el("h4", {}, "Before the test"),
    pairs([["prior", num(row.prior)], ["predicted direction", row.direction], ["move", row.proposer_move], ["role", DATA.roles[row.role] || row.role], ["lineage", lineage], ["promoted", row.promoted ? "yes" : "no"]]),
    el("h4", {}, "Replay"), el("pre", {}, el("code", {}, `screen replay ${row.id}`)));
  const right = el("div", {}, el("h4", {}, "Numbers"), pairs(numbers(row)), ...companions(row), ...balance(row),
    el("h4", {}, "Specification"), pairs([...specOf(row).map(([key, value]) => [key, code(plain(value))]), ["spec sha256, first 16 digits", code(row.spec_sha256)]]));
  return el("tr", { class: "open" }, el("td", { class: "detail", colspan: COLUMNS.length }, el("div", {}, left, right)));
}
function interval(row) {
  if (row.effect_low === null) return row.interval_missing ? `none: ${DATA.missing[row.interval_missing]}` : null;
  return `${num(row.effect_low, 4)} to ${num(row.effect_high, 4)} (${row.interval_method.replaceAll("_", " ")}, ${row.interval_units} units)`;
}
// A small table: rows of [head, ...cells]; a cell is text, or [text, class].
function grid(caption, head, rows) {
  const cells = (tag, [first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((c) => (Array.isArray(c) ? el(tag, { class: `n ${c[1]}` }, c[0]) : el(tag, { class: "n" }, c))));
  return [el("h4", {}, caption), el("table", { class: "plain small" }, el("thead", {}, cells("th", head)), el("tbody", {}, ...rows.map((r) => cells("td", r))))];
}
function companions(row) {
  if (!row.nulls.length) return [];
  return grid("Companion nulls, genes A", ["null", "k", "m", "p_scan"], row.nulls.map((name, n) => {
    const k = row.null_k[n], m = row.null_m[n];
    return [name === row.null ? `${name} (largest p, reported)` : name, String(k), String(m), pText((k + 1) / (m + 1))];
  }));
}
function balance(row) {
  const [nulls, names] = row.balanced;
  if (!nulls.length) return [];
  return grid("Balance: sd from the genes that stand in", ["null", ...names], nulls.map((name, n) => [name, ...names.map((_, c) => {
    const value = row.balance[n * names.length + c];
    return [minus((value / 100).toFixed(2)), Math.abs(value) > 25 ? "loud" : ""];
  })]));
}
function numbers(row) {
  return [
    ["effect vs null mean", row.effect === null ? null : `${num(row.effect, 6)} vs ${num(row.null_mean, 6)} ${row.effect_unit || ""}`],
    [`${Math.round(100 * (row.interval_level ?? 0.95))} % interval of the effect`, interval(row)],
    ["AUROC without the embedding", row.baselines && Object.entries(row.baselines).map(([name, value]) => `${name} ${num(value)}`).join(", ")],
    ["best view", row.best_view],
    ["statistic (null sd)", row.statistic === null ? null : el("span", {}, num(row.statistic, 6), " ", code(hexFloat(row.statistic)))],
    ["p_scan = (k + 1) / (m + 1)", row.p_scan === null ? null : `(${row.k} + 1) / (${row.m} + 1) = ${num(row.p_scan, 6)}`],
    ["minimum detectable effect", row.min_effect === null ? null : num(row.min_effect)],
    ["size on genes A", row.n_genes === null ? null : `${row.n_entity} in ${row.n_genes} genes`],
    ["adjusted p, Route U / H", row.p_u_adj === null && row.p_h_adj === null ? null : `${pText(row.p_u_adj)} / ${pText(row.p_h_adj)}`],
    ["exploratory BH / BY / Holm", row.q_bh === null ? null : `${num(row.q_bh)} / ${num(row.q_by)} / ${num(row.p_holm)}`],
    ["attempts", row.attempts],
  ];
}
