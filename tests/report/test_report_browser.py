"""The page in a real browser, from a file, with no network."""

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.report import ReportData, render_report, write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="chromium or chromedriver is not installed (apt-get install chromium chromium-driver)",
)

Make = Callable[..., Any]
Open = Callable[[ReportData], Any]
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def open_page(driver: Any, tmp_path: Path) -> Open:
    def opened(data: ReportData) -> Any:
        path = tmp_path / "report.html"
        write_report(data, path)
        driver.get_log("browser")
        driver.get_log("performance")
        driver.get(path.as_uri())
        return ready(driver)

    return opened


def ready(page: Any) -> Any:
    """The page, once its data are unpacked and it is drawn."""
    WebDriverWait(page, 20).until(lambda p: p.execute_script("return document.documentElement.dataset.ready"))
    return page


def texts(page: Any, name: str) -> list[str]:
    """One column of the table as shown."""
    script = """
        const place = [...document.querySelectorAll('#rows thead button')].findIndex((b) => b.dataset.sort === arguments[0]);
        return [...document.querySelectorAll('#rows tr.row')].map((tr) => tr.children[place].textContent);"""
    return list(page.execute_script(script, name))


def click(page: Any, selector: str) -> None:
    page.execute_script("arguments[0].click()", page.find_element(By.CSS_SELECTOR, selector))


def test_no_console_message_and_no_request_leaves(open_page: Open, data_of: Make) -> None:
    page = open_page(data_of())
    click(page, "#rows .twist")
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []
    told = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"] for event in told if event["method"] == "Network.requestWillBeSent"]
    ours = [
        one["request"]["url"] for one in sent if one["documentURL"].startswith("file:")
    ]  # not the browser's own pages
    assert ours
    assert [url for url in ours if not url.startswith(("file:", "data:"))] == []
    assert [
        one["documentURL"] for one in sent if not one["documentURL"].startswith(("file:", "chrome:", "data:"))
    ] == []


@pytest.mark.parametrize("n", [0, 40])
def test_an_unfinished_or_empty_run_opens_without_a_message(open_page: Open, data_of: Make, n: int) -> None:
    page = open_page(data_of(n, complete=False))
    assert "Nothing is claimable yet" in page.find_element(By.CSS_SELECTOR, ".banner[role=status]").text
    assert len(texts(page, "id")) == n
    assert page.get_log("browser") == []


def test_the_table_shows_what_the_ledger_holds(open_page: Open, data_of: Make) -> None:
    data = data_of(80)
    page = open_page(data)
    click(page, "[data-sort=id]")
    assert texts(page, "id") == [row.id for row in data.rows]
    assert texts(page, "claim") == [row.claim for row in data.rows]
    assert texts(page, "m") == ["–" if row.m is None else f"{row.m:,}" for row in data.rows]
    place = "[...document.querySelectorAll('#rows thead button')].findIndex((b) => b.dataset.sort === 'p_scan')"
    titles = page.execute_script(
        f"return [...document.querySelectorAll('tr.row')].map((r) => r.children[{place}].title)"
    )
    assert [float(title) if title else None for title in titles] == [row.p_scan for row in data.rows]


def test_a_p_that_is_not_made_of_k_and_m_is_shown_beside_them(open_page: Open, data_of: Make) -> None:
    """Of an exact test, say: the page then carries k by itself."""
    data = data_of(20)
    other = dataclasses.replace(data.rows[0], p_scan=0.0123456)
    page = open_page(dataclasses.replace(data, rows=(other, *data.rows[1:])))
    click(page, "[data-sort=id]")
    assert (texts(page, "k")[0], texts(page, "p_scan")[0]) == (f"{other.k:,}", "0.0123")
    assert page.get_log("browser") == []


def test_sorting_both_ways_keeps_unknown_values_last(open_page: Open, data_of: Make) -> None:
    data = data_of(80)
    page = open_page(data)
    header = "th:has([data-sort=k])"
    for direction in ("ascending", "descending"):
        click(page, "[data-sort=k]")
        assert page.find_element(By.CSS_SELECTOR, header).get_attribute("aria-sort") == direction
        shown = texts(page, "k")
        numbers = [int(value.replace(",", "")) for value in shown if value != "–"]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert shown[len(numbers) :] == ["–"] * sum(row.k is None for row in data.rows)
    assert len(page.find_elements(By.CSS_SELECTOR, "th[aria-sort]")) == 1


def test_filters_narrow_the_table_and_fade_the_other_points(open_page: Open, data_of: Make) -> None:
    data = data_of(90)
    page = open_page(data)
    page.find_element(By.ID, "f-text").send_keys("ribosomal pathway")
    words = ("ribosomal", "pathway")
    wanted = {r.id for r in data.rows if all(w in f"{r.claim} {r.annotation} {r.rationale}".lower() for w in words)}
    assert set(texts(page, "id")) == wanted
    assert page.find_elements(By.CSS_SELECTOR, ".pt.off")
    click(page, "#filters [type=reset]")
    assert len(texts(page, "id")) == 90
    page.execute_script("const s = document.querySelector('#f-verdict'); s.value = 'confirmed';"
                        "s.dispatchEvent(new Event('input', {bubbles: true}))")  # fmt: skip
    assert set(texts(page, "verdict")) == {"confirmed"}
    click(page, "[data-family=axis]")
    assert set(texts(page, "family")) == {"axis"}


def test_a_point_selects_its_row(open_page: Open, data_of: Make) -> None:
    data = data_of(90)
    page = open_page(data)
    row = next(row for row in reversed(data.rows) if row.verdict == "screened")
    index = data.rows.index(row)
    page.execute_script(
        f"document.querySelector('.pt[data-i=\"{index}\"]').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
    )
    assert page.find_element(By.CSS_SELECTOR, "tr.on .twist").text == row.id
    assert row.id in page.find_element(By.ID, "profile-title").text
    assert page.find_elements(By.CSS_SELECTOR, "#profile .line.best")


def test_points_can_be_walked_with_the_keyboard(open_page: Open, data_of: Make) -> None:
    page = open_page(data_of(60))
    before = page.find_element(By.ID, "profile-title").text
    page.execute_script("document.querySelector('.pt[tabindex=\"0\"]').focus()")
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert page.find_element(By.ID, "profile-title").text != before
    assert not page.find_element(By.ID, "tip").get_attribute("hidden")
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.find_element(By.CSS_SELECTOR, ".twist[aria-expanded=true]") == page.switch_to.active_element


def test_a_row_opens_with_its_lineage_and_replay_command(open_page: Open, data_of: Make) -> None:
    data = data_of(90)
    page = open_page(data)
    child = next(row for row in data.rows if row.parent)
    page.execute_script(f"location.hash = '{child.id}'")
    detail = WebDriverText(page, "td.detail")
    assert f"screen replay {child.id}" in detail
    assert child.rationale in detail
    click(page, "td.detail summary")
    detail = WebDriverText(page, "td.detail")
    assert child.spec_sha256[:16] in detail
    assert child.spec["annotation_digest"] in detail
    assert f"refines {child.parent}" in detail
    assert "stratified (largest p, reported)" in detail or child.p_scan is None
    click(page, ".twist[aria-expanded=true]")
    assert not page.find_elements(By.CSS_SELECTOR, "td.detail")


def test_a_row_shows_interval_nulls_balance_notes_and_baselines(open_page: Open, data_of: Make) -> None:
    data = data_of(120)
    page = open_page(data)

    def detail(row: Any) -> str:
        page.execute_script(f"location.hash = '{row.id}'")
        page.implicitly_wait(5)
        nodes = page.find_elements(By.CSS_SELECTOR, f"tr.row:has([aria-label='Details of {row.id}']) + tr td.detail")
        page.implicitly_wait(0)
        return str(nodes[0].text)

    known = next(r for r in data.rows if r.interval_method == "family_jackknife" and r.baselines)
    text = detail(known)
    low, high = (f"{v:.4g}".replace("-", "−") for v in (known.effect_low, known.effect_high))
    assert "95 % interval of the effect" in text
    assert f"{low} to {high} (family jackknife, {known.interval_units} units)" in text
    assert all(f"{name} {value:.3g}" in text for name, value in known.baselines.items())
    for name, found in known.companions.items():
        said = f"{name} (largest p, reported)" if name == known.null else name
        assert f"{said} {found['k']} {found['m']}" in text
    for name, values in known.checks["balance"].items():
        numbers = " ".join(f"{round(100 * v) / 100:.2f}".replace("-", "−") for v in values.values())
        assert f"{name} {numbers}".replace("−0.00", "0.00") in text.replace("−0.00", "0.00")
    assert float(known.statistic).hex() in text
    far = page.find_elements(By.CSS_SELECTOR, "td.detail td.loud")
    assert len(far) == sum(abs(round(100 * v)) > 25 for by in known.checks["balance"].values() for v in by.values())
    none = next(r for r in data.rows if r.interval_missing == "size_dependent")
    assert "none: the effect changes with the number of genes" in detail(none)
    noted = next(r for r in data.rows if r.checks.get("notes"))
    assert noted.checks["notes"][0] in detail(noted)
    assert page.get_log("browser") == []


def test_a_row_draws_its_null_distributions_and_its_effect_over_layers(open_page: Open, data_of: Make) -> None:
    data = data_of(60)
    page = open_page(data)
    row = next(r for r in data.rows if r.companions and r.test == "cohesion")
    page.execute_script(f"location.hash = '{row.id}'")
    detail = WebDriverText(page, "td.detail")
    plots = page.find_elements(By.CSS_SELECTOR, ".nulls figure")
    assert len(plots) == len(row.companions)
    assert f"observed {data.sketches[row.id][row.null]['observed']:.3g}".replace("-", "−") in plots[0].text
    for name, found in row.companions.items():
        labels = [svg.get_attribute("aria-label") for svg in page.find_elements(By.CSS_SELECTOR, ".nulls svg")]
        assert any(f"{name}: {found['k']:,} of {found['m']:,} draws reach" in label for label in labels)
    drawn = page.find_elements(By.CSS_SELECTOR, ".nulls .main .bar")[0].get_attribute("d")
    assert drawn.count("M") == sum(n > 0 for n in data.sketches[row.id][row.null]["counts"])
    dots = page.find_elements(By.CSS_SELECTOR, "td.detail .stem")
    assert len(dots) == len({v["layer"] for v in row.views})
    assert "Effect − null mean" in detail
    assert page.get_log("browser") == []


def test_a_row_says_who_proposed_it_and_what_people_said(open_page: Open, data_of: Make) -> None:
    data = data_of(60)
    filled = next(i for i, r in enumerate(data.rows) if r.proposal_source.get("filled_for"))
    asked = next(i for i, r in enumerate(data.rows) if r.proposal_source.get("model"))
    said = {
        "id": "",
        "author": "Ada",
        "act": "doubt",
        "text": "<i>why</i> this layer?",
        "at": "2026-03-02T10:00:00+00:00",
    }
    rows = list(data.rows)
    rows[asked] = dataclasses.replace(rows[asked], reviews=(said,))
    page = open_page(dataclasses.replace(data, rows=tuple(rows)))
    page.execute_script(f"location.hash = '{rows[filled].id}'")
    text = WebDriverText(page, "td.detail")
    assert "offline, filling a slot that openai left open" in text
    assert "the answer held 2 of 3 proposals" in text
    click(page, ".twist[aria-expanded=true]")
    page.execute_script(f"location.hash = '{rows[asked].id}'")
    text = WebDriverText(page, "td.detail")
    assert "a-model" in text
    assert rows[asked].proposal_source["response_sha256"][:12] in text
    assert "Ada: doubt. <i>why</i> this layer? 2026-03-02 10:00 UTC" in text
    assert {"openai", "offline"} <= set(page.find_element(By.ID, "f-proposer").text.replace("(", "").split())


def test_print_shows_every_row_and_every_folded_part(open_page: Open, data_of: Make) -> None:
    page = open_page(data_of(150))
    page.execute_script("location.hash = 'H0003'")
    WebDriverText(page, "td.detail")
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert len(texts(page, "id")) == 150
    assert page.execute_script("return [...document.querySelectorAll('details')].every((d) => d.open)")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = (
        "return [...document.querySelectorAll('aside, .filters')].every((n) => getComputedStyle(n).display === 'none')"
    )
    assert page.execute_script(hidden)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_contrast_with_what_they_stand_on(open_page: Open, data_of: Make, theme: str) -> None:
    """WCAG AA: 4.5 to 1 for text of every colour the page uses."""
    page = open_page(data_of(60))
    page.execute_script("document.documentElement.classList.toggle('dark', arguments[0] === 'dark')", theme)
    ratios = page.execute_script("""
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
          const probe = document.body.appendChild(document.createElement('i'));
          probe.style.color = style.getPropertyValue(name);
          const rgb = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
          probe.remove();
          const [r, g, b] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const out = {};
        for (const ink of ['--ink', '--muted', '--accent', '--warn', '--confirmed', '--not_confirmed', '--stale'])
          for (const ground of ['--bg', '--card', '--soft']) {
            const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
            out[ink + ' on ' + ground] = (a + 0.05) / (b + 0.05);
          }
        return out;""")
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}


def test_every_field_button_and_picture_has_a_name_and_headings_do_not_skip(open_page: Open, data_of: Make) -> None:
    page = open_page(data_of(30))
    click(page, "#rows .twist")
    nameless = page.execute_script("""
        const said = (n) => n.getAttribute('aria-label') || n.getAttribute('aria-labelledby') || n.textContent.trim();
        const named = (n) => said(n) || n.closest('label');
        const wanted = [...document.querySelectorAll('button, input, select, nav, section, [role=img], [role=region]')];
        return wanted.filter((n) => !named(n)).map((n) => n.outerHTML.slice(0, 80));""")
    assert nameless == []
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map((n) => n.id)")
    assert len(ids) == len(set(ids))
    for tag in ("main", "nav", "header", "h1"):
        assert page.find_elements(By.TAG_NAME, tag)
    assert page.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


def test_the_page_spells_a_double_as_the_ledger_does(open_page: Open, data_of: Make, row_of: Make) -> None:
    values = [0.0, -0.0, 3.25, -1.5, 1e-310, 1e300, 0.1, -(2.0**-1022)]
    rows = [row_of(n, statistic=v, statistic_hex=v.hex(), parent=None) for n, v in enumerate(values, start=1)]
    page = open_page(dataclasses.replace(data_of(0), rows=tuple(rows)))
    for i, value in enumerate(values):
        page.execute_script(f"location.hash = '{rows[i].id}'")
        said = WebDriverText(page, f"tr.row[data-i='{i}'] + tr td.detail")
        assert value.hex() in said.split()


def WebDriverText(page: Any, selector: str) -> str:  # noqa: N802
    page.implicitly_wait(5)
    try:
        return str(page.find_element(By.CSS_SELECTOR, selector).text)
    finally:
        page.implicitly_wait(0)


def test_the_theme_follows_the_system_and_toggles(open_page: Open, data_of: Make) -> None:
    page = open_page(data_of(20))
    dark = "return document.documentElement.classList.contains('dark')"
    colour = "return getComputedStyle(document.body).backgroundColor"
    before, light = page.execute_script(dark), page.execute_script(colour)
    click(page, "#theme")
    assert page.execute_script(dark) != before
    assert page.execute_script(colour) != light
    page.execute_script("localStorage.clear()")
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    page.refresh()
    ready(page)
    assert page.execute_script(dark)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_hostile_prose_stays_text(open_page: Open, data_of: Make) -> None:
    hostile = "</script><img src=x onerror=alert(1)><b>bold</b>"
    data = data_of(40)
    noted = {"notes": [hostile], "unbalanced": hostile, "balance": {hostile: {hostile: 0.1}}}
    rows = tuple(
        dataclasses.replace(
            r, claim=hostile, rationale=hostile, annotation=hostile, checks=noted, interval_missing=hostile
        )
        for r in data.rows
    )
    page = open_page(dataclasses.replace(data, rows=rows))
    click(page, "#rows .twist")
    assert set(texts(page, "claim")) == {hostile}
    assert not page.find_elements(By.CSS_SELECTOR, "img, main b b")
    assert page.get_log("browser") == []


@pytest.mark.parametrize("width", [800, 1280])
def test_the_page_never_scrolls_sideways(open_page: Open, data_of: Make, width: int) -> None:
    page = open_page(data_of(60))
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.refresh()
    ready(page)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_served_page_says_that_the_ledger_has_grown_and_asks_nobody_else(driver: Any, data_of: Make) -> None:
    data = data_of(20, complete=False)
    answers = {
        "/": ("text/html", render_report(data, live=True)),
        "/head.json": ("application/json", json.dumps({"hash": "f" * 64, "rows": 23, "phase": "not finished"})),
    }
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            kind, text = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        driver.get_log("browser")
        driver.get(f"http://127.0.0.1:{server.server_port}/")
        live = driver.find_element(By.ID, "live")
        WebDriverWait(driver, 20).until(lambda _: live.is_displayed())
        assert live.text == "The ledger has grown: 23 hypotheses, not finished. Show it"
        assert set(asked) == {"/", "/head.json"}
        assert driver.get_log("browser") == []
    finally:
        server.shutdown()
        server.server_close()


def test_five_thousand_rows_stay_usable(open_page: Open, data_of: Make, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_of(5000)
    page = open_page(data)
    ready = page.execute_script("return Number(document.documentElement.dataset.ready)")
    sorting = page.execute_script(
        "const t = performance.now(); document.querySelector('[data-sort=p_scan]').click(); return performance.now() - t"
    )
    with capsys.disabled():
        print(f"\n5,000 rows: interactive after {ready:.0f} ms, sorted in {sorting:.0f} ms")  # noqa: T201
    assert len(texts(page, "id")) < 1000
    last = data.rows[-1].id
    page.execute_script(f"location.hash = '{last}'")
    assert f"screen replay {last}" in WebDriverText(page, "td.detail")
