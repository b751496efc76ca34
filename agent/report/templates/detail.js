// One row, whole: what was said, what was drawn, what it came to.
function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, ...shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "prose" }, value))));
}
const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const code = (text) => el("code", { class: "hash" }, text);
const block = (title, ...children) => (children.length ? [el("h4", {}, title), ...children] : []);
const prose = (text) => el("p", { class: "prose" }, text);

function detail(row) {
  const left = el("div", {}, ...block("Claim", prose(row.claim)), el("p", { class: "small muted" }, standing(row)),
    ...(row.rationale ? block("Rationale, as the proposer gave it", prose(row.rationale)) : []),
    ...(row.reason ? block("Reason", prose(row.reason)) : []),
    ...block("Notes", ...[row.unbalanced, ...row.notes.split("\n")].filter(Boolean).map(prose)),
    ...block("Proposed", ...proposed(row)),
    ...written(row),
    ...block("What people said of it", ...row.reviews.map(remark)),
    ...block("Replay", el("pre", {}, el("code", {}, `screen replay ${row.id}`))));
  const middle = el("div", {}, ...block("Null distributions, genes A", ...nullPlots(row)), ...block("Effect − null mean", ...deltaPlot(row)), ...balance(row));
  const right = el("div", {}, ...block("Numbers", pairs(numbers(row))), ...companions(row),
    el("details", {}, el("summary", {}, "Specification"), pairs([...specOf(row).map(([key, value]) => [key, code(plain(value))]), ["spec sha256, first 16 digits", code(row.spec_sha256)]])));
  return el("tr", { class: "open" }, el("td", { class: "detail", colspan: COLUMNS.length }, el("div", {}, left, middle, right)));
}
function standing(row) {
  const routes = row.route ? `Route ${row.route.replace("+", " and ")}: adjusted p ${pText(row.p_confirm_adj)}. ` : "";
  if (row.verdict === "stale") return `No claim any more: ${row.invalidated || "what it rests on was invalidated"}.`;
  if (row.verdict === "confirmed") return `Confirmed by ${routes}`;
  if (row.verdict === "not_confirmed") return `Judged and not confirmed. ${routes}That is no proof of absence.`;
  if (row.verdict === "screened") return `Explored on genes A only, p_scan ${pText(row.p_scan)}: it claims nothing.`;
  return `${label(row.verdict)}: it claims nothing.`;
}
// A statistic that a model wrote, as text; never run, and shown whole.
function written(row) {
  const sha256 = Object.fromEntries(specOf(row)).code;
  if (!sha256) return [];
  const text = DATA.codes?.[sha256] ?? "not in this ledger";
  return [el("details", {}, el("summary", {}, "The statistic, which a model wrote"), el("p", { class: "small" }, "sha256 ", code(sha256)), el("pre", { class: "prose" }, text))];
}
function proposed(row) {
  const kids = ROWS.filter((other) => other.parent === row.id);
  const link = (id) => (BY_ID.has(id) ? el("a", { href: `#${id}` }, id) : id);
  const lineage = el("span", {}, ...(row.parent ? ["refines ", link(row.parent)] : ["not derived from another row"]),
    ...(kids.length ? ["; refined by ", ...kids.flatMap((kid, n) => (n ? [", ", link(kid.id)] : [link(kid.id)]))] : []));
  const from = row.source || {}, whose = from.filled_for ? `, filling a slot that ${from.filled_for} left open` : "";
  return [pairs([
    ["by", `${row.proposer || "not recorded"}${whose}, iteration ${row.iteration}`],
    ["because", from.filled_for ? from.reason : null],
    ["model", from.model],
    ["answer", from.response_sha256 ? el("span", {}, "response ", code(from.response_sha256), " to request ", code(from.request_sha256)) : null],
    ["prior", num(row.prior)], ["predicted direction", row.direction], ["move", row.proposer_move],
    ["role", DATA.roles[row.role] || row.role], ["lineage", lineage], ["promoted", row.promoted ? "yes" : "no"],
  ])];
}
function remark([at, author, act, text]) {
  return el("p", { class: "prose remark" }, el("b", {}, `${author}: ${act}`), text ? `. ${text} ` : " ", el("span", { class: "muted" }, at.slice(0, 16).replace("T", " "), " UTC"));
}

// Null distributions: the maximum over the scanned views, in null sd, with the observed one as a line.
function nullPlots(row) {
  if (!row.nulls.length) return [];
  const drawn = row.sketches || [];
  const order = row.nulls.map((name, n) => n).sort((a, b) => (row.nulls[b] === row.null) - (row.nulls[a] === row.null));
  const plots = order.filter((n) => drawn[n]).map((n) => nullPlot(row.nulls[n], drawn[n], row.null_k[n], row.null_m[n], row.nulls[n] === row.null));
  return plots.length ? [el("div", { class: "nulls" }, ...plots)] : [el("p", { class: "small muted" }, "Not kept when this row was tested; k and m beside count them.")];
}
function nullPlot(name, [low, high, observed, heights], k, m, main) {
  const w = main ? 380 : 180, h = main ? 130 : 74, base = h - 18, top = main ? 18 : 10;
  const x = scale(Math.min(low, observed), Math.max(high, observed), 14, w - 14);
  const step = (x(high) - x(low)) / heights.length || 6;
  const bars = [...heights].map((letter, i) => {
    const tall = (LETTERS.get(letter) / (main ? 24 : 10)) * (base - top);
    return tall ? `M${(x(low) + i * step).toFixed(1)} ${base}v${(-tall).toFixed(1)}h${Math.max(step - 0.7, 0.6).toFixed(1)}V${base}z` : "";
  });
  const words = `${name}: ${k.toLocaleString("en")} of ${m.toLocaleString("en")} draws reach the observed ${num(observed)}`;
  const ends = ticks(Math.min(low, observed), Math.max(high, observed), main ? 6 : 3).map((t) => svg("text", { x: x(t), y: h - 4, "text-anchor": "middle" }, num(t)));
  return el("figure", { class: main ? "main" : null },
    svg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": words }, svg("path", { class: "bar", d: bars.join("") }),
      svg("line", { class: "axis", x1: 8, x2: w - 8, y1: base, y2: base }),
      svg("line", { class: "seen", x1: x(observed), x2: x(observed), y1: top - 6, y2: base }), ...ends,
      main ? svg("text", { class: "seen-label", x: x(observed), y: 9, "text-anchor": x(observed) > w / 2 ? "end" : "start" }, `observed ${num(observed)}`) : null),
    el("figcaption", {}, main ? el("b", {}, name) : name, main ? " (largest p, reported), null sd. " : DATA.printed.includes(name) ? " (printed only) " : " ", `${k.toLocaleString("en")} of ${m.toLocaleString("en")} reach it`));
}

// Effect minus its null mean, view by view: over layers, or over coordinates where there is one layer.
function deltaPlot(row) {
  const v = viewsOf(row);
  const shown = v ? v.fine.filter((view) => view.effect !== null && view.null_ !== null) : [];
  if (!shown.length) return [];
  const across = v.layers.length > 1, w = 380, h = 150, left = 46, base = h - 20;
  const names = across ? v.layers : v.coordinates, deltas = shown.map((view) => view.effect - view.null_);
  const [low, high] = padded([...deltas, 0], 0.08);
  const x = scale(-0.5, names.length - 0.5, left, w - 8), y = scale(low, high, base, 8);
  const marks = shown.flatMap((view, n) => {
    const at = x(across ? view.q : view.c), peak = view.q === v.q && view.c === v.c;
    return [svg("line", { class: "stem", x1: at, x2: at, y1: y(0), y2: y(deltas[n]) }),
      svg("circle", { class: `dot best ${peak ? "peak" : ""}`, r: peak ? 5 : 3.6, cx: at, cy: y(deltas[n]) }, svg("title", {}, `${v.layers[view.q]}·${v.coordinates[view.c]}: ${num(deltas[n], 4)}`))];
  });
  const every = Math.ceil((names.length * 34) / (w - left));
  const where = across ? `at ${v.coordinates[v.c]}, over layers` : `over coordinates of ${v.layers[0]}`;
  return [el("figure", {}, svg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": `Effect minus null mean of ${row.id} ${where}` },
    ...ticks(low, high, 4).flatMap((t) => [svg("line", { class: "grid", x1: left, x2: w - 8, y1: y(t), y2: y(t) }), svg("text", { x: left - 5, y: y(t) + 4, "text-anchor": "end" }, num(t))]),
    svg("line", { class: "zero", x1: left, x2: w - 8, y1: y(0), y2: y(0) }), ...marks,
    ...names.map((name, i) => svg("text", { x: x(i), y: h - 4, "text-anchor": "middle" }, i % every ? "" : name))),
  el("figcaption", {}, `${row.effect_unit || "effect"} ${where}; the ringed view is the best one`))];
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
    return [name === row.null ? `${name} (largest p, reported)` : DATA.printed.includes(name) ? `${name} (decides nothing)` : name, String(k), String(m), pText((k + 1) / (m + 1))];
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
