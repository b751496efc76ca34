"""How a statistic of a model may end, in words that are the same on every machine. All of these count as p = 1."""

from collections.abc import Mapping
from types import MappingProxyType

_COUNTS = "counts as p = 1"
ENDED: Mapping[str, str] = MappingProxyType({
    "exception": f"exception: the code raised on real data; {_COUNTS}",
    "syntax": f"syntax: the code is no Python; {_COUNTS}",
    "no_statistic": f"no_statistic: the code defines neither statistic nor statistic_batch; {_COUNTS}",
    "wrong_type": f"wrong_type: the code gave something else than numbers; {_COUNTS}",
    "incomplete": f"incomplete: the code left values unwritten; {_COUNTS}",
    "nonfinite": f"nonfinite: a value is no finite number; {_COUNTS}",
    "degenerate": f"degenerate: all null labellings have one value; {_COUNTS}",
    "nondeterministic": f"nondeterministic: one labelling was given two values; {_COUNTS}",
    "order_dependent": f"order_dependent: genes in another order have other values; {_COUNTS}",
    "policy_violation": f"policy_violation: the code made a call that only an attack makes; {_COUNTS}",
    "timeout": f"timeout: no answer within the time limit, twice; {_COUNTS}",
    "cpu": f"cpu: more processor time than the limit, twice; {_COUNTS}",
    "memory": f"memory: more than the memory limit, twice; {_COUNTS}",
    "output": f"output: printed without end, twice; {_COUNTS}",
    "segv": f"segv: the worker touched memory that is not its own; {_COUNTS}",
    "abort": f"abort: the worker aborted; {_COUNTS}",
    "oom": f"oom: the machine ended the worker for its memory; {_COUNTS}",
})  # fmt: skip
"""End → why the row has no result."""
