"""The corpus behind every boundary that holds here: nothing gets through, and what runs without a boundary shows it could."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.statistics import Bounds, StatisticSandbox

FAST = {
    "secrets": ("ledger_by_path", "inherited_files", "parent_environ", "package_data"),
    "network": ("tcp6", "raw_syscall", "unix_path", "io_uring"),
    "files": ("append", "truncate_readonly", "tmpfile", "rename2_exchange"),
    "process": ("posix_spawn", "kill_victim", "multiprocessing", "own_death_signal"),
    "memory": ("shared_anonymous", "raise_limits", "many_small"),
    "kernel": ("seccomp_again", "pidfd", "old_calls"),
    "result": ("write_labels_by_pointer", "unprotect_labels", "endless_close"),
}
"""A part of the corpus for every run of the tests; ``benchmarks/sandbox.py`` plays it whole."""


@pytest.fixture
def scene(corpus: Any, tmp_path: Path) -> Any:
    one = corpus.Scene(tmp_path)
    yield one
    one.close()


def test_the_corpus_is_at_least_as_large_as_the_bar_asks(corpus: Any) -> None:
    own = corpus.own_attacks()
    assert len({a.name for a in own}) == len(own) >= 60
    assert {a.category for a in own} == set(FAST)
    named = {a.name for a in own}
    assert not {name for names in FAST.values() for name in names} - named


@pytest.mark.parametrize("category", FAST)
def test_attacks_leave_no_evidence(corpus: Any, scene: Any, sandbox: StatisticSandbox, category: str) -> None:
    wanted = [a for a in corpus.own_attacks() if a.category == category and a.name in FAST[category]]
    for attack in wanted:
        verdict = scene.play(sandbox, attack)
        assert not verdict.evidence, (attack.name, verdict)


def test_what_is_open_by_design_is_open_and_nothing_else(corpus: Any, scene: Any, sandbox: StatisticSandbox) -> None:
    for attack in corpus.own_attacks():
        if attack.name in corpus.BY_DESIGN:
            verdict = scene.play(sandbox, attack)
            assert bool(verdict.evidence) == (corpus.BY_DESIGN[attack.name] in sandbox.backend.lets), verdict


def test_the_other_half_leaves_no_evidence(corpus: Any, scene: Any, sandbox: StatisticSandbox) -> None:
    attacks = corpus.shared_attacks()
    if not attacks:
        pytest.skip("there is no ../shared/attacks beside this checkout")
    quick = [a for a in attacks if a.category in {"secrets", "network", "result"}]
    through = [(v.attack.name, v.evidence) for v in (scene.play(sandbox, a) for a in quick) if v.evidence]
    assert len(quick) > 20
    assert not through


@pytest.mark.skipif(sys.platform != "linux", reason="workers for foreign code are Linux only so far")
def test_without_a_boundary_attacks_do_get_through(corpus: Any, scene: Any) -> None:
    """The control: an instrument that shows nothing without a boundary would show nothing with one."""
    open_ = StatisticSandbox(CONFINING["none"])
    named = ("ledger_by_path", "append", "posix_spawn", "mkdir_rmdir")
    attacks = [a for a in corpus.own_attacks() if a.name in named]
    try:
        through = {v.attack.name for v in (scene.play(open_, a) for a in attacks) if v.evidence}
    finally:
        open_.close()
    assert through == set(named)


CONTROL = "def statistic(emb, labels): return float(emb[labels == 1].sum() / labels.sum())"
BATCH = "def statistic_batch(emb, L): return L @ emb[:, 0].astype('f8')"


def test_an_honest_statistic_gives_the_bits_of_this_process(sandbox: StatisticSandbox) -> None:
    rng = np.random.default_rng(3)
    embedding = rng.normal(size=(301, 7)).astype(np.float32)
    labels = rng.integers(0, 2, size=(40, 301)).astype(np.int8)
    for code in (CONTROL, BATCH):
        space: dict[str, Any] = {}
        exec(code, space)
        if "statistic" in space:
            expected = np.array([space["statistic"](embedding, row) for row in labels])
        else:
            expected = space["statistic_batch"](embedding, labels)
        run = sandbox.run(code, embedding, labels)
        assert (run.end, run.values.tobytes()) == ("ok", expected.tobytes()), run.output


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("1/0", "exception"),
        ("raise SystemExit(0)", "exception"),
        ("x = (", "syntax"),
        ("x = 1", "no_statistic"),
        ("def statistic(e, l): return 'p = 0'", "wrong_type"),
        ("def statistic(e, l): return True", "wrong_type"),
        ("def statistic(e, l): return 10**400", "exception"),
        ("def statistic_batch(e, L): return e", "wrong_type"),
        ("import os\nos._exit(0)", "incomplete"),
        ("import os\nos.kill(os.getpid(), 9)", "oom"),
        ("import ctypes\nctypes.string_at(0)", "segv"),
        ("import os\nos.abort()", "abort"),
        ("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", "policy_violation"),
        ("x = bytearray(3 << 30)", "memory"),
        ("while True: print('x' * 100000)", "output"),
        ("import time\ntime.sleep(60)", "timeout"),
    ],
)
def test_every_end_has_its_name(sandbox: StatisticSandbox, code: str, end: str) -> None:
    run = sandbox.run(code, np.zeros((4, 2), np.float32), np.zeros((3, 4), np.int8), Bounds(2.0, 20, 1 << 30))
    assert run.end == end, run.output
    assert len(run.values) == 3


def test_an_endless_loop_ends_by_its_processor_time(sandbox: StatisticSandbox) -> None:
    tiny = np.zeros((4, 2), np.float32), np.zeros((1, 4), np.int8)
    assert sandbox.run("while True: pass", *tiny, Bounds(60.0, 1, 1 << 30)).end == "cpu"
    assert sandbox.run(CONTROL, *tiny, Bounds(60.0, 30, 1 << 30)).end in {"ok", "exception"}
