"""What the page says and carries, without a page."""

import base64
import dataclasses
import json
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.agent.ledger.records import Row
from hyposcreen.agent.report import ReportData
from hyposcreen.agent.report.audits import audit_lines, read_audits
from hyposcreen.agent.report.encode import (
    ALPHABET,
    COARSER,
    Packer,
    column,
    compact,
    float_column,
    id_column,
    prose_column,
    short_digest,
    significant,
    spec_columns,
)
from hyposcreen.agent.report.model import exact_p, page_json
from hyposcreen.agent.report.panels import calibration, coverage, histograms
from hyposcreen.agent.report.words import confirmed_rows, facts, overview

Make = Callable[..., Any]


def places(letters: str | list[int], n: int) -> list[int]:
    if isinstance(letters, list):
        return letters
    width = len(letters) // n if n else 1
    codes = [ALPHABET.index(c) for c in letters]
    if width == 2:
        codes = [high * 64 + low for high, low in zip(codes[::2], codes[1::2], strict=True)]
    return [-1 if code == 64**width - 1 else code for code in codes]


def decoded(encoded: Any, n: int) -> list[Any]:
    """The inverse that ``core.js`` is."""
    if isinstance(encoded, list):
        return encoded
    if "w" in encoded:
        return ["".join(encoded["w"].get(c, c) for c in text) for text in decoded(encoded["v"], n)]
    if "c" in encoded:
        return [encoded["c"]] * n
    if "h" in encoded:
        return [f"H{encoded['h'] + i:04d}" for i in range(n)]
    for key, letter in (("f", "f"), ("g", "d")):
        if key in encoded:
            numbers = struct.unpack(f"<{n}{letter}", base64.b64decode(encoded[key]))
            return [None if math.isnan(v) else v for v in numbers]
    return [encoded["d"][place] for place in places(encoded["i"], n)]


_NUMBER = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(_NUMBER, min_size=1, max_size=60))
def test_packed_numbers_keep_six_digits_or_every_bit(values: list[float | None]) -> None:
    known = [None if v is None or not math.isfinite(v) else v for v in values]
    assert decoded(float_column(values, exact=True), len(values)) == known
    for value, back in zip(known, decoded(float_column(values), len(values)), strict=True):
        assert back == (None if value is None else pytest.approx(value, rel=6e-6, abs=0))


def test_numbers_that_repeat_stay_readable_and_others_are_packed() -> None:
    assert float_column([0.5] * 40) == {"c": 0.5}
    assert "f" in float_column([i / 7 for i in range(40)])
    assert "g" in float_column([i / 7 for i in range(40)], exact=True)
    assert float_column([1e300, 2.0]) == [1e300, 2], "beyond what float32 holds"


def test_ids_that_count_up_are_one_number() -> None:
    assert decoded(id_column(["H0007", "H0008"]), 2) == ["H0007", "H0008"]
    assert id_column(["H0007", "H0008"]) == {"h": 7}
    assert id_column(["H0007", "H0009"]) == ["H0007", "H0009"]
    assert decoded(id_column(["H9999", "H10000"]), 2) == ["H9999", "H10000"]
    assert id_column([]) == []


@given(st.lists(st.none() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_column_loses_nothing(values: list[Any]) -> None:
    assert decoded(column(values), len(values)) == values


def test_a_column_with_many_distinct_values_loses_nothing() -> None:
    values = [f"a rather long value {i % 500}" for i in range(2000)]
    assert decoded(column(values), 2000) == values
    assert len(compact(column(values))) < len(compact(values)) / 3
    many = [f"value {i % 5000}" for i in range(20_000)]
    assert decoded(column(many), 20_000) == many


@given(st.lists(st.text(alphabet="ab ĀāЀ·</>", max_size=30)))
def test_prose_loses_nothing_even_where_it_uses_the_letters_of_the_code(texts: list[str]) -> None:
    texts = [*texts, *["genes separate from the other genes Ā"] * 5]
    assert decoded(prose_column(texts), len(texts)) == texts


def test_a_key_that_a_spec_lacks_stays_missing() -> None:
    specs = [{"a": 1, "b": None}, {"a": 1}, {"c": ["x"]}]
    columns = spec_columns(specs)
    back = [{k: c["d"][p] for k, c in columns.items() if (p := places(c["i"], 3)[i]) >= 0} for i in range(3)]
    assert back == specs


def test_a_digest_is_shortened_and_other_text_is_kept() -> None:
    assert len(short_digest("0f" * 32)) == 43
    assert short_digest("not a digest") == "=not a digest"


def test_views_are_drawn_within_a_thousandth_of_their_range(row_of: Make) -> None:
    row = row_of(1, test="axis_separation")
    packer = Packer()
    packed = packer.pack(row.views, row.best_view)
    assert packed is not None
    grid, group, low, step, effects, base, nulls, others = packed
    layers, coordinates, layer, place = packer.grids[grid]
    shown = [(layers[q], coordinates[c]) for q, c in zip(layer, place, strict=True)]
    assert shown == [(view["layer"], view["coordinate"]) for view in row.views]
    assert row.best_view.endswith(coordinates[group])
    fine = [view for view, c in zip(row.views, place, strict=True) if c == group or len(layers) == 1]
    rest = [view for view, c in zip(row.views, place, strict=True) if c != group and len(layers) > 1]
    values = [v for view in row.views for v in (view["effect"], view["null_mean"])]
    tolerance = (max(values) - min(values)) / 1000
    for view, e, m in zip(fine, places(effects, len(fine)), places(nulls, len(fine)), strict=True):
        assert low + e * step == pytest.approx(view["effect"], abs=tolerance)
        assert base + m * step == pytest.approx(view["null_mean"], abs=tolerance)
    for view, e in zip(rest, places(others, len(rest)), strict=True):
        assert low + e * step * COARSER == pytest.approx(view["effect"], abs=10 * tolerance)


def test_views_that_never_vary_or_are_not_finite_are_packed() -> None:
    view = {"layer": "L0", "coordinate": "cosine", "effect": 0.5, "null_mean": 0.5}
    assert Packer().pack([view], "L0·cosine") is not None
    broken = Packer().pack([{**view, "effect": math.nan}, {**view, "layer": "L1"}], None)
    assert broken is not None
    assert places(broken[4], 2) == [-1, 0]
    assert Packer().pack((), None) is None


@given(st.integers(1, 10**6).flatmap(lambda m: st.tuples(st.just(m), st.integers(0, m))))
def test_a_permutation_p_is_kept_exactly_as_its_k(given_m_k: tuple[int, int]) -> None:
    m, k = given_m_k
    assert exact_p((k + 1) / (m + 1), m) == k


def test_any_other_p_is_kept_as_its_decimal() -> None:
    assert exact_p(0.012345678901234567, 1999) == repr(0.012345678901234567)
    assert exact_p(0.5, None) == "0.5"
    assert exact_p(0.0, 99) == "0.0"
    assert exact_p(None, 99) is None


def test_numbers_are_rounded_for_display() -> None:
    assert significant(0.123456789) == 0.123457
    assert significant(14.0) == 14
    assert significant(math.nan) is None
    assert significant(None) is None


def test_the_json_gives_back_every_row(data_of: Make) -> None:
    data = data_of(120)
    page = json.loads(compact(page_json(data)))
    columns = {name: decoded(encoded, page["n"]) for name, encoded in page["columns"].items()}
    for i, row in enumerate(data.rows):
        assert (columns["id"][i], columns["claim"][i], columns["rationale"][i]) == (row.id, row.claim, row.rationale)
        k = columns["p_scan"][i]
        assert (None if k is None else (k + 1) / (row.m + 1)) == row.p_scan


def test_the_json_carries_what_stands_beside_the_numbers(data_of: Make) -> None:
    data = data_of(90)
    page = json.loads(compact(page_json(data)))
    get = {name: decoded(encoded, page["n"]) for name, encoded in page["columns"].items()}
    assert set(page["missing"]) == {row.interval_missing for row in data.rows if row.interval_missing}
    for i, row in enumerate(data.rows):
        assert get["nulls"][i] == list(row.companions)
        assert get["null_k"][i] == [found["k"] for found in row.companions.values()]
        assert get["null_m"][i] == [found["m"] for found in row.companions.values()]
        assert get["effect_low"][i] == (None if row.effect_low is None else pytest.approx(row.effect_low, rel=1e-5))
        assert get["interval_method"][i] == row.interval_method
        assert set(get["baselines"][i] or {}) == set(row.baselines)
        assert get["notes"][i] == "\n".join(row.checks.get("notes", ()))
        nulls, covariates = get["balanced"][i]
        flat = [100 * row.checks["balance"][null][c] for null in nulls for c in covariates]
        assert get["balance"][i] == pytest.approx(flat, abs=0.5001)


def test_a_k_that_p_does_not_tell_is_carried(data_of: Make, row_of: Make) -> None:
    data = data_of(5)
    assert "k" not in page_json(data)["columns"]
    odd = row_of(6, k=3, p_scan=0.0123)
    columns = page_json(dataclasses.replace(data, rows=(*data.rows, odd)))["columns"]
    assert decoded(columns["k"], 6)[-1] == 3


# audits


def world(plan: str, number: int, *confirmed: str, **of: Any) -> str:
    found = {"plan": plan, "number": number, "rows": 30, "confirmed": list(confirmed)}
    return json.dumps(found | ({"of": of} if of else {}))


def test_audit_lines_count_worlds_a_plan_with_the_exact_interval() -> None:
    of = {"kind": "null", "proposer": "greedy", "iterations": 10, "alpha": 0.05, "cache_digest": "c" * 64}
    lines = [world("p", n, *(["H0001"] if n == 3 else []), **of) for n in range(1, 41)]
    (one,) = audit_lines([*lines, lines[2]])
    assert (one.kind, one.proposer, one.iterations, one.alpha) == ("null", "greedy", 10, 0.05)
    assert (one.worlds, one.false, one.hypotheses) == (40, 1, 1200), "a world that stands there twice counts once"
    assert (one.low, one.high) == pytest.approx((0.000632759, 0.131585), rel=1e-4)  # R: binom.test(1, 40)


def test_audit_lines_pass_over_what_is_no_world_and_keep_older_worlds_apart() -> None:
    older = world("q", 1)
    found = audit_lines(["", "{", "[]", '{"plan": "p"}', older, world("p", 1, kind="planted", proposer="offline")])
    assert [(a.kind, a.proposer, a.worlds) for a in found] == [
        ("not recorded", "not recorded", 1),
        ("planted", "offline", 1),
    ]
    assert (found[0].iterations, found[0].alpha) == (None, None)


def test_a_project_without_an_audit_has_no_lines(tmp_path: Path) -> None:
    assert read_audits(tmp_path) == ()
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.jsonl").write_text(world("p", 1) + "\n" + world("p", 2)[:-9], encoding="utf-8")
    assert [a.worlds for a in read_audits(tmp_path)] == [1]


def test_a_finished_run_states_its_error_rate(data_of: Make) -> None:
    data = data_of()
    said = overview(data)
    claims = sum(row.role == "claim" and row.verdict == "confirmed" for row in data.rows)
    assert said.headline == f"{claims} claims are confirmed among 189 hypotheses."
    assert said.error_rate.startswith(
        "P(any false confirmation in this run) ≤ 0.05, although the proposer chose the tests after seeing results."
    )
    assert "0.025" in said.error_rate
    assert "claims nothing" in said.explored
    assert "distinct pairs of test and annotation" in said.explored
    assert not said.notices
    assert said.positive.confirmed > 0
    assert sum(n for _, _, n in said.counts) == 189


def test_an_unfinished_run_claims_nothing(data_of: Make) -> None:
    data = data_of(40, complete=False)
    rows = (dataclasses.replace(data.rows[0], verdict="confirmed"), *data.rows[1:])
    data = dataclasses.replace(data, rows=rows)
    said = overview(data)
    assert said.notices == ("This run is unfinished. Nothing is claimable yet: held-out genes are still sealed.",)
    assert "P(any" not in said.error_rate
    assert confirmed_rows(data) == ()
    assert said.positive.confirmed == said.negative.confirmed == 0
    assert calibration(data) == ()
    assert not any(cell.confirmed for line in coverage(data).cells for cell in line)


def test_a_look_that_is_open_is_not_called_sealed(data_of: Make) -> None:
    said = overview(dataclasses.replace(data_of(60), complete=False))
    assert "has begun and is not closed" in said.notices[0]


def test_a_confirmed_negative_control_is_a_warning(data_of: Make) -> None:
    data = confirm_one(data_of(), "negative_control")
    said = overview(data)
    assert said.negative.confirmed == 1
    assert said.negative.names[0] in said.warnings[0]
    assert "Doubt every claim" in said.warnings[0]
    assert confirmed_rows(data)[-1].role == "negative_control"


def confirm_one(data: ReportData, role: str) -> ReportData:
    rows = list(data.rows)
    index = next(i for i, row in enumerate(rows) if row.role == role and row.p_scan is not None)
    rows[index] = dataclasses.replace(rows[index], verdict="confirmed", route="U", p_confirm_adj=0.01)
    return dataclasses.replace(data, rows=tuple(rows))


def test_no_claim_is_said_in_words(data_of: Make, row_of: Make) -> None:
    rows: tuple[Row, ...] = tuple(row_of(i, role="claim", verdict="screened") for i in range(1, 4))
    assert overview(dataclasses.replace(data_of(0), rows=rows)).headline == "No claim is confirmed among 3 hypotheses."


def test_a_ledger_without_a_run(data_of: Make) -> None:
    data = dataclasses.replace(data_of(0, complete=False), run=None)
    assert overview(data).headline == "This ledger holds no run."
    assert facts(data) == ()


def test_facts_of_a_cache_that_says_little(data_of: Make) -> None:
    data = data_of(3)
    assert data.run is not None
    bare = dataclasses.replace(data.run, cache={}, split={}, universe={})
    assert dict(facts(dataclasses.replace(data, run=bare)))["Genes"] == "–"


def test_p_values_on_a_bin_edge_belong_to_the_lower_bin(row_of: Make) -> None:
    rows = [row_of(i + 1, role="claim", p_scan=(i + 1) / 20) for i in range(20)]
    (histogram,) = histograms(rows)
    assert histogram.counts == (1,) * 20
    assert histogram.expected == 1


def test_histograms_are_split_by_role(data_of: Make) -> None:
    data = data_of()
    labels = [h.label for h in histograms(data.rows)]
    assert labels == ["claim", "positive control", "negative control"]
    tested = sum(row.p_scan is not None for row in data.rows)
    assert sum(sum(h.counts) for h in histograms(data.rows)) == tested


def test_coverage_counts_each_hypothesis_once_a_layer(data_of: Make) -> None:
    data = data_of()
    table = coverage(data)
    assert table.layers == ("L0", "L1", "L2", "L3", "L4", "L5", "contrasts")
    axis = table.cells[table.families.index("axis")]
    assert axis[0].scanned == sum(row.family == "axis" and bool(row.views) for row in data.rows)
    confirmed = sum(cell.confirmed for line in table.cells for cell in line)
    assert confirmed == sum(row.verdict == "confirmed" for row in data.rows)


def test_the_page_opens_on_a_confirmed_row(data_of: Make) -> None:
    data = data_of()
    assert data.rows[page_json(data)["start"]].verdict == "confirmed"
    assert page_json(data_of(0))["start"] is None
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", ALPHABET)
