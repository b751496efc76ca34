"""Write ``docs/calibration.md``: how often each test rejects at .05 when nothing is there, and when only a confound is.

``python benchmarks/calibration.py [--share S] [--processes N] [--keep FILE] [--out FILE] [--date YYYY-MM-DD]``. ``--share 0.05``
makes a quick look with a twentieth of the repetitions (it prints, and writes only where ``--out`` says). ``--keep FILE``
remembers finished cells in a file of lines, so that an interrupted run goes on; cells that other code measured are made
again. The worlds are in ``calibration_worlds.py`` and ``calibration_own.py``, what is measured in
``calibration_cells.py``, the words in ``calibration_page.py``. Every rate is a function of the code.
"""

import argparse
import sys
import time
from pathlib import Path

from calibration_cells import measure
from calibration_page import page
from calibration_worlds import ROOT


def main() -> int:
    """Measure and write the page; returns the exit code."""
    arguments = argparse.ArgumentParser(description="Write docs/calibration.md.")
    arguments.add_argument("--share", type=float, default=1.0, help="share of the repetitions")
    arguments.add_argument("--processes", type=int, default=2, help="worker processes")
    arguments.add_argument("--keep", type=Path, help="file of finished cells; read first, then added to")
    arguments.add_argument("--out", type=Path, help="page to write (default: docs/calibration.md, if --share is 1)")
    arguments.add_argument("--date", default="2026-11-23", help="date printed on the page")
    given = arguments.parse_args()
    start = time.perf_counter()
    text = page(*measure(given.share, given.processes, given.keep), given.date)
    out = given.out or (ROOT / "docs" / "calibration.md" if given.share == 1 else None)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    print(text)
    print(f"{time.perf_counter() - start:.0f} s with {given.processes} processes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
