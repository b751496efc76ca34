"""A large ledger is verified page by page, by several processes: the answer is that of one page and one process."""

import sqlite3
from contextlib import closing

import pytest

from hyposcreen.agent.ledger.verify import verify

OPEN = "DROP TRIGGER entry_no_update; DROP TRIGGER entry_no_delete;"
EDITS = {
    "nothing": "",
    "a body": "UPDATE entry SET content = replace(content, '0.05', '0.01') WHERE seq = 6;",
    "a kind": "UPDATE entry SET kind = 'verdict' WHERE seq = 6;",
    "an entry gone at the end of a page": "DELETE FROM entry WHERE seq = 5;",
    "an entry gone at the beginning of a page": "DELETE FROM entry WHERE seq = 6;",
    "a whole page gone": "DELETE FROM entry WHERE seq BETWEEN 6 AND 10;",
    "an entry before the first": (
        "INSERT INTO entry SELECT 0, kind, content, context, prev, hash, content_hash FROM entry WHERE seq = 1;"
    ),
    "an entry far behind the last": (
        "INSERT INTO entry SELECT 900, kind, content, context, prev, hash, content_hash FROM entry WHERE seq = 24;"
    ),
    "a registration behind its result": (
        "UPDATE entry SET seq = 99 WHERE seq = 3; UPDATE entry SET seq = 3 WHERE seq = 13; "
        "UPDATE entry SET seq = 13 WHERE seq = 99;"
    ),
    "a result told again on another page": (
        "INSERT INTO entry SELECT 25, kind, content, context, prev, hash, content_hash FROM entry WHERE seq = 6;"
    ),
    "a row of a table": "UPDATE view_result SET effect = 0.9 WHERE seq = 8;",
    "a row of no entry": "INSERT INTO verdict VALUES (12, 'H0003', 'confirmed', 'U', 'mine');",
    "a row behind the end": "INSERT INTO verdict VALUES (900, 'H0003', 'confirmed', 'U', 'mine');",
    "a table": "DROP TABLE replay;",
}


@pytest.mark.parametrize("edit", EDITS)
def test_pages_and_processes_find_what_one_page_finds(edit, full):
    with closing(sqlite3.connect(full.path)) as connection:
        connection.executescript(OPEN + EDITS[edit])
    whole = verify(full.path)
    assert len(whole.problems) > 2 or edit == "nothing"  # the two triggers, and more
    for jobs, page in ((1, 5), (2, 7)):
        paged = verify(full.path, jobs=jobs, page=page)
        assert sorted(paged.problems) == sorted(whole.problems), (jobs, page)
        assert (paged.head, paged.entries) == (whole.head, whole.entries)


def test_a_head_is_found_on_whatever_page_it_stands(full):
    for head in [entry.head() for entry in full.entries()][::5]:
        assert verify(full.path, f"{head.seq}:{head.hash}", jobs=2, page=4).ok
        assert not verify(full.path, f"{head.seq + 1}:{head.hash}", jobs=2, page=4).ok


def test_damage_that_another_process_meets_is_a_problem(full):
    whole = bytearray(full.path.read_bytes())
    for start in range(len(whole) // 2 // 4096 * 4096, len(whole), 4096):
        whole[start : start + 4096] = b"\xff" * 4096
    full.path.write_bytes(bytes(whole))
    assert not verify(full.path, jobs=2, page=4).ok
