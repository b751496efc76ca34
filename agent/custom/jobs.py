"""The job of a statistic that a model wrote: as every job, and which code it is about."""

from dataclasses import dataclass, fields

from ..ledger.records import Registered
from ..sandbox.base import Job


@dataclass(frozen=True)
class CodeJob(Job):
    """Run in the loop's own process by :mod:`.runner`, which alone knows the draws; only code, matrix and labellings leave it."""

    ensemble: str = ""
    """What the draws belong to: the label set by content, and the universe's genes through them; never the code."""
    code: str = ""
    """sha256 of the statistic."""
    alternative: str = "two-sided"
    order_invariant: bool = True

    @property
    def id(self) -> str:
        """The row."""
        (id_,) = self.subsets
        return id_

    @property
    def layer(self) -> str:
        """The one layer it looks at, such as ``L3``."""
        return self.subsets[self.id][0]


def code_job(job: Job, h: Registered) -> CodeJob:
    """``job`` of the row ``h``, whose test is a model's."""
    held = {f.name: getattr(job, f.name) for f in fields(Job)}
    spec = h.spec
    return CodeJob(
        **held,
        ensemble=f"{spec['annotation_digest']} {spec['background_digest']}",
        code=spec["code"],
        alternative=spec["alternative"],
        order_invariant=spec["order_invariant"],
    )
