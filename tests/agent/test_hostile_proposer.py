"""A proposer may say anything: the run ends well, each refusal is recorded, and only checked fields reach code."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hyposcreen.agent.digest import Digest
from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.ledger.records import IterationClosed, Proposed, Registered, RunClosed
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.proposers.offline import OfflineProposer
from hyposcreen.agent.untrusted import MAX_SAID, as_said, malformed, prose
from hyposcreen.hypotheses.canonical import canonical_json
from hyposcreen.hypotheses.grammar import DIRECTIONS, MAX_TEXT
from hyposcreen.hypotheses.spec import Proposal

GOOD = {
    "test": "cohesion", "annotation": "t_cells", "layers": "all", "coordinates": "all", "claim": "a claim", "prior": 0.5,
    "direction": "greater", "rationale": "because", "move": "cover",
}  # fmt: skip
FEW = ("t_cells", "tf_targets")
RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)
WRONG_TYPES: list[Any] = [None, 7, 10**5000, 1.5, True, ["x"], {"a": 1}, b"bytes", {1, 2}, object(), RECURSIVE]


def said(**changes: Any) -> Proposal:
    return Proposal(**(GOOD | changes))


class Scripted:
    """Says what it was told to say, an iteration at a time; then nothing."""

    name = "offline"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def propose(self, digest: Digest, count: int) -> Any:
        return self.answers[digest.iteration - 1] if digest.iteration <= len(self.answers) else ()


def run_answers(small: Any, folder: Any, proposals: Sequence[Any], per_iteration: int = 20) -> Any:
    """A run whose first iterations say ``proposals``."""
    chunks = [proposals[i : i + per_iteration] for i in range(0, len(proposals), per_iteration)]
    small.write_settings(folder, iterations=len(chunks), per_iteration=per_iteration)
    done = small.run_loop(folder, Scripted(*chunks))
    assert len(done.ledger.records(RunClosed)) == 1
    assert verify(done.ledger.path).ok
    return done.ledger


def reasons(ledger: Ledger) -> list[str]:
    return [r.reason for r in ledger.rejections()]


REFUSED = {
    "unknown test": (said(test="chi_squared"), "outside_grammar", "chi_squared"),
    "invented annotation": (said(annotation="my_genes"), "outside_grammar", "my_genes"),
    "test and annotation that do not fit": (said(test="edge_auroc"), "outside_grammar", "edges"),
    "layer that is not there": (said(layers="L99"), "outside_grammar", "L99"),
    "coordinate that is not there": (said(coordinates="SV999"), "outside_grammar", "SV999"),
    "direction that is none": (said(direction="sideways"), "outside_grammar", "sideways"),
    "prior nan": (said(prior=math.nan), "outside_grammar", "prior"),
    "prior infinite": (said(prior=math.inf), "outside_grammar", "prior"),
    "prior two": (said(prior=2), "outside_grammar", "prior"),
    "prior negative": (said(prior=-0.1), "outside_grammar", "prior"),
    "prior huge": (said(prior=10**400), "outside_grammar", "prior"),
    "prior none": (said(prior=None), "malformed", "prior is a NoneType"),
    "prior text": (said(prior="0.5"), "malformed", "prior is a str"),
    "prior truth": (said(prior=True), "malformed", "prior is a bool"),
    "a megabyte as a test": (said(test="x" * 1_000_000), "outside_grammar", "test"),
    "a surrogate as a test": (said(test="\ud800"), "outside_grammar", "test"),
    "a control character as a layer": (said(layers="\x1b[2J"), "outside_grammar", "layers"),
    "no proposal but a dict": (dict(GOOD), "malformed", "dict"),
    "no proposal but text": ("cohesion of t_cells", "malformed", "str"),
    "no proposal but nothing": (None, "malformed", "NoneType"),
}


def test_each_refusal_is_recorded_with_a_sentence(fresh: Any, small: Any) -> None:
    ledger = run_answers(small, fresh("refused", only=FEW), [value for value, _, _ in REFUSED.values()])
    rejected = ledger.rejections()
    assert ledger.rows() == ()
    assert len(rejected) == len(REFUSED) == len(ledger.records(Proposed))
    for (name, (_, reason, part)), entry in zip(REFUSED.items(), rejected, strict=True):
        assert entry.reason == reason, name
        assert part in entry.detail, name
        assert 20 < len(entry.detail) < 600, name


FIELDS = ("test", "annotation", "layers", "coordinates", "claim", "prior", "direction", "rationale", "move", "parent")


def test_no_field_of_a_wrong_type_is_taken(fresh: Any, small: Any) -> None:
    wrong = [(field, value) for field in FIELDS for value in WRONG_TYPES]
    refusable = [
        said(**{field: value})
        for field, value in wrong
        if not (field == "parent" and value is None) and not (field == "prior" and type(value) in (int, float))
    ]
    ledger = run_answers(small, fresh("types", only=FEW), refusable, per_iteration=100)
    assert ledger.rows() == ()
    assert set(reasons(ledger)) == {"malformed"}
    assert len(reasons(ledger)) == len(refusable)


def test_prose_is_cut_and_can_neither_break_the_ledger_nor_the_terminal(fresh: Any, small: Any) -> None:
    nasty = "\x1b[31mred\x00\r\n\u202eright to left\ud83d" + "y" * 1_000_000
    proposal = said(claim=nasty, rationale=nasty, move=nasty, parent="H9999")
    ledger = run_answers(small, fresh("prose", only=FEW), [proposal])
    (row,) = ledger.rows()
    for text in (row.claim, row.rationale, row.proposer_move):
        assert text.isprintable()
        assert len(text) <= MAX_TEXT
        assert "red" in text
    assert row.parent is None
    (kept,) = ledger.records(Proposed)
    assert len(canonical_json(kept.to_content())) < 8 * MAX_SAID


def test_only_checked_values_become_a_registration(fresh: Any, small: Any) -> None:
    odd = said(claim="'; DROP TABLE entry; --", rationale="<script>", move="{{ 7 * 7 }}", direction="either")
    ledger = run_answers(small, fresh("checked", only=FEW), [odd])
    (row,) = ledger.records(Registered)
    assert (row.claim, row.rationale, row.move) == ("'; DROP TABLE entry; --", "<script>", "{{ 7 * 7 }}")
    assert row.direction in DIRECTIONS
    strings = [v for v in row.spec.values() if isinstance(v, str)]
    assert not any(word in text for text in strings for word in ("DROP", "script", "{{"))


def test_a_duplicate_names_the_row_it_repeats(fresh: Any, small: Any) -> None:
    first = said(claim="one")
    ledger = run_answers(small, fresh("twice", only=FEW), [first, said(claim="two", prior=0.9), said(layers="L1")])
    assert [r.id for r in ledger.rows()] == ["H0001", "H0002"]
    (entry,) = ledger.rejections()
    assert (entry.reason, entry.duplicate_of, entry.slot) == ("duplicate", "H0001", 1)


def test_the_same_genes_under_another_name_are_a_duplicate(fresh: Any, small: Any) -> None:
    from dataclasses import replace

    folder = fresh("alias")
    annotations = [a for a in small.demo_annotations() if a.name in FEW]
    (original,) = (a for a in annotations if a.name == "t_cells")
    small.write_annotations(folder / "labels", [*annotations, replace(original, name="renamed", title="new words")])
    ledger = run_answers(small, folder, [said(), said(annotation="renamed")])
    assert [r.duplicate_of for r in ledger.rejections()] == ["H0001"]


def test_ten_thousand_proposals_are_read_up_to_the_number_asked_for(fresh: Any, small: Any) -> None:
    class Flood:
        name = "offline"
        read = 0

        def propose(self, digest: Digest, count: int) -> Any:
            for _ in range(10_000):
                self.read += 1
                yield said()

    flood = Flood()
    done = small.run_loop(fresh("flood", only=FEW, iterations=2), flood)
    assert flood.read == 6
    assert len(done.ledger.rows()) == 1
    assert reasons(done.ledger) == ["duplicate"] * 5


@pytest.mark.parametrize(
    "broken", [ValueError("no\nanswer"), KeyError("choices"), RecursionError("deep")], ids=lambda e: type(e).__name__
)
def test_a_proposer_that_raises_is_named_and_costs_no_row(
    broken: Exception, fresh: Any, small: Any, finished: Any
) -> None:
    class Failing(OfflineProposer):
        def propose(self, digest: Digest, count: int) -> Any:
            if digest.iteration == 3:
                raise broken
            return super().propose(digest, count)

    folder = fresh("failing")
    with pytest.raises(UserError) as caught:
        small.run_loop(folder, Failing(5))
    assert caught.value.code == Exit.FAILURE
    message = str(caught.value)
    assert "proposer 'offline' failed in iteration 3" in message
    assert type(broken).__name__ in message
    assert "\n" not in message
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert len(ledger.records(IterationClosed)) == 2
    assert small.run_loop(folder).ledger.head().content_hash == finished.ledger.head().content_hash


def test_an_answer_that_is_no_list_is_named(fresh: Any, small: Any) -> None:
    with pytest.raises(UserError, match="proposer 'offline' failed in iteration 1"):
        small.run_loop(fresh("number", only=FEW), Scripted(42))


def test_a_rejection_is_not_shown_to_the_proposer_as_a_row(fresh: Any, small: Any) -> None:
    seen: list[int] = []

    class Watching(Scripted):
        def propose(self, digest: Digest, count: int) -> Any:
            seen.append(len(digest.rows))
            return super().propose(digest, count)

    small.run_loop(fresh("watching", only=FEW, iterations=3), Watching([said(test="nothing")], [said()]))
    assert seen == [0, 0, 1]


@pytest.mark.parametrize("value", [*WRONG_TYPES, math.nan, "\ud800", "x" * 10**6], ids=lambda v: type(v).__name__)
def test_whatever_was_said_can_be_kept(value: Any) -> None:
    kept = as_said(said(claim=value))
    text = canonical_json(kept)
    assert len(text.encode()) < 8 * MAX_SAID
    assert as_said(value).keys() == {"said"}


def test_a_good_proposal_is_kept_word_for_word() -> None:
    assert malformed(said()) is None
    assert as_said(said(claim="κ ≥ 1\n")) == GOOD | {"claim": "κ ≥ 1\n", "parent": None}
    assert prose("κ ≥ 1\tgene\n") == "κ ≥ 1 gene "
