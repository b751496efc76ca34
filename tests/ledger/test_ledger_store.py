"""The ledger keeps what it is told, once, in order, or refuses with a sentence."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.chain import GENESIS
from hyposcreen.agent.ledger.errors import LedgerError
from hyposcreen.agent.ledger.schema import SCHEMA_VERSION
from hyposcreen.agent.ledger.store import Ledger, open_ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.tests_library.online import calibrate, lond, saffron


def sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


def test_an_empty_ledger_has_the_genesis_head(ledger):
    assert ledger.head() == GENESIS
    assert ledger.run() is None
    assert ledger.rows() == ()
    assert list(ledger.entries()) == []
    assert ledger.append() == GENESIS
    assert verify(ledger.path).ok


def test_everything_comes_back_equal_after_reopening(full, make):
    told = make.campaign()
    again = open_ledger(full.path)
    assert [entry.record() for entry in again.entries()] == told
    assert again.records(r.Tested) == tuple(record for record in told if isinstance(record, r.Tested))
    assert again.records(r.Replayed) == (told[-1],)
    assert again.run() == told[0]
    assert again.rejections() == (told[8],)
    assert again.head() == full.head()
    assert again.head().seq == len(told)
    report = verify(full.path, head=full.head().hash)
    assert report.ok, report.problems
    assert report.entries == len(told)


def test_entries_can_be_asked_by_kind_and_from_a_place(full):
    assert [entry.seq for entry in full.entries(after=20)] == [21, 22, 23, 24]
    assert {entry.kind for entry in full.entries(kinds=("verdict", "replay"))} == {"verdict", "replay"}
    assert list(full.entries(kinds=())) == []


def test_pages_do_not_show(ledger, make, monkeypatch):
    ledger.append(*make.campaign())
    rows = ledger.rows()
    monkeypatch.setattr("hyposcreen.agent.ledger.store._PAGE", 3)
    monkeypatch.setattr("hyposcreen.agent.ledger.store._LARGE_PAGE", 3)
    assert [entry.seq for entry in ledger.entries()] == list(range(1, len(make.campaign()) + 1))
    assert ledger.rows() == tuple(ledger.stream()[1]) == rows
    names = ("id", "verdict", "route", "effect", "null_mean", "k", "m", "p_scan", "q_bh", "p_confirm_adj")
    lines = ledger.lines()
    assert [[getattr(line, n) for n in names] for line in lines] == [[getattr(row, n) for n in names] for row in rows]
    assert ledger.lines(limit=2) == lines[:2]
    for verdict in {row.verdict for row in rows}:
        assert [x.id for x in ledger.lines(verdict)] == [row.id for row in rows if row.verdict == verdict]
    assert [ledger.row(row.id) for row in rows] == list(rows)
    ledger.rebuild()
    assert verify(ledger.path, page=3).ok and ledger.rows() == rows


def test_a_stream_tells_of_the_moment_it_was_opened_and_keeps_no_writer_waiting(full, make, monkeypatch):
    monkeypatch.setattr("hyposcreen.agent.ledger.store._PAGE", 1)
    before = full.head(), full.rows()
    head, rows = full.stream()
    read = [next(rows)]
    full.append(r.Reviewed("H0002", "Ann", "invalidate", "a wrong set", "2026-01-01T00:00:00+00:00"))
    full.append(r.AttemptStarted("H0004", 1, "host:1:x late", "2026-01-01T00:00:00+00:00", 60.0))
    assert (head, (*read, *rows)) == before
    assert [row.verdict for row in full.stream()[1]] == ["not_confirmed", "stale", "untestable", "registered"]


def test_batches_and_context_do_not_reach_the_content_head(tmp_path, full, make):
    other = Ledger.create(tmp_path / "other.db")
    told = make.campaign()
    retry = r.AttemptStarted("H0001", 2, "worker-9", "2027-01-01T00:00:00+00:00", 5.0)
    other.append(*told[:3], context={"host": "elsewhere"})
    other.append(retry, *told[5:])
    assert other.head().content_hash == full.head().content_hash
    assert other.head().hash != full.head().hash


def test_context_entries_do_not_move_the_content_head(full):
    before = full.head()
    after = full.append(r.Replayed("H0001", "identical"))
    assert (after.seq, after.content_hash) == (before.seq + 1, before.content_hash)
    assert after.hash != before.hash


def test_any_content_moves_the_content_head(tmp_path, make):
    heads = set()
    for seed in range(3):
        heads.add(Ledger.create(tmp_path / f"{seed}.db").append(make.run_opened(seed=seed)).content_hash)
    assert len(heads) == 3


def test_a_seed_may_be_larger_than_a_database_integer(ledger, make):
    ledger.append(make.run_opened(seed=2**64 - 1))
    assert ledger.run().seed == 2**64 - 1
    assert verify(ledger.path).ok


REPEATS = {
    "hypothesis.id": lambda make: make.registered(2, id="H0001"),
    "hypothesis.novelty_sha256": lambda make: make.registered(2, novelty_sha256=make.registered(1).novelty_sha256),
    "result.id": lambda make: make.tested(1, k=9),
    "iteration.iteration": lambda make: r.IterationClosed(1, 9, 9),
    "one run_opened": lambda make: make.run_opened(seed=8),
}


@pytest.mark.parametrize("named", REPEATS)
def test_what_may_exist_once_is_refused_twice_and_nothing_of_its_batch_stays(named, ledger, make, refused):
    ledger.append(make.run_opened(), make.registered(1), make.tested(1), r.IterationClosed(1, 1, 0))
    before = ledger.head()
    sentence = refused(1, ledger.append, make.registered(7), make.tested(7), REPEATS[named](make))
    assert named in sentence
    assert ledger.head() == before
    assert [row.id for row in ledger.rows()] == ["H0001"]
    assert verify(ledger.path).ok


LOOK = [r.Promoted(("H0001",), "all"), r.LookOpened(1, 0.02, 0.02)]
SHOWN = [*LOOK, r.LookCounted(1, 1, 0, 1.0)]
DISORDER = {
    "without a run": ([], lambda make: make.registered(1), "needs a run_opened"),
    "result without registration": (["run"], lambda make: make.tested(1), "(hypothesis) is not in the ledger"),
    "attempt without registration": (["run"], lambda make: r.AttemptEnded("H0009", 1, "ok", 1.0), "H0009"),
    "look before promotion": (["run", "row"], lambda make: r.LookOpened(1, 0.02, 0.02), "after the promotion"),
    "look result before look": (["run", "row"], lambda make: make.look_result(1, "U", 0.5), "look"),
    "registration after look": (["run", "row", *LOOK], lambda make: make.registered(2), "have been opened"),
    "proposal after look": (["run", "row", *LOOK], lambda make: r.Proposed(1, 1, "x", "x", {}), "have been opened"),
    "second promotion": (["run", "row", LOOK[0]], lambda make: r.Promoted((), "none"), "one promotion"),
    "second look": (["run", "row", *LOOK], lambda make: r.LookOpened(2, 0.02, 0.02), "must be counted"),
    "second look without a list": (
        ["run", "row", *SHOWN],
        lambda make: r.LookOpened(2, 0.02, 0.02),
        "after the promotion",
    ),
    "the same look again": (
        ["run", "row", *SHOWN, r.Promoted((), "none")],
        lambda make: r.LookOpened(1, 0.02, 0.02),
        "look.look",
    ),
    "a row promoted twice": (["run", "row", *SHOWN], lambda make: r.Promoted(("H0001",), "all"), "promotion.id"),
    "count without a look": (["run", "row", LOOK[0]], lambda make: r.LookCounted(1, 1, 0, 1.0), "a look that is open"),
    "a second count": (["run", "row", *SHOWN], lambda make: r.LookCounted(1, 1, 1, 1.0), "a look that is open"),
    "a count of another look": (["run", "row", *LOOK], lambda make: r.LookCounted(2, 1, 1, 1.0), "look"),
    "more confirmed than rows": (
        ["run", "row", *LOOK],
        lambda make: r.LookCounted(1, 1, 2, 1.0),
        "confirmed_counts_rows",
    ),
    "details while the run goes on": (
        ["run", "row", *SHOWN],
        lambda make: make.look_result(1, "H", 0.5),
        "a look that is open",
    ),
    "count after details": (
        ["run", "row", *LOOK, "look result"],
        lambda make: r.LookCounted(1, 1, 0, 1.0),
        "comes too late",
    ),
    "registration after details": (
        ["run", "row", *LOOK, "look result"],
        lambda make: make.registered(2),
        "have been opened",
    ),
    "after the end": (["run", "row", *LOOK, r.RunClosed({})], lambda make: make.tested(1), "run is closed"),
}


@pytest.mark.parametrize("case", DISORDER)
def test_a_run_is_told_in_order_or_not_at_all(case, ledger, make, refused):
    story, wrong, named = DISORDER[case]
    for record in story:
        named_records = {
            "run": make.run_opened, "row": lambda: make.registered(1), "look result": lambda: make.look_result(1, "H", 0.5)
        }  # fmt: skip
        ledger.append(named_records[record]() if isinstance(record, str) else record)
    before = ledger.head()
    assert named in refused(1, ledger.append, wrong(make))
    assert ledger.head() == before


UNSTORABLE = {
    "NaN": (lambda make: make.tested(1, effect=float("nan")), "JSON"),
    "infinity": (lambda make: make.tested(1, statistic=float("inf")), "JSON"),
    "half a character": (lambda make: make.registered(2, claim="a\ud83d"), "U+D83D"),
    "an object": (lambda make: make.registered(2, spec={"x": object()}), "JSON"),
    "a word for a number": (lambda make: make.tested(1, m="99"), "result.m must be int"),
    "a number for a word": (lambda make: make.registered(2, family=5), "hypothesis.family must be str"),
    "p = 0": (lambda make: make.tested(1, p_scan=0.0), "p_scan_is_a_p_value"),
    "k > m": (lambda make: make.tested(1, m=3), "k_counts_draws"),
    "65 bits": (lambda make: make.tested(1, n_genes=2**64), "64 bits"),
    "a view without its layer": (lambda make: make.tested(1, views=({"z": 1.0},)), "layer"),
    "a view with more": (lambda make: make.tested(1, views=({"colour": 1.0},)), "colour"),
    "a cache without digest": (lambda make: make.run_opened(cache={}), "digest"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_a_value_that_cannot_be_kept_is_refused_by_name(case, ledger, make, refused):
    record, named = UNSTORABLE[case]
    wrong = record(make)
    if wrong.KIND != "run_opened":
        ledger.append(make.run_opened(), make.registered(1))
    before = ledger.head()
    assert named in refused(1, ledger.append, wrong)
    assert ledger.head() == before


def test_reserved_context_keys_are_refused(ledger, make, refused):
    assert "'at'" in refused(1, ledger.append, make.run_opened(), context={"at": "now"})


def test_a_reader_cannot_write(full, make, refused):
    assert "reading only" in refused(1, open_ledger(full.path).append, make.registered(9))


def test_entries_cannot_be_changed_even_by_sqlite_itself(full):
    statements = ["UPDATE entry SET kind = 'x'", "DELETE FROM entry WHERE seq = 24"]
    for statement in statements:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sql(full.path, statement)
    replace_ = "INSERT OR REPLACE INTO entry SELECT seq, 'x', content, context, prev, hash, content_hash FROM entry"
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        sql(full.path, "PRAGMA recursive_triggers = ON", replace_)


def test_the_writer_sets_the_pragmas_it_promises(ledger):
    with ledger.database._writer.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
        }
    assert found == {
        "journal_mode": "delete", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1, "busy_timeout": 5000,
    }  # fmt: skip
    assert all(strict for *_, strict in sql(ledger.path, "PRAGMA table_list") if not _[1].startswith("sqlite_"))


# Files that are no ledger, or not one for us.


def test_a_missing_file_is_named(tmp_path, refused):
    for opener in (Ledger.open, Ledger.open_readonly, open_ledger, verify):
        assert "there is no ledger at" in refused(5, opener, tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_folder_and_an_empty_file_are_named(tmp_path, refused):
    assert "is not a file" in refused(5, Ledger.open, tmp_path)
    (tmp_path / "empty.db").touch()
    assert "is an empty file" in refused(5, open_ledger, tmp_path / "empty.db")


def test_an_interrupted_creation_can_be_repeated(tmp_path):
    (tmp_path / "runs.db").touch()
    assert Ledger.create(tmp_path / "runs.db").head() == GENESIS


def test_create_never_overwrites(full, tmp_path, refused):
    before = full.path.read_bytes()
    assert "already exists" in refused(5, Ledger.create, full.path)
    (tmp_path / "notes.txt").write_text("mine")
    assert "already exists" in refused(5, Ledger.create, tmp_path / "notes.txt")
    assert full.path.read_bytes() == before
    assert "does not exist" in refused(5, Ledger.create, tmp_path / "no" / "runs.db")


@pytest.mark.parametrize("opener", [Ledger.open, Ledger.open_readonly, verify])
def test_foreign_files_are_told_apart(opener, tmp_path, refused):
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    assert "not a SQLite database" in refused(5, opener, tmp_path / "notes.txt")
    sql(tmp_path / "other.db", "PRAGMA application_id = 77", "CREATE TABLE t (x)")
    assert "another program (application_id 77)" in refused(5, opener, tmp_path / "other.db")


@pytest.mark.parametrize("opener", [Ledger.open, Ledger.open_readonly, verify])
def test_a_newer_schema_is_refused(opener, full, refused):
    sql(full.path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    expected = f"newer hyposcreen (schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}): upgrade"
    assert expected in refused(5, opener, full.path)


def test_an_older_schema_is_read_as_it_is_and_rebuilt_behind_a_backup_when_written(full):
    rows, head = full.rows(), full.head()
    sql(full.path, "DROP TABLE look_result", "ALTER TABLE result DROP COLUMN min_effect", "PRAGMA user_version = 0")
    assert Ledger.open_readonly(full.path).rows() == rows
    assert verify(full.path).ok
    assert not list(full.path.parent.glob("*.bak"))
    opened = Ledger.open(full.path)
    assert opened.rows() == rows
    assert opened.head() == head
    report = verify(full.path, head.hash)
    assert report.ok, report.problems
    backup = full.path.with_name("runs.db.schema0.bak")
    assert sql(backup, "SELECT count(*) FROM entry") == [(head.seq,)]
    assert sql(backup, "PRAGMA user_version") == [(0,)]


@pytest.mark.parametrize("trigger", ["entry_no_update", "entry_no_delete"])
def test_a_missing_or_altered_trigger_closes_the_ledger_for_writing(trigger, full, refused):
    sql(full.path, f"DROP TRIGGER {trigger}")
    assert f"{trigger} is missing" in refused(4, Ledger.open, full.path)
    sql(full.path, f"CREATE TRIGGER {trigger} BEFORE UPDATE ON entry BEGIN SELECT 1; END")
    assert f"{trigger} was altered" in refused(4, Ledger.open, full.path)
    assert open_ledger(full.path).head() == full.head()


def test_a_foreign_trigger_closes_the_ledger_for_writing(full, refused):
    sql(full.path, "CREATE TRIGGER sly AFTER INSERT ON result BEGIN UPDATE result SET p_scan = 0.001; END")
    assert "sly" in refused(4, Ledger.open, full.path)


def test_a_truncated_file_is_called_damaged(full, refused):
    whole = full.path.read_bytes()
    full.path.write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in refused(5, lambda: open_ledger(full.path).rows())
    assert not verify(full.path).ok


def test_a_locked_ledger_says_so(full, make, refused):
    with closing(sqlite3.connect(full.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "is locked" in refused(1, Ledger.open, full.path, timeout=0.1)
        assert open_ledger(full.path).head() == full.head()
    patient = Ledger.open(full.path, timeout=0.1)
    with closing(sqlite3.connect(full.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "over 0.1 s" in refused(1, patient.append, r.Replayed("H0001", "identical"))
    patient.append(r.Replayed("H0001", "identical"))


@pytest.mark.parametrize("case", ["file", "folder"])
def test_what_this_account_may_not_write_is_named(case, make):
    # Root may write anything, so a child process gives that up first.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = Ledger.create(folder / "runs.db")
        ledger.append(make.run_opened())
        ledger.path.chmod(0o444 if case == "file" else 0o666)
        folder.chmod(0o777 if case == "file" else 0o555)
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writer, _try_as_nobody(ledger.path).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            said = answer.read()
        os.waitpid(child, 0)
        folder.chmod(0o755)
    named = "may not be written by this account" if case == "file" else "journal beside it"
    assert named in said
    assert "read 1 entries" in said


def _try_as_nobody(path: Path) -> str:
    if os.geteuid() == 0:
        os.setuid(65534)
    said = f"read {open_ledger(path).head().seq} entries; "
    try:
        Ledger.open(path)
    except LedgerError as error:
        said += f"{type(error).__name__}: {error}"
    return said


def test_paths_with_url_characters_work(tmp_path, make):
    path = tmp_path / "50% of #1? yes.db"
    Ledger.create(path).append(make.run_opened())
    assert path.exists()
    assert open_ledger(path).head().seq == 1


def test_records_import_nothing_heavy():
    code = (
        "import sys, hyposcreen.agent.ledger.records as r; "
        "print([m for m in ('sqlalchemy', 'pandas', 'numpy', 'statsmodels') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Rows.


def test_rows_say_what_the_entries_say(full):
    first, second, third, fourth = full.rows()
    assert (first.verdict, first.route, first.p_confirm, first.p_confirm_adj) == ("not_confirmed", "H", 0.002, 0.04)
    assert (second.verdict, second.route, second.p_confirm_adj) == ("confirmed", "U+H", 0.01)
    assert (second.p_u_adj, second.p_h_adj, second.promoted, second.parent) == (0.02, 0.01, True, "H0001")
    assert (first.k, first.m, first.p_scan, first.statistic, first.effect) == (4, 99, 0.05, 3.25, 0.61)
    assert (first.q_bh, second.q_bh, first.p_holm) == (0.05, 0.02, 0.05)
    assert (first.attempts, second.attempts) == (1, 0)
    assert first.cache_digest == "c" * 64
    assert first.spec == {"test": "axis_auroc", "views": ["L0"], "number": 1}
    assert [view["layer"] for view in first.views] == ["L0", "L1"]
    assert first.views[0]["z"] == 3.25
    assert (third.verdict, third.reason, third.min_effect) == ("untestable", "three genes", 0.58)
    assert (third.p_scan, third.k, third.m, third.effect, third.q_bh, third.n_genes) == (1.0, 0, 0, None, None, 100)
    assert (third.level_lond, third.level_saffron, third.e_value) == (None, None, None)
    assert (fourth.level_lond, fourth.level_saffron, fourth.e_value) == (None, None, None)
    assert (fourth.verdict, fourth.p_scan, fourth.route, fourth.reason) == ("registered", None, None, "")


def test_online_levels_follow_the_order_of_testing_and_the_alpha_of_the_run(ledger, make):
    ledger.append(make.run_opened(alpha=0.2), *(make.registered(number) for number in (1, 2, 3, 4)))
    k = {2: 0, 4: 99, 3: 49, 1: 9}
    for number, draws in k.items():
        ledger.append(make.tested(number, m=99, k=draws, p_scan=(draws + 1) / 100))
    rows = {row.id: row for row in ledger.rows()}
    tested = [rows[f"H{number:04d}"] for number in k]
    p = [row.p_scan for row in tested]
    assert [row.level_lond for row in tested] == list(lond(p, 0.2).levels)
    assert [row.level_saffron for row in tested] == list(saffron(p, 0.2).levels)
    assert [row.e_value for row in tested] == [5.0, 0.5, calibrate(0.5), calibrate(0.1)]
    assert ledger.row("H0003") == rows["H0003"]


def test_a_failed_row_takes_its_turn_with_p_one(ledger, make):
    ledger.append(make.run_opened(), make.registered(1), make.registered(2), make.registered(3))
    ledger.append(make.tested(1, status="failed", reason="crash", m=0, k=0, p_scan=1.0, p_raw=1.0, views=()))
    ledger.append(make.tested(2, status="invalid", reason="circular", m=0, k=0, p_scan=1.0, p_raw=1.0, views=()))
    ledger.append(make.tested(3))
    failed, invalid, third = ledger.rows()
    assert (failed.e_value, invalid.e_value, invalid.level_lond) == (0.5, None, None)
    assert (failed.level_lond, third.level_lond) == lond([1.0, 0.05], 0.05).levels
    assert (failed.level_saffron, third.level_saffron) == saffron([1.0, 0.05], 0.05).levels


def test_a_tested_row_without_verdict_is_screened(ledger, make):
    ledger.append(make.run_opened(), make.registered(1), make.tested(1))
    assert ledger.row("H0001").verdict == "screened"


def test_one_row_is_the_row_of_the_list(full, refused):
    assert [full.row(row.id) for row in full.rows()] == list(full.rows())
    assert full.rows(views=False) == tuple(replace(row, views=()) for row in full.rows())
    assert "H0001 to H0004" in refused(2, full.row, "H0999")


def test_a_row_of_an_empty_ledger(ledger, refused):
    assert "no hypotheses yet" in refused(2, ledger.row, "H0001")


def test_after_a_look_that_showed_a_count_the_run_goes_on(ledger, make):
    ledger.append(make.run_opened(look_alphas=(0.0125, 0.0125)), make.registered(1), make.tested(1), *SHOWN)
    ledger.append(make.registered(2), make.tested(2), r.Promoted(("H0002",), "all"), r.LookOpened(2, 0.025, 0.00625))
    ledger.append(make.look_result(1, "H", 0.5), make.look_result(2, "H", 0.5, look=2), r.RunClosed({}))
    assert ledger.run().looks == 2
    assert [o.look for o in ledger.records(r.LookOpened)] == [1, 2]
    assert verify(ledger.path).ok
