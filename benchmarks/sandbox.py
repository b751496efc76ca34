"""The figures of the sandbox on this machine: attacks contained, latency, kills, memory, start-up.

``python benchmarks/sandbox.py [--user UID] [--backends NAME,...] [--only NAME,...] [--skip-attacks]``. Needs no network. The same
attacks without a boundary (``none``) are the control: they must get through where they can.
"""

import argparse
import importlib.util
import os
import statistics as stats
import tempfile
import time
from pathlib import Path

import numpy as np

from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.statistics import Bounds, StatisticSandbox

_SPEC = importlib.util.spec_from_file_location("corpus", Path(__file__).parents[1] / "tests" / "sandbox" / "corpus.py")
assert _SPEC is not None and _SPEC.loader is not None
corpus = importlib.util.module_from_spec(_SPEC)
__import__("sys").modules["corpus"] = corpus
_SPEC.loader.exec_module(corpus)

CONTROL = "def statistic(emb, labels): return float(emb[labels == 1].sum() + labels.sum())"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--user", type=int)
    arguments.add_argument("--backends", default="namespaces,landlock,sealed,none")
    arguments.add_argument("--only", default="")
    arguments.add_argument("--skip-attacks", action="store_true")
    chosen = arguments.parse_args()
    os.environ["OPENAI_API_KEY"] = corpus.KEY
    wanted = {name for name in chosen.only.split(",") if name}
    attacks = [a for a in corpus.own_attacks() + corpus.shared_attacks() if not wanted or a.name in wanted]
    for name in chosen.backends.split(","):
        sandbox = StatisticSandbox(CONFINING[name], chosen.user)
        try:
            control(sandbox)
            if sandbox.backend.name == "none" and (os.getuid() if chosen.user is None else chosen.user) == 0:
                print("none: no attacks as root without a boundary: some would change this machine (run it as nobody)")
            elif not chosen.skip_attacks:
                contained(sandbox, attacks, chosen.user)
            figures(sandbox)
        finally:
            sandbox.close()


def control(sandbox: StatisticSandbox) -> None:
    """An honest statistic must run, with the bits of this process."""
    embedding = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 2, size=(50, 500)).astype(np.int8)
    inside: dict[str, object] = {}
    exec(CONTROL, inside)
    expected = np.array([inside["statistic"](embedding, row) for row in labels])  # type: ignore[operator]
    run = sandbox.run(CONTROL, embedding, labels)
    same = run.end == "ok" and run.values.tobytes() == expected.tobytes()
    print(f"{sandbox.backend.name}: control {'runs, bit-identical' if same else f'FAILED: {run.end} {run.output}'}")


def contained(sandbox: StatisticSandbox, attacks: list, user: int | None) -> None:
    """How many attacks left no evidence."""
    through = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        scene = corpus.Scene(Path(folder), user)
        for attack in attacks:
            verdict = scene.play(sandbox, attack)
            if verdict.evidence and corpus.BY_DESIGN.get(attack.name) not in sandbox.backend.lets:
                through.append(verdict)
            elif verdict.evidence:
                print(f"{sandbox.backend.name}: open by design: {corpus.BY_DESIGN[attack.name]}")
        scene.close()
    who = f"uid {os.getuid()}" + (f" → {user}" if user is not None else "")
    print(f"{sandbox.backend.name}: as {who}: contained {len(attacks) - len(through)} of {len(attacks)} attacks")
    for verdict in through if sandbox.backend.holds_code else []:
        print(
            f"  THROUGH {verdict.attack.category}/{verdict.attack.name}: {verdict.end}; {'; '.join(verdict.evidence[:3])}"
        )


def figures(sandbox: StatisticSandbox) -> None:
    """Latency of a call, overhead of a large one, time to kill, memory."""
    name = sandbox.backend.name
    small = (np.zeros((200, 16), np.float32), np.zeros((20, 200), np.int8))
    took = [sandbox.run("def statistic(e, l): return 1.0", *small).seconds * 1e3 for _ in range(40)][5:]
    print(f"{name}: a call, warm: p50 {stats.median(took):.0f} ms, p95 {np.quantile(took, 0.95):.0f} ms")
    rng = np.random.default_rng(0)
    large = (rng.normal(size=(5000, 512)).astype(np.float32), rng.integers(0, 2, size=(2009, 5000)).astype(np.int8))
    code = "def statistic_batch(e, L): return L @ e[:, 0].astype('f8')"
    inside = []
    for _ in range(3):
        started = time.perf_counter()
        expected = large[1] @ large[0][:, 0].astype("f8")
        inside.append((time.perf_counter() - started) * 1e3)
    runs = [sandbox.run(code, *large) for _ in range(3)]
    over = min(r.seconds * 1e3 for r in runs) - min(inside)
    same = all(r.values.tobytes() == expected.tobytes() for r in runs)
    print(
        f"{name}: 2,009 labellings of 5,000 × 512: {over:.0f} ms over in process; bits {'equal' if same else 'DIFFER'}"
    )
    late = sandbox.run("import time\ntime.sleep(60)", *small, Bounds(1.0, 30, 1 << 30))
    print(f"{name}: killed {late.seconds * 1e3 - 1000:.0f} ms after its deadline ({late.end})")
    before = _resident()
    flood = sandbox.run("import sys\nfor i in range(200): sys.stdout.write('x' * (1 << 20))", *small)
    print(f"{name}: a flood of 200 MB ends as {flood.end}; the parent grew by {(_resident() - before) / 1e6:.1f} MB")
    heap = sandbox.run("import numpy as np\nk = [np.ones(1 << 24) for i in range(64)]", *small, Bounds(20, 20, 1 << 30))
    print(f"{name}: 8 GB of heap under a limit of 1,024 MiB ends as {heap.end}; peak {heap.peak_bytes >> 20} MiB")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    main()
