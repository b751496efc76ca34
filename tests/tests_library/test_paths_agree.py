"""The same bits on every path: compiled or NumPy, one thread or two, each whole scan in its own process."""

import json
import os
import subprocess
import sys

import pytest

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.nulls import NULLS

SCANS = """
import hashlib, importlib.util, json, sys
import numpy as np
from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.nulls import NULLS
from hyposcreen.tests_library.run import scan

spec = importlib.util.spec_from_file_location("worlds_of_tests", sys.argv[1])
made = importlib.util.module_from_spec(spec)
sys.modules["worlds_of_tests"] = made
spec.loader.exec_module(made)
rows = 400 if sys.argv[2] == "threads" else 60
w = made.make_world(rows=rows, dim=48 if rows > 60 else 12, seed=41)
out = {"numba": HAVE_NUMBA}
for q in range(3):
    for name in ("axis_ranks", "poles", "cosine"):
        out[f"{name} {q}"] = hashlib.sha256(np.ascontiguousarray(getattr(w.geometry, name)(q)).tobytes()).hexdigest()
out["pair_ranks"] = hashlib.sha256(w.geometry.pair_ranks().tobytes()).hexdigest()
if sys.argv[2] == "scans":
    for kind in CATALOGUE.values():
        e = made.make_entity(kind.entity, w, np.random.default_rng(1))
        if kind.needs or kind.shortage(e, w.universe):
            continue  # partners, attention, signs or loops; their own test files hold the two paths equal
        views = {"all": frozenset(kind.prepare(w.geometry, e).views)}
        for found in scan(w.geometry, w.covariates, kind, e, subsets=views, nulls=tuple(NULLS), m=60, seed=5):
            part = found.subsets["all"]
            numbers = [
                [v.view.name, v.statistic, v.k, *(x.hex() for x in (v.effect, v.null_mean, v.null_sd, v.z))] for v in part.views
            ]
            digest = hashlib.sha256(part.maximum.tobytes() + found.overall.tobytes()).hexdigest()
            out[f"{kind.name} {found.null}"] = [part.k, part.best.name, digest, numbers]
print(json.dumps(out))
"""


def run(request: pytest.FixtureRequest, what: str, **environment: str) -> dict:
    helper = request.path.with_name("conftest.py")
    done = subprocess.run(
        [sys.executable, "-c", SCANS, str(helper), what],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_numpy_and_compiled_scans_are_the_same_bits(request):
    fast = run(request, "scans", HYPOSCREEN_NO_NUMBA="")
    slow = run(request, "scans", HYPOSCREEN_NO_NUMBA="1")
    assert slow.pop("numba") is False
    if not fast.pop("numba"):
        pytest.skip("numba is not here, so there is one path only")
    assert fast.keys() == slow.keys()
    plain = [kind for kind in CATALOGUE.values() if not kind.needs and kind.lacks is None]
    assert len(fast) == 10 + len(plain) * len(NULLS)
    for name, value in fast.items():
        assert value == slow[name], name


def test_ranks_do_not_depend_on_the_number_of_threads(request):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    one, two = (run(request, "threads", **dict.fromkeys(names, n)) for n in "12")
    assert one == two
    assert len(one) == 11
