"""Open a report in headless Chromium: size, time until it can be used, console messages; and the pictures of the docs.

``python benchmarks/report_page.py FOLDER [--rows 5000] [--pictures docs]``. ``FOLDER`` holds a finished run. Times are the
page's own (``performance.now()`` when everything is drawn), the median of nine openings; a busy machine makes them longer,
so the processor time of the page's main thread is printed beside them.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from hyposcreen.agent.report import ReportData, write_report
from hyposcreen.agent.report.source import report_data
from hyposcreen.agent.session import open_ledger

OPENINGS = 9
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


def enlarged(data: ReportData, rows: int) -> ReportData:
    """The same run with its rows repeated under new ids, until there are ``rows``."""
    many = [replace(data.rows[n % len(data.rows)], id=f"H{n + 1:04d}") for n in range(rows)]
    sketches = {row.id: data.sketches.get(data.rows[n % len(data.rows)].id, {}) for n, row in enumerate(many)}
    return replace(data, rows=tuple(many), sketches=sketches)


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
    with tempfile.TemporaryDirectory() as place, browser() as page:
        for which in (data, enlarged(data, options.rows)):
            path = Path(place) / "report.html"
            write_report(which, path)
            times = [opened(page, path) for _ in range(OPENINGS)]
            wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
            print(
                f"{len(which.rows):,} rows: {path.stat().st_size:,} bytes, usable after {wall:.0f} ms "
                f"(fastest {min(t for t, _ in times):.0f}), {processor:.0f} ms of processor time, "
                f"{len(page.get_log('browser'))} console messages"
            )
        if options.pictures:
            write_report(data, path)
            pictures(page, path, options.pictures)


if __name__ == "__main__":
    main()
