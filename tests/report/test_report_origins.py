"""Where labels come from, what was known before, and a control beside the run: small tables of the page, pure functions."""

from types import SimpleNamespace
from typing import Any

from hyposcreen.agent.report.control import Control, control_lines
from hyposcreen.agent.report.origins import known_before, origins


def run(**more: Any) -> Any:
    shared = {"source": "A", "version": "1", "licence": "CC0"}
    annotations = (
        {"name": "one", "size": 5, **shared},
        {"name": "two", "size": 7, **shared},
        {"name": "three", "size": 9, **shared, "citation": "us", "original": "x.gmt sha256:" + "ab" * 32},
    )
    return SimpleNamespace(annotations=annotations, campaign={}, **more)


def row(id_: str, **more: Any) -> Any:
    spec = {
        "test": "cohesion",
        "annotation_digest": id_,
        "background_digest": None,
        "layers": "all",
        "coordinates": "all",
    }
    fields = {
        "claim": "c",
        "effect": 0.5,
        "null_mean": 0.4,
        "p_confirm_adj": 0.01,
        "verdict": "confirmed",
        "proposal_source": {},
    }
    return SimpleNamespace(id=id_, spec=spec, **(fields | more))


def test_annotations_of_one_source_share_a_line() -> None:
    first, second = origins(run())
    assert (first.names, first.members, first.original) == (("one", "two"), 12, "")
    assert (second.citation, second.original) == ("us", "x.gmt (abababababab)")
    assert origins(None) == ()


def test_only_rows_of_a_campaign_were_known_before() -> None:
    source = {"prior_known": True, "system": "S02", "definition": "corrected"}
    rows = [
        row("H1"),
        row("H2", proposal_source=source),
        row("H3", proposal_source=source | {"system": "S01"}, verdict="screened"),
    ]
    plain = run()
    assert known_before(plain, rows) is None
    plain.campaign = {"name": "own", "paper": "a talk"}
    found = known_before(plain, rows)
    assert found is not None and found.confirmed == 1
    assert [line[:3] for line in found.rows] == [("S01", "corrected", "H3"), ("S02", "corrected", "H2")]
    assert known_before(plain, rows[:1]) is None


def test_questions_are_matched_by_what_they_ask_and_untested_rows_show_no_effect() -> None:
    mine = [row("H1"), row("H2"), row("H3", verdict="untestable")]
    theirs = [row("H2", verdict="screened", effect=0.1), row("H3")]
    lines = control_lines(mine, theirs)
    assert [line.id for line in lines] == ["H2", "H3"]
    assert (lines[0].control.effect, lines[1].real.effect, lines[1].control.effect) == (0.1, None, 0.5)
    assert Control("random-init", "twin", "1:ab", lines).confirmed == (1, 1)
