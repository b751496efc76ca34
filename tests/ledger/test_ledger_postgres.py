"""The same promises on both databases: appends of several processes, tampering, claims, upgrade."""

import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hyposcreen.agent.ledger import leases
from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.database import database_at
from hyposcreen.agent.ledger.errors import RepeatedError
from hyposcreen.agent.ledger.schema import METADATA, SCHEMA_VERSION
from hyposcreen.agent.ledger.store import Ledger, open_ledger
from hyposcreen.agent.ledger.verify import verify

EACH = 150


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new ledger may be made."""
    return tmp_path / "runs.db" if request.param == "sqlite" else request.getfixturevalue("new_schema")()


@pytest.fixture
def on_server(new_schema: Callable[[], str]) -> str:
    return new_schema()


def edit(ledger: Ledger, *statements: str) -> None:
    """What the owner of the database could do."""
    with ledger.database.transaction() as session:
        for statement in statements:
            session.exec_driver_sql(statement)


def append_many(place: Path | str, worker: int) -> None:
    ledger = Ledger.open(place)
    for number in range(EACH):
        ledger.append(r.Rejected(worker, number, "malformed", "x" * 200))


@pytest.mark.parametrize("workers", [4, 8])
def test_no_append_of_many_processes_is_lost(
    workers: int, place: Path | str, make: Any, no_fsync_in_this_process: None
) -> None:
    ledger = Ledger.create(place)
    ledger.append(make.run_opened())
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=append_many, args=(place, w)) for w in range(workers)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * workers
    told = [(record.iteration, record.slot) for record in ledger.rejections()]
    assert len(told) == len(set(told)) == workers * EACH
    assert [slot for worker, slot in told if worker == 1] == list(range(EACH)), "each in its own order"
    report = verify(place)
    assert (report.ok, report.entries) == (True, workers * EACH + 1)


def test_both_databases_read_alike_and_reach_the_same_content(on_server: str, full: Ledger, make: Any) -> None:
    other = Ledger.create(on_server)
    other.append(*make.campaign())
    assert other.head().content_hash == full.head().content_hash
    assert other.rows() == full.rows()
    assert other.row("H0002") == full.row("H0002")
    copy = full.path.with_name("copy.db")
    assert other.copy_to(copy) == other.head() == open_ledger(copy).head()
    assert verify(copy, other.head().hash).ok


TAMPERINGS = {
    "edited body": (
        ["UPDATE entry SET content = replace(content, '\"p_scan\":0.05', '\"p_scan\":0.01') WHERE seq = 6"],
        "entry 6 (result) was edited",
    ),
    "edited projection": (
        ["UPDATE result SET p_scan = 0.001 WHERE id = 'H0001'"],
        "table result, seq 6, column p_scan: 0.001, but its entry says 0.05",
    ),
    "newest deleted": (
        [f"DELETE FROM {t.name} WHERE seq > 22" for t in reversed(METADATA.sorted_tables)],
        "the ledger was truncated or rewritten after that head was noted",
    ),
    "replaced": (
        [
            "UPDATE entry SET kind = (SELECT kind FROM entry WHERE seq = 9), content = (SELECT content FROM entry WHERE "
            "seq = 9), hash = (SELECT hash FROM entry WHERE seq = 9) WHERE seq = 8"
        ],
        "entry 8 (rejection)",
    ),
    "swapped": (
        [
            "UPDATE entry SET content = (SELECT content FROM entry AS e WHERE e.seq = CASE entry.seq WHEN 3 THEN 7 ELSE 3 "
            "END) WHERE seq IN (3, 7)"
        ],
        "entry 3 (registration) was edited",
    ),
    "dropped table": (["DROP TABLE replay"], "table replay cannot be read"),
}


def without_triggers(statements: list[str]) -> list[str]:
    return [
        "ALTER TABLE entry DISABLE TRIGGER entry_no_update", "ALTER TABLE entry DISABLE TRIGGER entry_no_delete",
        *statements,
        "ALTER TABLE entry ENABLE TRIGGER entry_no_update", "ALTER TABLE entry ENABLE TRIGGER entry_no_delete",
    ]  # fmt: skip


@pytest.mark.parametrize("case", TAMPERINGS)
def test_tampering_on_the_server_is_found_and_named(case: str, on_server: str, make: Any) -> None:
    ledger = Ledger.create(on_server)
    ledger.append(*make.campaign())
    noted = ledger.head().hash
    assert verify(on_server, noted).ok
    statements, named = TAMPERINGS[case]
    edit(ledger, *without_triggers(statements))
    problems = verify(on_server, noted).problems
    assert any(named in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE entry DISABLE TRIGGER entry_no_update", "the append-only trigger entry_no_update was altered"),
        ("DROP TRIGGER entry_no_delete ON entry", "the append-only trigger entry_no_delete is missing"),
        (
            "CREATE OR REPLACE FUNCTION entry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
            "the append-only trigger entry_no_update was altered",
        ),
        ("CREATE RULE quiet AS ON INSERT TO verdict DO INSTEAD NOTHING", "the rule quiet on table verdict"),
    ],
)
def test_safeguards_of_the_server_are_checked(statement: str, named: str, on_server: str, refused: Any) -> None:
    ledger = Ledger.create(on_server)
    edit(ledger, statement)
    assert any(named in problem for problem in verify(on_server).problems)
    assert named in refused(4, Ledger.open, on_server)


@pytest.mark.parametrize("statement", ["UPDATE entry SET kind = 'x'", "DELETE FROM entry", "TRUNCATE entry CASCADE"])
def test_entries_on_the_server_cannot_be_changed(statement: str, on_server: str, make: Any, refused: Any) -> None:
    ledger = Ledger.create(on_server)
    ledger.append(make.run_opened())
    assert "is append-only" in refused(4, edit, ledger, statement)
    assert verify(on_server).ok


def test_what_may_be_there_once_is_refused_the_second_time(place: Path | str, make: Any) -> None:
    ledger = Ledger.create(place)
    ledger.append(make.run_opened(), make.registered(1), make.tested(1))
    head = ledger.head()
    with pytest.raises(RepeatedError, match=r"result\.id is already in the ledger"):
        ledger.append(make.tested(1))
    with pytest.raises(Exception, match=r"what it refers to \(hypothesis\) is not in the ledger"):
        ledger.append(make.tested(2))
    assert ledger.head() == head


def test_a_place_that_is_none_is_said_in_a_sentence(database_server: str, on_server: str, refused: Any) -> None:
    assert "there is no ledger at" in refused(5, open_ledger, on_server)
    ledger = Ledger.create(on_server)
    assert "already holds tables of that name" in refused(5, Ledger.create, on_server)
    assert 'database "nowhere" does not exist' in refused(5, open_ledger, f"{database_server}/nowhere")
    assert "cannot be reached" in refused(5, open_ledger, "postgresql+psycopg://tester@127.0.0.1:1/x")
    secret = database_server.replace("tester@", "tester:hidden@") + "/nowhere"
    assert "hidden" not in refused(5, open_ledger, secret)
    assert "write postgresql+psycopg://" in refused(5, open_ledger, "postgresql+asyncpg://u@h/d")
    edit(ledger, "COMMENT ON TABLE entry IS 'mine'")
    assert "of another program" in refused(5, open_ledger, on_server)


def test_a_newer_schema_on_the_server_is_refused_and_an_older_one_is_rebuilt_after_a_copy(
    on_server: str, make: Any, refused: Any
) -> None:
    ledger = Ledger.create(on_server)
    ledger.append(*make.campaign())
    rows, head = ledger.rows(), ledger.head()
    edit(ledger, f"COMMENT ON TABLE entry IS 'hyposcreen ledger, schema {SCHEMA_VERSION + 1}'")
    assert "newer hyposcreen" in refused(5, Ledger.open, on_server)
    edit(ledger, "DROP TABLE verdict", "COMMENT ON TABLE entry IS 'hyposcreen ledger, schema 1'")
    assert open_ledger(on_server).rows() == rows, "an older ledger is read as it is"
    again = Ledger.open(on_server)
    assert (again.rows(), again.head()) == (rows, head)
    assert verify(on_server, head.hash).ok
    with again.database.reading() as session:
        schema = session.scalar(text("SELECT current_schema()"))
        kept = session.scalar(text(f"SELECT count(*) FROM {schema}_schema1_bak.entry"))
    assert kept == head.seq


# Leases.


def test_a_row_is_given_to_one_runner_until_its_result_is_there(place: Path | str, make: Any) -> None:
    ledger = Ledger.create(place)
    ledger.append(make.run_opened(), make.registered(1), make.registered(2))
    with ledger.lock_runner() as one:
        assert ledger.claim(["H0001"], f"{one} loop", 60) == {"H0001": 1}
        assert ledger.claim(["H0001", "H0002", "H0009"], f"{one} loop", 60) == {"H0002": 1}
        ledger.append(r.AttemptEnded("H0001", 1, "ok", 0.1))
        assert ledger.claim(["H0001"], f"{one} loop", 60) == {}, "its result is still to be recorded"
        ledger.append(make.tested(1))
        assert ledger.attempts() == {"running": 1, "stale": 0}
    assert verify(place).ok


def test_a_lease_that_ran_out_is_stale_and_not_failed(place: Path | str, make: Any) -> None:
    ledger = Ledger.create(place)
    ledger.append(make.run_opened(), make.registered(1))
    with ledger.lock_runner() as one:
        ledger.claim(["H0001"], f"{one} loop", 0)
        assert ledger.attempts() == {"running": 0, "stale": 1}
        assert ledger.row("H0001").verdict == "registered"
        assert ledger.claim(["H0001"], f"{one} loop", 60) == {"H0001": 2}
    assert ledger.row("H0001").attempts == 2


def claim_and_die(place: Path | str, ready: Any) -> None:
    ledger = Ledger.open(place)
    with ledger.lock_runner() as name:
        ready.put(ledger.claim(["H0001"], f"{name} loop", 3600))
        ready.close()
        ready.join_thread()
        os.kill(os.getpid(), 9)


def test_what_a_killed_runner_held_is_free_at_once(place: Path | str, make: Any) -> None:
    ledger = Ledger.create(place)
    ledger.append(make.run_opened(), make.registered(1))
    context = multiprocessing.get_context("fork")
    ready = context.Queue()
    child = context.Process(target=claim_and_die, args=(place, ready))
    child.start()
    assert ready.get(timeout=30) == {"H0001": 1}
    child.join()
    assert ledger.attempts() == {"running": 0, "stale": 1}
    with ledger.lock_runner() as two:
        assert ledger.claim(["H0001"], f"{two} loop", 60) == {"H0001": 2}


def test_two_runners_of_a_server_hold_different_rows_and_one_job_at_a_time(on_server: str, make: Any) -> None:
    one, two = Ledger.create(on_server), Ledger.open(on_server)
    one.append(make.run_opened(), make.registered(1), make.registered(2))
    with one.lock_runner() as a, two.lock_runner() as b:
        assert one.claim(["H0001"], f"{a} loop", 60) == {"H0001": 1}
        assert two.claim(["H0001", "H0002"], f"{b} loop", 60) == {"H0002": 1}
        assert two.attempts() == {"running": 2, "stale": 0}
        with one.exclusive("look") as holds, two.exclusive("look") as other:
            assert (holds, other) == (True, False)
        with two.exclusive("look") as holds:
            assert holds


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_a_lease_ends_at_its_second(seconds: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    attempt = leases.Attempt(1, "host:1:x", now + timedelta(seconds=seconds))
    asked: list[str] = []

    def lives(runner: str) -> bool:
        asked.append(runner)
        return True

    assert leases.is_free(attempt, now, lives) is (seconds <= 0)
    assert leases.is_free(None, now, lives)
    assert leases.is_free(attempt, now - timedelta(days=1), lambda _: False)


def test_a_file_that_another_program_made_is_no_vacant_place(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    assert database_at(path).vacant()
    path.touch()
    assert database_at(path).vacant()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (a)")
    assert not database_at(path).vacant()
