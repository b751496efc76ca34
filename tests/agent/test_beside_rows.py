"""What is printed beside a row: interval and baselines. From the worker to the ledger, the command line and the exports."""

import csv
import io
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from hyposcreen.agent import policy
from hyposcreen.agent.explore import explore_job
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.ledger.export import export, to_pandas
from hyposcreen.agent.project import Side
from hyposcreen.agent.sandbox.worker import Bench
from hyposcreen.cli import main
from hyposcreen.hypotheses.spec import Proposal
from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.uncertainty import MISSING


def registered(project: Any, test: str, annotation: str) -> rec.Registered:
    said = Proposal(test, annotation, "all", "all", "a claim", 0.5, "greater", "why", "cover")
    spec = project.grammar.check(said)
    return rec.Registered(
        "H0001", 1, 0, "a claim", CATALOGUE[test].family, test, annotation, "claim", spec.to_json(), spec.sha256,
        spec.novelty_sha256, 0.5, "greater", "why", "cover",
    )  # fmt: skip


def test_every_row_has_an_interval_or_says_why_not(finished: Any) -> None:
    rows = [row for row in finished.ledger.rows() if row.m]
    assert rows
    for row in rows:
        if row.interval_missing:
            assert row.interval_missing in MISSING
            assert (row.effect_low, row.effect_high, row.interval_level, row.interval_units) == (None,) * 4
        else:
            assert row.effect_low < row.effect_high
            assert row.effect_low - 1e-6 <= row.effect <= row.effect_high + 1e-6
            assert (row.interval_level, bool(row.interval_method)) == (0.95, True)
    assert any(not row.interval_missing for row in rows)
    assert all(bool(row.baselines) == (row.family == "classifier") for row in rows)
    assert all(set(row.companions) >= {"gene_label", "stratified", "family_block"} for row in rows)


def test_a_worker_gives_intervals_and_baselines_to_exploration_and_the_same_bits_twice(finished: Any) -> None:
    plan = finished.ledger.run()
    for test, annotation in (("role_classifier", "housekeeping"), ("cohesion", "housekeeping")):
        job = explore_job(finished.project, plan, registered(finished.project, test, annotation))
        first, _ = Bench().answer(job.to_json())
        second, _ = Bench().answer(json.loads(json.dumps(job.to_json())))
        assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
        assert (
            set(first["intervals"])
            == set(first["baselines"])
            == {n["subsets"]["H0001"]["best"] for n in first["nulls"].values()}
        )
        found = next(iter(first["baselines"].values()))
        assert list(found) == (["norm", "expression and detection", "degree"] if test == "role_classifier" else [])
        whole, vectors = Bench().answer(replace(job, vectors=True).to_json())
        assert vectors and "intervals" not in whole and "baselines" not in whole


def test_only_a_classifier_is_told_how_studied_genes_are_and_never_by_its_own_label(finished: Any) -> None:
    plan, project = finished.ledger.run(), finished.project
    job = explore_job(project, plan, registered(project, "role_classifier", "b_cells"))
    assert set(job.studied) == {"other annotations", "other degree"}
    members = set(job.entity["members"]) - set(project.entity("t_cells", Side.EXPLORE)["members"])
    with_own = project.studied_besides("t_cells")["other annotations"]
    assert members
    assert all(with_own[i] == job.studied["other annotations"][i] + 1 for i in members)
    assert explore_job(project, plan, registered(project, "cohesion", "housekeeping")).studied == {}


def test_neither_decides_anything(finished: Any) -> None:
    """The verdict and the promoted list of results whose interval and baselines say the opposite are the same."""
    plan = finished.ledger.run()
    rows = finished.ledger.records(rec.Registered)
    tested = {t.id: t for t in finished.ledger.records(rec.Tested)}
    other = {
        id_: replace(t, effect_low=-9.0, effect_high=-8.0, interval_missing="few_clusters", baselines={"norm": 1.0})
        for id_, t in tested.items()
    }
    assert policy.promote(plan, rows, other) == policy.promote(plan, rows, tested)


def test_the_ledger_shows_and_exports_them(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    row = next(r for r in finished.ledger.rows() if r.m and not r.interval_missing)
    main(["ledger", "show", row.id, "-C", str(finished.project.folder)])
    shown = {
        name: value.strip() for name, _, value in (li.partition(" ") for li in capsys.readouterr().out.splitlines())
    }
    assert float(shown["effect_low"]) == row.effect_low
    assert shown["interval_method"] == row.interval_method
    assert json.loads(shown["companions"]) == row.companions
    main(["ledger", "show", row.id, "--json", "-C", str(finished.project.folder)])
    as_json = json.loads(capsys.readouterr().out)
    assert (as_json["effect_low"], as_json["effect_high"]) == (row.effect_low, row.effect_high)
    out = io.StringIO(newline="")
    export(finished.ledger, "csv", out)
    lines = {line["id"]: line for line in csv.DictReader(io.StringIO(out.getvalue()))}
    assert float(lines[row.id]["effect_high"]) == row.effect_high
    for name in ("checks", "companions", "baselines"):
        assert json.loads(lines[row.id][name]) == getattr(row, name)
    frame = to_pandas(finished.ledger.rows())
    assert str(frame.dtypes["effect_low"]) == "float64" and str(frame.dtypes["interval_units"]) == "Int64"


def test_a_result_of_an_older_ledger_has_neither(finished: Any) -> None:
    (result, *_) = finished.ledger.records(rec.Tested)
    new = {
        "effect_low",
        "effect_high",
        "interval_level",
        "interval_method",
        "interval_units",
        "interval_missing",
        "baselines",
    }
    assert new < {f.name for f in fields(rec.Tested)}
    old = rec.Tested.from_content({k: v for k, v in result.to_content().items() if k not in new})
    assert (old.effect_low, old.interval_missing, old.baselines) == (None, "", {})
