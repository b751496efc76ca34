"""A whole run against a model's server that fails three calls in ten, and the same run again without any network.

``python benchmarks/model_run.py [--iterations 63] [--seed 1] [--share 0.3] [--workers 0] [--keep FOLDER]``. The server is the
scripted one of the tests: real HTTP on loopback, every kind of fault, no model. The run is the embedded default through the
command line. The script fails if one of these does not hold: every registered hypothesis has a result or a recorded failure,
nothing stands twice, every call is an entry, the ledger verifies, and a process that may open no connection reaches the same
content head from the recording. The server counts tokens as four characters each, over messages and answers.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hyposcreen.agent.ledger.records import Completion, Registered, Rejected, Tested
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify

SERVER = Path(__file__).parents[1] / "tests" / "llm" / "scripted_server.py"
CLOSED = """
import socket, sys
def refuse(event, arguments):
    sends = event in {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"}
    if event == "socket.getaddrinfo" or (sends and arguments[0].family != socket.AF_UNIX):
        raise OSError("the network is closed: " + event)
sys.addaudithook(refuse)
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except OSError as error:
    assert "the network is closed" in str(error)
from hyposcreen.cli import main
main(sys.argv[1:])
"""
"""``screen`` in a process that may open no connection; pipes to its own workers are none."""


def load_server() -> Any:
    """The scripted server of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location("scripted_server", SERVER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scripted_server"] = module
    spec.loader.exec_module(module)
    return module


def screen(*arguments: str, closed: bool = False) -> float:
    """``screen ARGUMENTS``; seconds it took."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SCREEN_", "OPENAI_"))}
    start = time.perf_counter()
    how = ["-c", CLOSED] if closed else ["-m", "hyposcreen"]
    subprocess.run([sys.executable, *how, *arguments], env=kept, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def report(ledger: Ledger, requests: int) -> None:
    """Check the record and print what it comes to."""
    registered, tested = ledger.records(Registered), ledger.records(Tested)
    completions, rejected = ledger.records(Completion), ledger.records(Rejected)
    assert {h.id for h in registered} == {t.id for t in tested} and len(tested) == len(registered), (
        "a row without a result"
    )
    assert len({h.novelty_sha256 for h in registered}) == len(registered), "a row stands twice"
    assert len(completions) == requests, "a call without an entry"
    assert verify(ledger.path).ok, "the ledger does not verify"
    rows = ledger.rows(views=False)
    print(f"calls                 {len(completions)}: {_counts(c.outcome for c in completions)}")
    print(f"turns                 {_counts(c.turn for c in completions)}; forms {_counts(c.rung for c in completions)}")
    print(f"registered            {len(registered)}: {_counts(r.proposer for r in rows)}")
    print(f"results               {_counts(t.status for t in tested)}; verdicts {_counts(r.verdict for r in rows)}")
    print(f"refused proposals     {len(rejected)}: {_counts(r.reason for r in rejected)}")
    counted = [c for c in completions if c.tokens_prompt is not None]
    prompts, said = sum(c.tokens_prompt or 0 for c in counted), sum(c.tokens_completion or 0 for c in counted)
    print(f"tokens as counted     {prompts} of prompts, {said} of answers, in {len(counted)} calls")
    print(
        f"tokens charged        {sum(c.charged_tokens for c in completions)}, with what was estimated for the other answers"
    )
    longest = max((len(c.request) for c in completions), default=0)
    print(f"longest request       {longest} characters; ledger {Path(ledger.path).stat().st_size / 1e6:.1f} MB")


def _counts(values: Any) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(Counter(values).items(), key=lambda item: -item[1])) or "none"


def main() -> None:
    """Run, check and print."""
    arguments = argparse.ArgumentParser(description="A run against an unreliable server, and the same without network.")
    arguments.add_argument("--iterations", type=int, default=63)
    arguments.add_argument("--seed", type=int, default=1, help="of the server's faults; the run's own is 0")
    arguments.add_argument("--share", type=float, default=0.3, help="calls that fail")
    arguments.add_argument("--workers", type=int, default=0, help="worker processes; 0 = one a core")
    arguments.add_argument("--keep", type=Path, help="folder to run in (default: one that is removed)")
    given = arguments.parse_args()
    scripted = load_server()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        first, again = folder / "asked", folder / "again"
        first.mkdir(parents=True)
        (first / "screen.toml").write_text("answer_seconds = 4.0\n", encoding="utf-8")  # a dripping answer is left soon
        unreliable = scripted.Unreliable(given.seed, given.share)
        common = ("--workers", str(given.workers), "--quiet")
        with scripted.Scripted(unreliable) as server:
            run = ("--project", str(first), "--proposer", "openai", "--model", "scripted", "--base-url", server.url)
            seconds = screen("run", *run, "--iterations", str(given.iterations), *common)
        ledger = Ledger.open_readonly(first / "runs.db")
        print(f"{given.iterations} iterations in {seconds:.0f} s; the server: {_counts(unreliable.drawn.elements())}")
        report(ledger, len(server.requests))
        recorded = ("--project", str(again), "--proposer", "recorded", "--recording", str(first.resolve()))
        seconds = screen("run", *recorded, *common, closed=True)
        heads = [Ledger.open_readonly(f / "runs.db").head().content_hash for f in (first, again)]
        assert heads[0] == heads[1], f"the recorded run ends elsewhere: {heads}"
        print(f"again, without network, in {seconds:.0f} s: the same content head {heads[1]}")
        print(json.dumps({"content": heads[1]}))


if __name__ == "__main__":
    main()
