function fillSelect(name, labels) {
  const counts = new Map();
  for (const row of ROWS) counts.set(row[name], (counts.get(row[name]) || 0) + 1);
  $(`#f-${name}`).parentNode.hidden = name === "proposer" && counts.size < 2;
  const values = [...counts.keys()].sort((a, b) => (labels ? Object.keys(labels).indexOf(a) - Object.keys(labels).indexOf(b) : 0) || (a < b ? -1 : 1));
  $(`#f-${name}`).replaceChildren(el("option", { value: "" }, "all"), ...values.map((value) => el("option", { value }, `${(labels || {})[value] || value} (${counts.get(value)})`)));
}
function tableEvents() {
  const form = $("#filters");
  form.addEventListener("input", () => refresh());
  form.addEventListener("submit", (event) => event.preventDefault());
  // A form is reset after the event; the table must see the empty fields.
  form.addEventListener("reset", () => { for (const field of form.elements) if ("value" in field && field.type !== "reset") field.value = ""; refresh(); });
  body.addEventListener("click", (event) => {
    const tr = event.target.closest("tr.row");
    if (!tr || String(getSelection())) return;
    select(Number(tr.dataset.i), "table");
    toggle(Number(tr.dataset.i));
  });
  // A second click on the same link changes no hash, and must open the row all the same.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const row = link && BY_ID.get(link.getAttribute("href").slice(1));
    if (row && link.getAttribute("href") === location.hash) openRow(row.i);
  });
  for (const name of ["family", "verdict"]) {
    for (const button of document.querySelectorAll(`[data-${name}]`)) {
      button.addEventListener("click", () => {
        form.reset();
        $(`#f-${name}`).value = button.dataset[name];
        refresh();
        $("#table").scrollIntoView({ block: "start" });
      });
    }
  }
}
function fromHash() {
  const row = BY_ID.get(decodeURIComponent(location.hash.slice(1)));
  if (row) openRow(row.i);
}
// All widths are read before anything is drawn: a width read after drawing lays the page out once more.
function measure() {
  for (const holder of document.querySelectorAll(".plot")) holder.dataset.width = holder.clientWidth;
  scroller.style.setProperty("--w", `${scroller.clientWidth}px`);
}
function themeButton() {
  const button = $("#theme");
  const say = () => button.setAttribute("aria-pressed", document.documentElement.classList.contains("dark"));
  button.addEventListener("click", () => { window.toggleTheme(); say(); });
  say();
}
function redrawOnResize() {
  let width = innerWidth, pending = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => { measure(); drawVolcano(); drawProfile(); });
  });
}

onSelect(markVolcano);
onSelect(drawProfile);
onSelect((i, from) => {
  for (const tr of body.querySelectorAll("tr.on")) tr.classList.remove("on");
  if (from === "volcano") bring(i);
  const tr = nodeOf(i);
  if (tr) tr.classList.add("on");
});
themeButton();
measure();
head();
SELECTS.forEach((name) => fillSelect(name, { verdict: DATA.verdicts, role: DATA.roles }[name]));
drawVolcano();
volcanoEvents();
drawProfile();
tableEvents();
refresh(FIRST);
redrawOnResize();
$("#open-row").addEventListener("click", () => openRow(state.selected));
addEventListener("hashchange", fromHash);
addEventListener("beforeprint", () => { show(0, 2000); for (const more of document.querySelectorAll("details")) more.open = true; });
fromHash();
document.documentElement.dataset.ready = Math.round(performance.now());
