"""Exports read back as the rows they came from, and say which ledger they came from."""

import csv
import io
import json
from dataclasses import replace

import pandas as pd

from hyposcreen.agent.ledger.export import COLUMNS, HEAD_COLUMNS, export, row_to_json, to_pandas, write_csv

ISSUE_KEYS = {
    "id", "iteration", "family", "test", "claim", "verdict", "route", "statistic", "effect", "null_mean", "k", "m",
    "p_raw", "p_scan", "q_bh", "p_confirm", "p_confirm_adj", "n_genes", "null", "spec_sha256", "cache_digest",
}  # fmt: skip


def text(ledger, format):
    out = io.StringIO(newline="")
    head = export(ledger, format, out)
    assert head == ledger.head()
    return out.getvalue()


def test_a_row_has_the_keys_that_were_asked_for(full):
    assert set(row_to_json(full.rows()[0])) >= ISSUE_KEYS
    assert tuple(row_to_json(full.rows()[0])) == COLUMNS


def test_json_holds_head_and_rows(full):
    document = json.loads(text(full, "json"))
    assert document["rows"] == [row_to_json(row) for row in full.rows()]
    assert document["head"]["hash"] == full.head().hash


def test_jsonl_is_a_row_a_line(full):
    lines = [json.loads(line) for line in text(full, "jsonl").splitlines()]
    assert [line["id"] for line in lines] == ["H0001", "H0002", "H0003", "H0004"]
    assert {line["ledger_head"] for line in lines} == {full.head().hash}


def test_csv_is_read_by_pandas_without_options(full):
    frame = pd.read_csv(io.StringIO(text(full, "csv")))
    assert tuple(frame.columns) == (*COLUMNS, *HEAD_COLUMNS)
    assert list(frame["p_scan"])[:2] == [row.p_scan for row in full.rows()[:2]]
    assert frame["p_scan"].isna().tolist() == [False, False, False, True]
    assert json.loads(frame["views"][0]) == list(full.rows()[0].views)
    assert set(frame["ledger_seq"]) == {full.head().seq}


def test_empty_ledgers_export_too(ledger):
    assert json.loads(text(ledger, "json"))["rows"] == []
    assert text(ledger, "jsonl") == ""
    assert len(text(ledger, "csv").splitlines()) == 1
    assert tuple(to_pandas(()).columns) == COLUMNS


def test_a_claim_cannot_become_a_formula_and_keeps_its_lines(full):
    row = replace(full.rows()[0], claim='=HYPERLINK("x")', rationale='two\nlines, "quoted"', statistic_hex="-0x1.8p+1")
    out = io.StringIO(newline="")
    write_csv([row], full.head(), out)
    read = next(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert read["claim"] == '\'=HYPERLINK("x")'
    assert read["rationale"] == 'two\nlines, "quoted"'
    assert read["statistic_hex"] == "-0x1.8p+1"
    assert row_to_json(row)["claim"].startswith("=")


def test_data_frames_have_the_same_dtypes_however_many_rows(full):
    frame = to_pandas(full.rows(), full.head())
    assert tuple(frame.columns) == COLUMNS
    assert dict(frame.dtypes) == dict(to_pandas(()).dtypes)
    assert frame["k"].tolist()[:2] == [4, 0]
    assert frame["k"].isna().tolist() == [False, False, False, True]
    assert frame.attrs["head"]["seq"] == full.head().seq
