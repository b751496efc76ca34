"""Backend ``inline``: the job runs in the caller's own process. For audits, whose unit of parallelism is a whole world.

It gives none of the guarantees of :class:`~.base.Sandbox`: no limit, no boundary, a crash is the caller's crash. It is never
used for a campaign; the numbers are the same bits.
"""

import time

from .base import Job, Limits, Outcome
from .worker import Bench


class InlineSandbox:
    """Answers jobs with one shared bench, which keeps geometries and arrangements ready between worlds."""

    confines = "nothing: same process"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def run(self, job: Job, limits: Limits) -> Outcome:  # noqa: ARG002 - there are no limits here, as the docstring says
        """See :class:`~.base.Sandbox`."""
        started = time.monotonic()
        value, vectors = self._bench.answer(job.to_json())
        return Outcome("ok", time.monotonic() - started, value=value, vectors=vectors)

    def close(self) -> None:
        """Nothing to end."""
