// A served page asks now and then where the ledger ends; it never reloads by itself, so nothing a reader opened is lost.
const live = $("#live");
const shown = live.dataset.head;
async function look() {
  try {
    const now = await (await fetch("head.json", { cache: "no-store" })).json();
    live.hidden = now.hash === shown;
    const again = el("button", { type: "button", class: "link" }, "Show it");
    again.addEventListener("click", () => location.reload());
    live.replaceChildren(`The ledger has grown: ${now.rows.toLocaleString("en")} hypotheses, ${now.phase}. `, again);
  } catch {
    live.hidden = false;
    live.replaceChildren("The server does not answer. This page shows the ledger as it was at the head below.");
  }
}
look();
setInterval(look, 5000);
