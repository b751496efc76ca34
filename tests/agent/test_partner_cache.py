"""A partner cache and mean attention, from the settings to verdicts and a replay."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent import session
from hyposcreen.agent.config import load_config
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import MIN_COMMON, Project, Side, open_project
from hyposcreen.agent.sandbox.brought import attention_by_layer, bring
from hyposcreen.agent.sandbox.worker import Bench
from hyposcreen.embeddings_cache.genes import GeneTable
from hyposcreen.embeddings_cache.store import SHIPPED, STORE, open_cache, write_cache
from hyposcreen.hypotheses.spec import Proposal
from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.spaces import Geometry

TESTS = ("cross_cache_neighbours", "cross_cache_cka", "attention_geometry")


class Says:
    """Proposes one test after the other of two gene sets."""

    name = "offline"

    def propose(self, digest: Any, number: int) -> list[Proposal]:
        test = TESTS[digest.iteration - 1]
        return [
            Proposal(test, a, "all", "all", f"{test} of {a}", 0.5, "either", "", "cover")
            for a in ("b_cells", "t_cells")
        ]


def with_attention(folder: Path) -> Path:
    """The small cache again, with mean attention among most of its genes; some pairs were never read together."""
    cache = open_cache(folder / STORE / "small")
    rng = np.random.default_rng(3)
    chosen = np.sort(rng.choice(cache.n_genes, cache.n_genes - 20, replace=False))
    attention = rng.random((cache.n_layers - 1, len(chosen), len(chosen))).astype(np.float32)
    attention[:, :5, 7] = np.nan
    arrays = {"attention": attention, "attention_rows": chosen}
    write_cache(
        folder / STORE / "attentive", layers=cache.layers, genes=cache.genes, manifest={"model": "test"}, extras=arrays
    )
    return folder


@pytest.fixture(scope="module")
def folder(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the three tests."""
    made = with_attention(small.make_project_folder(tmp_path_factory.mktemp("partner") / "p"))
    settings = {
        "cache": "attentive",
        "partner": "demo-random-init",
        "iterations": 3,
        "per_iteration": 2,
        "promote_p": 1.0,
    }
    small.write_settings(made, **settings)
    small.run_loop(made, Says(), small.InProcess())
    return made


def opened(folder: Path, **changes: Any) -> Project:
    return open_project(folder, load_config(folder, changes, {}))


def test_all_three_are_tested_promoted_and_judged_by_sealed_genes(folder: Path, small: Any) -> None:
    with small.Ledger.open_readonly(folder / "runs.db") as ledger:
        rows = ledger.records(rec.Registered)
        assert [h.test for h in rows] == [test for test in TESTS for _ in range(2)]
        tested = ledger.records(rec.Tested)
        assert [t.status for t in tested] == ["ok"] * 6
        assert {v["layer"] for v in tested[4].views} == {"L1", "L2"}  # attention begins with the first block
        judged = {r.id for r in ledger.records(rec.LookResult) if r.route == "H" and r.status == "ok"}
        assert {h.test for h in rows if h.id in judged} == set(TESTS)
        assert not [r for r in ledger.records(rec.LookResult) if r.route == "U"]
        (plan,) = ledger.records(rec.RunOpened)
        assert plan.cache["partner"] == f"demo-random-init {open_cache(SHIPPED['demo-random-init']).digest}"


def test_the_run_replays_bit_for_bit_and_only_with_its_partner(
    folder: Path, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "open_executor", lambda *_: small.in_process(small.InProcess()))
    every = list(session.replay_rows(folder, None, None, 1, Progress(quiet=True)))
    assert [one.outcome for one in every] == ["identical"] * 6
    assert all({"explore", "verdict"} <= set(one.checked) for one in every)
    assert sum("H" in one.checked for one in every) >= len(TESTS)
    monkeypatch.setenv("SCREEN_PARTNER", "demo")
    with pytest.raises(UserError, match="partner: demo-random-init"):
        list(session.replay_rows(folder, None, None, 1, Progress(quiet=True)))


def test_without_them_nothing_is_offered_and_the_grammar_is_as_it_was(folder: Path) -> None:
    plain, joined = opened(folder, cache="small", partner=""), opened(folder, cache="small")
    assert plain.brings == {}
    assert not {k.name for k, _ in plain.grammar.combinations} & set(TESTS)
    assert {k.name for k, _ in joined.grammar.combinations} & set(TESTS) == set(TESTS[:2])
    assert set(opened(folder).brings) == {"partner", "attention"}
    assert "partner" not in plain.cache_facts()


def test_another_attention_is_another_universe(folder: Path) -> None:
    before = opened(folder)
    twin = opened(folder)
    twin.cache.manifest["files"]["attention.npy"] = "0" * 64
    assert twin.grammar.digest != before.grammar.digest


def test_a_partner_must_be_another_cache_with_genes_in_common(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the cache 'attentive' itself"):
        opened(folder, partner="attentive")
    with pytest.raises(UserError, match="there is no cache 'nowhere'"):
        opened(folder, partner="nowhere")
    n = 60
    ones, rng = np.ones(n), np.random.default_rng(0)
    genes = GeneTable(tuple(f"NEW{i}" for i in range(n)), np.full(n, 9), ones, ones / 2, ones, ("",) * n)
    far = write_cache(tmp_path / "far", layers=[rng.random((n, 8))], genes=genes, manifest={"model": "test"})
    with pytest.raises(UserError, match=f"shares 0 usable genes.*{MIN_COMMON} or more"):
        opened(folder, partner=str(far.path))


def test_attention_comes_by_gene_and_layer(folder: Path) -> None:
    cache = open_cache(folder / STORE / "attentive")
    rows, kept = cache.extra("attention_rows"), cache.extra("attention")
    universe = np.arange(3, 90, 2)
    tables = attention_by_layer(cache, universe)
    assert list(tables) == [1, 2]
    place = {int(row): i for i, row in enumerate(rows)}
    for q, table in tables.items():
        for i in (0, 7, 30):
            for j in range(len(universe)):
                a, b = place.get(int(universe[i])), place.get(int(universe[j]))
                known = a is not None and b is not None and not np.isnan(kept[q - 1, a, b])
                assert table[i, j] == (round(float(kept[q - 1, a, b]) * 2**30) if known else 0)


def test_a_job_without_a_partner_says_so(folder: Path) -> None:
    project = opened(folder, cache="small", partner="")
    kind = CATALOGUE["cross_cache_cka"]
    rows = project.rows(Side.EXPLORE, None)
    geometry = Geometry(project.cache.layers, rows, rows, (), 5)
    with pytest.raises(ValueError, match="cross_cache_cka needs a partner cache"):
        bring(geometry, kind, project.cache, None)


def test_a_worker_never_takes_the_tables_of_another_partner(folder: Path) -> None:
    bench = Bench()
    found = []
    for partner in ("demo-random-init", "demo", "demo-random-init"):
        project = opened(folder, cache="small", partner=partner)
        job = project.job(
            "cross_cache_neighbours", "b_cells", Side.EXPLORE, subsets={"x": ("all", "all")}, nulls=("gene_label",), m=19,
            seed=1, vectors=True,
        )  # fmt: skip
        value, _ = bench.answer(job.to_json())
        found.append([view["effect"] for view in value["nulls"]["gene_label"]["subsets"]["x"]["views"]])
    assert found[0] == found[2] != found[1]
    assert min(found[1]) > max(found[0])  # the small cache is cut from the demo: far more neighbours are kept
