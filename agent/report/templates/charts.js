function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= raw * 0.999);
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) out.push(Number((k * step).toPrecision(10)));
  return out;
}
const scale = (low, high, from, to) => (v) => from + ((v - low) / (high - low || 1)) * (to - from);
function padded(values, share) {
  const low = Math.min(...values), high = Math.max(...values), pad = (high - low) * share || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}
function frame(holder, height, title) {
  const width = Math.max(280, Number(holder.dataset.width));
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": title });
  holder.replaceChildren(root);
  return { root, width, height, left: 50, right: width - 14, top: 12, bottom: height - 40 };
}
function axes(f, x, y, xTicks, yTicks, xLabel, yLabel) {
  for (const [v, text] of yTicks) {
    f.root.append(svg("line", { class: "grid", x1: f.left, x2: f.right, y1: y(v), y2: y(v) }),
      svg("text", { x: f.left - 6, y: y(v) + 4, "text-anchor": "end" }, text));
  }
  for (const [v, text] of xTicks) f.root.append(svg("text", { x: x(v), y: f.bottom + 16, "text-anchor": "middle" }, text));
  f.root.append(svg("line", { class: "axis", x1: f.left, x2: f.right, y1: f.bottom, y2: f.bottom }),
    svg("text", { class: "label", x: (f.left + f.right) / 2, y: f.height - 6, "text-anchor": "middle" }, xLabel),
    svg("text", { class: "label", transform: `translate(12 ${(f.top + f.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
}
function nothing(holder, text) { holder.replaceChildren(el("p", { class: "muted" }, text)); }

// Volcano
const PATHS = Object.fromEntries(ORDER.map((v) => [v, $(`#m-${v}`).getAttribute("d")]));
const volcano = { key: "z", points: new Map(), order: [], shown: null };

function drawVolcano() {
  const holder = $("#volcano"), key = volcano.key;
  const rows = ROWS.filter((row) => row[key] !== null && row.p_scan !== null);
  volcano.points.clear();
  if (!rows.length) return nothing(holder, "Nothing has been tested yet.");
  const f = frame(holder, 360, `Volcano plot of ${rows.length} tested hypotheses; arrow keys move between points`);
  const evidence = (row) => -Math.log10(row.p_scan);
  const [low, high] = padded(rows.map((row) => row[key]).concat(0), 0.06);
  const top = Math.max(...rows.map(evidence)) * 1.07 || 1;
  const x = scale(low, high, f.left, f.right), y = scale(0, top, f.bottom, f.top);
  axes(f, x, y, ticks(low, high, 8).map((v) => [v, num(v)]), ticks(0, top, 5).map((v) => [v, num(v)]),
    key === "z" ? "effect − null mean, in null standard deviations (best view)" : "effect − null mean, each test in its own unit", "−log10 p_scan");
  f.root.append(svg("line", { class: "guide", x1: x(0), x2: x(0), y1: f.top, y2: f.bottom }));
  if (DATA.promoteP && -Math.log10(DATA.promoteP) < top) {
    const level = y(-Math.log10(DATA.promoteP));
    f.root.append(svg("line", { class: "guide", x1: f.left, x2: f.right, y1: level, y2: level }),
      svg("text", { x: f.right - 2, y: level - 4, "text-anchor": "end" }, `p ≤ ${DATA.promoteP} may be promoted`));
  }
  const layer = svg("g", {});
  // Later is on top: what matters most is drawn last.
  const drawn = [...rows].sort((a, b) => rank(b.verdict) - rank(a.verdict));
  for (const row of drawn) layer.append(point(row, x(row[key]), y(evidence(row))));
  volcano.order = [...rows].sort((a, b) => a[key] - b[key] || a.i - b.i).map((row) => row.i);
  f.root.append(layer);
  volcano.halo = svg("circle", { class: "halo", r: 11, visibility: "hidden" });
  f.root.append(volcano.halo);
  markVolcano();
  fadeVolcano();
}
const rank = (verdict) => (ORDER.indexOf(verdict) + ORDER.length + 1) % (ORDER.length + 1);
function point(row, x, y) {
  const node = svg("path", {
    class: `pt v-${known(row.verdict)}`, d: PATHS[known(row.verdict)], tabindex: -1, role: "button", "data-i": row.i,
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})scale(${row.verdict === "confirmed" ? 0.8 : 0.62})`,
    "aria-label": `${row.id}, ${label(row.verdict)}, p_scan ${pText(row.p_scan)}`,
  });
  volcano.points.set(row.i, { node, x, y });
  return node;
}
function markVolcano() {
  for (const { node } of volcano.points.values()) if (node.tabIndex === 0) { node.tabIndex = -1; node.classList.remove("on"); }
  const chosen = volcano.points.get(state.selected) || volcano.points.get(volcano.order[0]);
  if (!chosen) return;
  chosen.node.tabIndex = 0;
  const here = volcano.points.has(state.selected);
  chosen.node.classList.toggle("on", here);
  fill(volcano.halo, { cx: chosen.x, cy: chosen.y, visibility: here ? "visible" : "hidden" }, []);
}
function fadeVolcano(shown = volcano.shown) {
  const before = volcano.shown;
  volcano.shown = shown;
  if (before === null && shown === null) return;
  for (const [i, { node }] of volcano.points) node.classList.toggle("off", shown !== null && !shown.has(i));
}
function pointTip(i) {
  const row = ROWS[i], box = volcano.points.get(i).node.getBoundingClientRect();
  showTip(box.right, box.bottom, el("div", {}, el("b", {}, row.id), ` ${label(row.verdict)}`), el("div", {}, row.claim),
    el("div", {}, `${row.effect_unit || "effect"} ${num(row.effect)} vs null ${num(row.null_mean)} at ${row.best_view || "–"}`),
    el("div", {}, `p_scan ${pText(row.p_scan)} (k ${row.k} of m ${row.m})`));
}
function volcanoEvents() {
  const holder = $("#volcano");
  const of = (event) => (event.target.dataset && "i" in event.target.dataset ? Number(event.target.dataset.i) : null);
  holder.addEventListener("pointerover", (event) => { const i = of(event); if (i === null) hideTip(); else pointTip(i); });
  holder.addEventListener("pointerleave", hideTip);
  holder.addEventListener("focusin", (event) => { const i = of(event); if (i !== null) pointTip(i); });
  holder.addEventListener("focusout", hideTip);
  holder.addEventListener("click", (event) => { const i = of(event); if (i !== null) select(i, "volcano"); });
  holder.addEventListener("keydown", (event) => {
    const i = of(event), step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (i === null) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); openRow(i); }
    if (!step) return;
    event.preventDefault();
    const place = volcano.order.indexOf(i) + step;
    if (place < 0 || place >= volcano.order.length) return;
    select(volcano.order[place], "volcano");
    volcano.points.get(volcano.order[place]).node.focus({ preventScroll: true });
  });
  for (const button of document.querySelectorAll("[data-x]")) {
    button.addEventListener("click", () => {
      volcano.key = button.dataset.x;
      for (const other of document.querySelectorAll("[data-x]")) other.setAttribute("aria-pressed", other === button);
      drawVolcano();
    });
  }
  const seen = new Set(ROWS.filter((row) => row.p_scan !== null).map((row) => known(row.verdict)));
  $("#legend").replaceChildren(...ORDER.filter((v) => seen.has(v)).map(chip));
}

// Layer profile
function drawProfile() {
  const holder = $("#profile"), row = ROWS[state.selected], legend = $("#profile-legend");
  legend.replaceChildren();
  $("#open-row").hidden = !row;
  if (!row) return nothing(holder, "No row yet.");
  $("#profile-title").replaceChildren(el("b", {}, `${row.id} `), chip(row.verdict), " ", el("span", { class: "prose" }, row.claim));
  const v = viewsOf(row);
  if (!v) return nothing(holder, row.reason || "This row has no numbers yet.");
  const across = v.layers.length > 1;
  const names = across ? v.layers : v.coordinates;
  const values = [...v.fine.flatMap((view) => [view.effect, view.null_]), ...v.thin.map((view) => view.effect)].filter((value) => value !== null);
  if (!values.length) return nothing(holder, "No finite number in any view.");
  const f = frame(holder, 330, `Effect and null mean of ${row.id} over ${across ? "layers" : "coordinates"}`);
  const [low, high] = padded(values, 0.08);
  const x = scale(-0.4, names.length - 0.6, f.left, f.right), y = scale(low, high, f.bottom, f.top);
  const every = Math.ceil((names.length * 44) / (f.right - f.left));
  axes(f, x, y, names.map((name, i) => [i, i % every ? "" : name]), ticks(low, high, 6).map((t) => [t, num(t, 4)]),
    across ? "layer" : `coordinate, ${v.layers[0]}`, row.effect_unit || "effect");
  profileLines(f, v, across, x, y);
  legend.append(el("span", {}, el("i", {}), across ? `effect at ${v.coordinates[v.c]}` : "effect"),
    el("span", {}, el("i", { class: "null" }), "its null mean"));
  if (across && v.coordinates.length > 1) legend.append(el("span", {}, el("i", { class: "other" }), `${v.coordinates.length - 1} other coordinates scanned`));
}
function profileLines(f, v, across, x, y) {
  const thin = new Map();
  for (const view of v.thin) thin.set(view.c, [...(thin.get(view.c) || []), view]);
  const place = (view) => (across ? view.q : view.c);
  const draw = (views, key, kind, radius) => {
    const known = views.filter((view) => view[key] !== null).sort((a, b) => place(a) - place(b));
    const d = known.map((view, n) => `${n ? "L" : "M"}${x(place(view)).toFixed(1)} ${y(view[key]).toFixed(1)}`).join("");
    f.root.append(svg("path", { class: `line ${kind}`, d }));
    for (const view of radius ? known : []) {
      const peak = key === "effect" && view.q === v.q && view.c === v.c;
      const words = `${v.layers[view.q]}·${v.coordinates[view.c]}: effect ${num(view.effect, 4)}, null mean ${num(view.null_, 4)}`;
      f.root.append(svg("circle", { class: `dot ${kind} ${peak ? "peak" : ""}`, r: peak ? 5.5 : radius, cx: x(place(view)), cy: y(view[key]) }, svg("title", {}, words)));
    }
  };
  for (const views of thin.values()) draw(views, "effect", "other", 0);
  draw(v.fine, "null_", "null", 2.2);
  draw(v.fine, "effect", "best", 3.4);
}
