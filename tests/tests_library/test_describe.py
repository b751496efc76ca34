"""The page of tests is made from the declarations and never behind them."""

from pathlib import Path

import pytest

from hyposcreen.tests_library.catalogue import CATALOGUE, N_AXES, n_views
from hyposcreen.tests_library.describe import EXAMPLE_LAYERS, describe, describe_all
from hyposcreen.tests_library.nulls import NULLS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tests.md"


@pytest.mark.skipif(not PAGE.parent.is_dir(), reason="the docs are not part of an installed package")
def test_the_page_in_the_docs_is_the_one_the_code_makes():
    note, _, page = PAGE.read_text(encoding="utf-8").partition("\n\n")
    assert note.startswith("<!-- Made by")
    assert page == describe_all().rstrip() + "\n", "run python docs/generate.py"


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.name)
def test_a_section_holds_every_declared_word(kind):
    section = describe(kind)
    assert section in describe_all()
    assert section.startswith(f"## {kind.name}\n")
    for text in (
        kind.asks,
        kind.family,
        kind.effect_unit,
        kind.alternative,
        kind.null_preserves,
        kind.assumes,
        kind.source,
    ):
        assert text in section
    assert kind.formula in section.replace("\\|", "|")
    assert f"| views | {n_views(kind, EXAMPLE_LAYERS, N_AXES)};" in section
    assert f"| minimum size | {kind.min_size} " in section
    for null in kind.nulls:
        assert f"[{null}](#{null})" in section
        assert f"### {null}\n" in describe_all()
    assert f"| confirmed by | {'Routes U and H' if kind.universe else 'Route H'} |" in section
    assert ("| needs | " in section) == bool(kind.needs)


def test_every_line_of_a_table_has_the_same_cells():
    for block in describe_all().split("\n\n"):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in lines}) == 1, lines[0]


def test_every_null_says_what_it_keeps():
    page = describe_all()
    for null in NULLS.values():
        assert f"### {null.name}\n" in page
        assert all(text in page for text in (null.preserves, null.destroys, null.assumes))
