"""Whatever a run does, its tables equal their rebuild and its content head depends on its content only."""

import contextlib
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.chain import GENESIS, entry_hash, next_content_hash
from hyposcreen.agent.ledger.schema import PROJECTIONS
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.hypotheses.canonical import sha256_of

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FEW = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.text(), st.integers(0, 2**63), st.text(), st.none() | st.text(), st.text())
def test_an_entry_is_hashed_as_the_canonical_json_of_its_parts(prev, seq, kind, content, context):
    with contextlib.suppress(UnicodeEncodeError):  # unpaired surrogates are refused before anything is hashed
        assert entry_hash(prev, seq, kind, content, context) == sha256_of([prev, seq, kind, content, context])
        assert content is None or next_content_hash(prev, kind, content) == sha256_of([prev, kind, content])


@st.composite
def stories(draw: st.DrawFn, make: SimpleNamespace) -> list[r.Record]:
    """A run in any valid order: hypotheses left at any stage, context strewn between, closed or not."""
    told: list[r.Record] = [make.run_opened(seed=draw(st.integers(0, 2**70)))]
    for number in range(1, draw(st.integers(0, 5)) + 1):
        told.append(make.registered(number, claim=draw(WORDS), prior=draw(NUMBERS), rationale=draw(WORDS)))
        told += draw(st.lists(attempts(number), max_size=2))
        if draw(st.booleans()):
            told.append(make.tested(number, k=draw(st.integers(0, 99)), effect=draw(NUMBERS), reason=draw(WORDS)))
        if draw(st.booleans()):
            told.append(r.Rejected(number, 1, "malformed", draw(WORDS), draw(st.none() | WORDS)))
    ids = [record.id for record in told if isinstance(record, r.Tested)]
    if draw(st.booleans()):
        told += [r.Promoted(tuple(draw(st.permutations(ids))), draw(WORDS)), r.LookOpened(1, 0.025, 0.025)]
        told += [make.look_result(int(id_[1:]), draw(st.sampled_from("UH")), 0.5) for id_ in ids]
        told += [r.VerdictGiven(id_, "not_confirmed", "H", draw(WORDS)) for id_ in ids]
        told.append(r.RunClosed({"not_confirmed": len(ids)}))
    return told


def attempts(number: int) -> st.SearchStrategy[r.Record]:
    id_ = f"H{number:04d}"
    return st.builds(r.AttemptEnded, st.just(id_), st.integers(1, 9), WORDS, NUMBERS, WORDS) | st.builds(
        r.AttemptStarted, st.just(id_), st.integers(1, 9), WORDS, WORDS, NUMBERS
    )


def write(path: Path, told: list[r.Record], batch: int, host: str) -> Ledger:
    ledger = Ledger.create(path)
    for start in range(0, len(told), batch):
        ledger.append(*told[start : start + batch], context={"host": host})
    return ledger


def tables(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger._reading() as connection:
        return {
            table.name: list(connection.execute(select(table).order_by(*table.primary_key))) for table in PROJECTIONS
        }


@FEW
@given(data=st.data())
def test_tables_equal_their_rebuild_and_the_content_head_is_content_only(data, make):
    told = data.draw(stories(make))
    with tempfile.TemporaryDirectory() as folder:
        ledger = write(Path(folder, "a.db"), told, data.draw(st.integers(1, 9)), "one")
        assert [entry.record() for entry in ledger.entries()] == told
        report = verify(ledger.path)
        assert report.ok, report.problems
        before = tables(ledger)
        ledger.rebuild()
        assert tables(ledger) == before

        content = [record for record in told if record.KIND not in r.CONTEXT_KINDS]
        calm = write(Path(folder, "b.db"), content, 100, "another")
        assert calm.head().content_hash == ledger.head().content_hash
        expected = GENESIS.content_hash
        for entry in calm.entries():
            expected = next_content_hash(expected, entry.kind, entry.content)
        assert calm.head().content_hash == expected
        other = write(Path(folder, "c.db"), [*content[:-1]], 100, "another")
        assert other.head().content_hash != expected
