"""Open a report in headless Chromium: size, time until it can be used, console errors, requests; and the pictures of the docs.

``python benchmarks/report_page.py FOLDER [--rows 5000] [--pictures docs]``. ``FOLDER`` holds a finished run. Times are the
page's own (``performance.now()`` when the table answers), of seven openings: the fastest, held against the bound, and the
median. A busy machine makes them longer, so the processor time of the page's main thread is printed beside them. Ends with 1 if a
bound is broken.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from hyposcreen.agent.places import open_ledger
from hyposcreen.agent.report import ReportData, write_report
from hyposcreen.agent.report.source import report_data

OPENINGS = 7
BOUNDS = {189: (300, 150_000), 5000: (1000, None)}
"""Rows → milliseconds, and bytes where they are bounded."""
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@contextmanager
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for argument in (*QUIET, "--window-size=1440,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    page.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    try:
        yield page
    finally:
        page.quit()


def opened(page: Any, path: Path) -> tuple[float, float]:
    """Milliseconds until the page could be used, and of its main thread's processor time."""
    page.get("about:blank")
    page.get(path.as_uri())
    ready = WebDriverWait(page, 60).until(
        lambda p: p.execute_script("return document.documentElement.dataset.ready"), "the page was never ready"
    )
    metrics = {m["name"]: m["value"] for m in page.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
    return float(ready), 1000 * metrics["TaskDuration"]


def measured(page: Any, path: Path, rows: int) -> bool:
    """Print one line of measurements; whether the bounds for so many rows hold, where there are any."""
    times = [opened(page, path) for _ in range(OPENINGS)]
    requests = page.execute_script("return performance.getEntriesByType('resource').length")
    errors = [entry for entry in page.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]
    fastest, median = min(times)[0], statistics.median(wall for wall, _ in times)
    processor, size = statistics.median(cpu for _, cpu in times), path.stat().st_size
    print(
        f"{rows:,} rows: {size / 1000:.0f} kB, usable after {fastest:.0f} ms (fastest of {OPENINGS}; median {median:.0f}), "
        f"{processor:.0f} ms of processor time, {len(errors)} console errors, {requests} requests",
        flush=True,
    )
    milliseconds, most = BOUNDS.get(rows, (None, None))
    held = (milliseconds is None or fastest < milliseconds) and (most is None or size <= most)
    return held and not errors and not requests


def enlarged(data: ReportData, rows: int) -> ReportData:
    """The same run with its rows repeated under new ids, until there are ``rows``; no two have a number in common.

    Rows that repeat deflate to nothing. Every float of a copy is a few per cent off, so that 5,000 rows weigh what they would.
    """
    draw = random.Random(0)
    many, sketches = [], {}
    for n in range(rows):
        row = data.rows[n % len(data.rows)]
        shaken = {f.name: _shaken(getattr(row, f.name), draw) for f in fields(row) if f.name != "id"}
        copy = replace(row, **shaken, id=f"H{n + 1:04d}")
        many.append(copy)
        sketches[copy.id] = _shaken(data.sketches.get(row.id, {}), draw)
    return replace(data, rows=tuple(many), sketches=sketches)


def _shaken(value: Any, draw: random.Random) -> Any:
    if isinstance(value, float):
        return value * draw.uniform(0.95, 1.0)
    if isinstance(value, Mapping):
        return {key: _shaken(inner, draw) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_shaken(inner, draw) for inner in value)
    return value


def pictures(page: Any, path: Path, folder: Path) -> None:
    """Light, dark and one hypothesis, as PNG files."""

    def shot(name: str, width: int, height: int, script: str) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        opened(page, path)
        page.execute_script(script)
        page.execute_async_script("const done = arguments[0]; setTimeout(done, 400)")
        page.save_screenshot(str(folder / name))
        print(f"{folder / name}: {(folder / name).stat().st_size:,} bytes")

    dark = "document.documentElement.classList.add('dark');"
    shot("report.png", 1280, 840, "")
    shot("report-dark.png", 1280, 900, f"{dark} document.querySelector('#volcano-panel').scrollIntoView()")
    shot("report-row.png", 1340, 1080, "document.querySelector('.card .id').click()")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    data = report_data(open_ledger(options.folder), options.folder)
    kept = True
    with tempfile.TemporaryDirectory() as place, browser() as page:
        for which in (data, enlarged(data, options.rows)):
            path = Path(place) / "report.html"
            write_report(which, path)
            kept &= measured(page, path, len(which.rows))
        if options.pictures:
            write_report(data, path)
            pictures(page, path, options.pictures)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
