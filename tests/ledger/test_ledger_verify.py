"""Every edit shows: what a person with a SQLite shell could do, and the sentence that names it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.chain import entry_hash, next_content_hash
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.cli import main

DROP = "DROP TRIGGER entry_no_update; DROP TRIGGER entry_no_delete;"
RESTORE = (
    "CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    "CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
)


def tamper(path: Path, script: str, hide: bool = True) -> None:
    """Run ``script`` with the triggers out of the way; ``hide`` puts them back as they were."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DROP + script + (RESTORE if hide else ""))


def set_p(text: str) -> str:
    return f"replace({text}, '\"p_scan\":0.05', '\"p_scan\":0.01')"


TAMPERINGS = {
    "edited content": (f"UPDATE entry SET content = {set_p('content')} WHERE seq = 6", "entry 6 (result) was edited"),
    "edited context": ('UPDATE entry SET context = \'{"at":"1999"}\' WHERE seq = 6', "entry 6 (result) was edited"),
    "edited attempt": ("UPDATE entry SET context = replace(context, '60.0', '61.0') WHERE seq = 4", "was edited"),
    "edited kind": ("UPDATE entry SET kind = 'verdict' WHERE seq = 6", "entry 6 (verdict) was edited"),
    "content moved into context": (
        "UPDATE entry SET context = '{\"record\":' || content || '}', content = NULL WHERE seq = 6",
        "entry 6 (result) was edited",
    ),
    "deleted in the middle": ("DELETE FROM entry WHERE seq = 9", "entry 10 (iteration_closed) follows entry 8"),
    "replaced": (
        "INSERT OR REPLACE INTO entry SELECT 9, kind, content, context, prev, hash, content_hash FROM entry "
        "WHERE seq = 8",
        "entry 9",
    ),
    "swapped": (
        "UPDATE entry SET seq = 99 WHERE seq = 8; UPDATE entry SET seq = 8 WHERE seq = 9; "
        "UPDATE entry SET seq = 9 WHERE seq = 99",
        "entry 8 (rejection) was edited",
    ),
    "swapped bodies": (
        "UPDATE entry SET content = (SELECT content FROM entry WHERE seq = CASE entry.seq WHEN 3 THEN 7 ELSE 3 END) "
        "WHERE seq IN (3, 7)",
        "entry 3 (registration) was edited",
    ),
    "edited content hash": ("UPDATE entry SET content_hash = prev WHERE seq = 6", "content hash that does not follow"),
    "inserted at the front": (
        "INSERT INTO entry SELECT 0, kind, content, context, prev, hash, content_hash FROM entry WHERE seq = 1",
        "entry 0 (run_opened)",
    ),
    "newest deleted with their rows left": ("DELETE FROM entry WHERE seq > 20", "table verdict"),
    "edited projection": (
        "UPDATE result SET p_scan = 0.001 WHERE id = 'H0001'",
        "table result, seq 6, column p_scan: 0.001, but its entry says 0.05",
    ),
    "edited view": (
        "UPDATE view_result SET effect = 0.9 WHERE seq = 6 AND ordinal = 1",
        "seq 6, ordinal 1, column eff",
    ),
    "edited word": ("UPDATE verdict SET verdict = 'confirmed'", "table verdict, seq 21, column verdict"),
    "edited rejection": ("UPDATE rejection SET duplicate_of = NULL", "column duplicate_of: None"),
    "deleted projection": ("DELETE FROM rejection", "table rejection, seq 9: the row is missing"),
    "added projection": (
        "INSERT INTO verdict VALUES (12, 'H0003', 'confirmed', 'U', 'mine')",
        "table verdict, seq 12: the row does not come from any entry",
    ),
    "added far projection": (
        "INSERT INTO verdict VALUES (900, 'H0003', 'confirmed', 'U', 'mine')",
        "table verdict: 1 rows belong to entries that do not exist",
    ),
    "dropped projection": ("DROP TABLE replay", "table replay cannot be read"),
    "dropped column": ("ALTER TABLE result DROP COLUMN effect", "table result cannot be read"),
}


@pytest.mark.parametrize("case", TAMPERINGS)
def test_tampering_is_found_and_named(case, full):
    script, named = TAMPERINGS[case]
    tamper(full.path, script + ";")
    report = verify(full.path)
    assert not report.ok
    assert any(named in problem for problem in report.problems), report.problems


THROUGH_THE_COMMAND = {
    "a body edited": (TAMPERINGS["edited content"][0], "entry 6 (result) was edited"),
    "a projection edited": (TAMPERINGS["edited projection"][0], "table result, seq 6, column p_scan"),
    "the newest rows deleted": (
        "".join(f"DELETE FROM {t} WHERE seq > 20;" for t in ("replay", "run_end", "verdict", "entry")),
        "the ledger was truncated or rewritten after that head was noted",
    ),
    "a row replaced": (TAMPERINGS["replaced"][0], "entry 9"),
    "two rows swapped": (TAMPERINGS["swapped"][0], "entry 8 (rejection) was edited"),
}


@pytest.mark.parametrize("case", THROUGH_THE_COMMAND)
def test_the_command_names_what_was_done_and_ends_with_4(case, full, capsys):
    noted = full.head()
    script, named = THROUGH_THE_COMMAND[case]
    tamper(full.path, script + ";", hide=case != "a projection edited")
    with pytest.raises(SystemExit) as ended:
        main(["ledger", "verify", "-C", str(full.path.parent), "--head", f"{noted.seq}:{noted.hash}"])
    assert ended.value.code == 4
    said = capsys.readouterr()
    assert named in said.err and said.out == ""
    assert ("the append-only trigger entry_no_update is missing" in said.err) == (case == "a projection edited")


def test_a_dropped_trigger_is_a_problem_even_if_nothing_else_changed(full):
    tamper(full.path, "", hide=False)
    assert verify(full.path).problems == (
        "the append-only trigger entry_no_delete is missing",
        "the append-only trigger entry_no_update is missing",
    )


def test_one_edit_is_one_problem_not_an_avalanche(full):
    tamper(full.path, 'UPDATE entry SET context = \'{"at":"1999"}\' WHERE seq = 6;')
    assert verify(full.path).problems == ("entry 6 (result) was edited: its hash does not match what it holds",)


def rechain(path: Path, changed: str) -> None:
    """What a careful forger does: change something, then recompute every hash and rebuild the projections."""
    tamper(path, changed)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DROP)
        prev = content_hash = "0" * 64
        for seq, kind, content, context in connection.execute(
            "SELECT seq, kind, content, context FROM entry ORDER BY seq"
        ).fetchall():
            fresh = entry_hash(prev, seq, kind, content, context)
            content_hash = next_content_hash(content_hash, kind, content)
            connection.execute(
                "UPDATE entry SET prev = ?, hash = ?, content_hash = ? WHERE seq = ?", (prev, fresh, content_hash, seq)
            )
            prev = fresh
        connection.commit()
        connection.executescript(RESTORE)
    Ledger.open(path).rebuild()


def test_only_the_head_catches_a_truncated_tail(full):
    head = full.head()
    rechain(full.path, "DELETE FROM entry WHERE seq > 20;")
    assert verify(full.path).ok
    report = verify(full.path, f"{head.seq}:{head.hash}")
    assert not report.ok
    assert "truncated or rewritten" in report.problems[0]
    assert report.entries == 20


def test_only_the_head_catches_a_rewritten_chain(full):
    head = full.head()
    rechain(full.path, f"UPDATE entry SET content = {set_p('content')} WHERE seq = 6;")
    assert verify(full.path).ok
    assert not verify(full.path, head.hash).ok


def test_an_earlier_head_is_still_in_the_chain(full, make):
    heads = [entry.head() for entry in full.entries()]
    for head in (heads[0], heads[10], heads[-1]):
        for text in (head.hash, head.hash[:8], f"{head.seq}:{head.hash[:12]}", f" {head.seq}:{head.hash.upper()} "):
            assert verify(full.path, text).ok
    assert not verify(full.path, f"3:{heads[10].hash}").ok
    assert not verify(full.path, heads[-1].content_hash).ok
    assert verify(full.path, "0:" + "0" * 64).ok


@pytest.mark.parametrize("text", ["", "abc", "1234567", "not-a-hash-at-all", "x:12345678", ":12345678x"])
def test_what_is_no_head_is_refused(text, full, refused):
    assert "is not a head" in refused(1, verify, full.path, text)


def test_a_story_out_of_order_is_found_although_its_hashes_are_right(full):
    moved = (
        "UPDATE entry SET seq = 103 WHERE seq = 3; UPDATE entry SET seq = seq - 1 WHERE seq BETWEEN 4 AND 24; "
        "UPDATE entry SET seq = 24 WHERE seq = 103;"
    )
    rechain_unchecked(full.path, moved)
    problems = "\n".join(verify(full.path).problems)
    assert "comes before, or without, the hypothesis H0001" in problems
    assert "registration) is out of order: the run is closed" in problems


def test_a_story_told_twice_is_found_although_its_hashes_are_right(full):
    again = (
        "INSERT INTO entry SELECT 25, kind, content, context, prev, hash, content_hash FROM entry WHERE seq = 6; "
        "INSERT INTO entry SELECT 26, kind, content, context, prev, hash, content_hash FROM entry WHERE seq = 15;"
    )
    rechain_unchecked(full.path, again)
    problems = "\n".join(verify(full.path).problems)
    assert "entry 25 (result) repeats the result with id H0001" in problems
    assert "entry 26 (promotion) is out of order: the run is closed" in problems


def test_a_row_proposed_while_the_genes_are_open_is_found_although_its_hashes_are_right(ledger, make):
    """Between look_opened and look_counted the sealed genes are being read; a registration put there is out of order."""
    ledger.append(make.run_opened(look_alphas=(0.0125, 0.0125)), make.registered(1), make.tested(1))
    ledger.append(r.Promoted(("H0001",), "all"), r.LookOpened(1, 0.0, 0.0125), r.LookCounted(1, 1, 1, 1.0))
    ledger.append(make.registered(2))
    assert verify(ledger.path).ok
    swapped = (
        "UPDATE entry SET seq = 100 WHERE seq = 6; UPDATE entry SET seq = 6 WHERE seq = 7; "
        "UPDATE entry SET seq = 7 WHERE seq = 100;"
    )
    rechain(ledger.path, swapped)
    problems = verify(ledger.path).problems
    assert problems == (
        "entry 6 (registration) is out of order: the held-out genes have been opened, a registration entry comes too late",
    )


def rechain_unchecked(path: Path, changed: str) -> None:
    """:func:`rechain` for a story that the projections would refuse."""
    with pytest.raises(IntegrityError):
        rechain(path, changed)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_damaged_pages_are_a_problem_or_a_refusal(share, full, refused):
    whole = bytearray(full.path.read_bytes())
    start = int(len(whole) * share) // 4096 * 4096
    whole[start : start + 4096] = b"\xff" * 4096
    full.path.write_bytes(bytes(whole))
    assert not verify(full.path).ok
