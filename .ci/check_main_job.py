"""What the main job must show, asked of the ledger through the command line. Usage: check_main_job.py FOLDER."""

import json
import subprocess
import sys
from pathlib import Path

SCREEN = str(Path(sys.executable).parent / "screen")
FOLDER = sys.argv[1]


def ask(*command: str) -> object:
    done = subprocess.run(
        [SCREEN, *command, "--project", FOLDER, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"screen {' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def must(what: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"main job: not so: {what}")
    print(f"main job: {what}")


rows = ask("ledger", "list")
status = ask("status")
assert isinstance(rows, list) and isinstance(status, dict)
must(f"{len(rows)} rows, at least 183", len(rows) >= 183)
must("the run is complete", status["phase"] == "complete")
must("no p is 0, every row has k and m", all(r["p_scan"] > 0 and None not in (r["k"], r["m"]) for r in rows))
cohesion = [r["verdict"] for r in rows if r["test"] == "cohesion" and r["role"] == "positive_control"]
must(f"all {len(cohesion)} marker-cohesion rows are confirmed", set(cohesion) == {"confirmed"})
negative = [r["verdict"] for r in rows if r["role"] == "negative_control"]
must(f"none of {len(negative)} negative controls is confirmed", len(negative) >= 10 and "confirmed" not in negative)
must("the ledger verifies", bool(ask("ledger", "verify")))
replayed = ask("replay", "--all", "--quiet")
assert isinstance(replayed, list)
identical = [r for r in replayed if r["outcome"] == "identical"]
must(f"{len(identical)} of {len(rows)} rows replay bit-identically", len(identical) == len(rows))
