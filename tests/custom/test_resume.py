"""kill -9 between the registration of a model's statistic and its result: the next run goes on and ends the same."""

import os
import signal
from typing import Any

import pytest

from hyposcreen.agent.ledger import failpoints
from hyposcreen.agent.ledger.provenance import Artifact
from hyposcreen.agent.ledger.records import Registered, RunClosed, Tested
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify

pytestmark = pytest.mark.usefixtures("confined")


def killed_at(place: str, run: Any) -> None:
    """Run in a process of its own, which ends itself by SIGKILL at ``place``."""
    child = os.fork()
    if not child:
        failpoints.arm(place)
        try:
            run()
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_run_that_was_killed_ends_with_the_same_content(
    run_with: Any, server: Any, author: Any, statistics: Any, fresh: Any, small: Any
) -> None:
    bad, honest = statistics.BAD["exception"], statistics.HONEST["cohesion"]
    pair = [author.item(bad.code, "b_cells"), author.item(honest, "t_cells")]
    model = author.Author(server, lambda _: pair, lambda _: bad.mended)
    with server.Scripted(model) as scripted:
        first = run_with("first", scripted, iterations=1, per_iteration=4)
    folder = fresh("killed", proposer="recorded", recording="../first")
    for place in ("proposals.made:1", "rows.claimed:1"):
        killed_at(place, lambda: small.run_campaign_in_process(folder))
    ledger = Ledger.open_readonly(folder / "runs.db")
    registered = [h.id for h in ledger.records(Registered) if h.test == "custom_statistic"]
    assert len(registered) == 2 and not {t.id for t in ledger.records(Tested)} & set(registered)
    small.run_campaign_in_process(folder)
    assert ledger.records(RunClosed) and verify(ledger.path).ok
    assert ledger.head().content_hash == first.head().content_hash
    kept = [a.sha256 for a in ledger.records(Artifact)]
    assert len(kept) == len(set(kept)), "nothing is kept twice"
