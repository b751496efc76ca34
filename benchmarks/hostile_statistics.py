"""Error rate of seven statistics, six of them hostile, in worlds without a signal: ``python benchmarks/hostile_statistics.py``.

The bulk runs in this process and 100 worlds each behind the strongest boundary that holds here: a boundary does not change
values, and the column *equal* counts the worlds whose outcome and p are the same in both. The column *unblinded* is the
control of this harness: the usual order, observed labelling first, must reward the call counter in every world. *By blinding
alone* is the rate of the secret place without any check of values.
"""

import argparse
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hyposcreen.agent.sandbox.choose import for_foreign_code
from hyposcreen.agent.sandbox.statistics import StatisticSandbox


def _hostile() -> Any:
    path = Path(__file__).parents[1] / "tests" / "sandbox" / "hostile.py"
    spec = importlib.util.spec_from_file_location("hostile", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--worlds", type=int, default=2000)
    arguments.add_argument("--sandboxed", type=int, default=100)
    chosen = arguments.parse_args()
    hostile = _hostile()
    boundary = for_foreign_code()
    sandbox = StatisticSandbox(boundary)

    def behind(code: str, embedding: Any, labels: Any) -> tuple[str, Any]:
        run = sandbox.run(code, embedding, labels)
        return run.end, run.values

    limit = hostile.bound(chosen.worlds)
    print(f"{chosen.worlds} worlds in process, {chosen.sandboxed} behind '{boundary.name}'; limit {limit:.4f}")
    print("| statistic | unblinded | by blinding alone | blinded | behind the boundary | equal | outcomes, blinded |")
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    try:
        for name, code in hostile.STATISTICS.items():
            worlds = [hostile.world(number) for number in range(chosen.worlds)]
            usual = np.mean([hostile.unblinded(code, w) <= hostile.ALPHA for w in worlds])
            found = [hostile.blinded(code, w) for w in worlds]
            inside = [hostile.blinded(code, w, behind) for w in worlds[: chosen.sandboxed]]
            alone = np.mean([f.by_blinding <= hostile.ALPHA for f in found])
            rate = np.mean([f.p <= hostile.ALPHA for f in found])
            worst = max(worst, rate, alone)
            equal = sum((a.outcome, a.p) == (b.outcome, b.p) for a, b in zip(found, inside, strict=False))
            through = np.mean([f.p <= hostile.ALPHA for f in inside]) if inside else float("nan")
            ends = ", ".join(f"{kind} {n}" for kind, n in Counter(f.outcome for f in found).most_common())
            print(
                f"| {name} | {usual:.3f} | {alone:.4f} | {rate:.4f} | {through:.2f} | {equal} of {len(inside)} | {ends} |",
                flush=True,
            )
    finally:
        sandbox.close()
    print(f"largest blinded rate {worst:.4f}: {'held' if worst <= limit else 'NOT HELD'} ({limit:.4f})")
    sys.exit(int(worst > limit))


if __name__ == "__main__":
    main()
