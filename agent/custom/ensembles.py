"""Which labellings a statistic of a model meets: one frozen ensemble for each label set, universe, null and number of draws.

The key of all draws is random, was made when the run opened and stands in its ledger: nobody can have known it when the code
was written, and a replay finds it. A retry, a repair, other code and another layer meet the same draws.
"""

import hashlib
import hmac

import numpy as np
from numpy.typing import NDArray

from ...tests_library.engine.bank import Bank
from ...tests_library.nulls import Exchange
from ..blinded import Plan, hide
from .jobs import CodeJob


def ensemble_name(job: CodeJob, null: str) -> str:
    """What identifies the draws of ``job`` under ``null``."""
    genes = hashlib.sha256(np.array(job.universe, np.int64).tobytes()).hexdigest()
    return f"{job.ensemble} {genes} {null} {job.m}"


def make_ensemble(secret: bytes, job: CodeJob, null: str, rule: Exchange) -> Plan:
    """The blinded labellings of ``job`` under ``null``, whose ``rule`` says which genes may stand in for which."""
    name = ensemble_name(job, null)
    key = hmac.new(secret, f"draws {name}".encode(), hashlib.sha256).digest()
    bank = Bank((int.from_bytes(key[:4], "little"), int.from_bytes(key[4:8], "little")), rule.strata, rule.units)
    labels = np.zeros(len(job.universe), np.int8)
    labels[np.array(job.entity["members"], np.int64)] = 1
    drawn: NDArray[np.int8] = np.concatenate([labels[bank.arrangements(a, b)] for a, b in bank.blocks(job.m)])
    return hide(secret, name, drawn)
