"""Specs: one value, one byte string, one digest; novelty looks at content, not at names."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.hypotheses.canonical import canonical_json, sha256_of, sha256_text
from hyposcreen.hypotheses.spec import Proposal, TestSpec

SPEC = TestSpec(
    test="cohesion",
    annotation="markers",
    annotation_digest="a" * 64,
    background=None,
    background_digest=None,
    cache_digest="c" * 64,
    layers="all",
    coordinates="all",
    alternative="greater",
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_canonical_json_reads_back_and_is_stable(value):
    try:
        text = canonical_json(value)
        text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate has no UTF-8 form, and its digest is refused below
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert sha256_of(value) == sha256_text(text)


def test_canonical_json_is_one_byte_string():
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    assert sha256_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert json.loads(canonical_json(0.1 + 0.2)) == 0.1 + 0.2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_number_is_refused(bad):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": [bad]})


def test_a_spec_reads_back():
    written = json.loads(canonical_json(SPEC.to_json()))
    assert TestSpec.from_json(written) == SPEC
    assert isinstance(TestSpec.from_json(written).nulls, tuple)
    assert TestSpec.from_json(written).sha256 == SPEC.sha256


@pytest.mark.parametrize("change", ["drop", "add"])
def test_a_spec_with_other_keys_is_refused_by_name(change):
    written = SPEC.to_json()
    if change == "drop":
        del written["nulls"]
    else:
        written["rows"] = [1, 2]
    with pytest.raises(ValueError, match="nulls" if change == "drop" else "rows"):
        TestSpec.from_json(written)


def test_every_field_enters_the_digest():
    coded = dataclasses.replace(SPEC, code="c" * 64)
    digests = {coded.sha256}
    for field in dataclasses.fields(SPEC):
        value = ("gene_label",) if field.name == "nulls" else "changed"
        digests.add(dataclasses.replace(coded, **{field.name: value}).sha256)
    assert len(digests) == 1 + len(dataclasses.fields(SPEC))


def test_a_spec_without_code_reads_as_it_did_before_models_wrote_statistics():
    assert not {"code", "order_invariant"} & set(SPEC.to_json())
    coded = dataclasses.replace(SPEC, code="c" * 64, order_invariant=False)
    assert TestSpec.from_json(coded.to_json()) == coded and TestSpec.from_json(SPEC.to_json()) == SPEC


def test_a_renamed_copy_is_a_duplicate_and_nothing_else_is():
    assert dataclasses.replace(SPEC, annotation="renamed").novelty_sha256 == SPEC.novelty_sha256
    assert dataclasses.replace(SPEC, annotation="renamed").sha256 != SPEC.sha256
    coded = dataclasses.replace(SPEC, code="c" * 64)
    for field in dataclasses.fields(SPEC):
        if field.name not in {"annotation", "background"}:
            value = ("gene_label",) if field.name == "nulls" else "changed"
            assert dataclasses.replace(coded, **{field.name: value}).novelty_sha256 != coded.novelty_sha256, field.name


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.test = "other"  # type: ignore[misc]
    said = Proposal("cohesion", "markers", "all", "all", "claim", 0.5, "greater", "why", "cover")
    assert json.loads(canonical_json(said.to_json()))["parent"] is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        said.prior = 1.0  # type: ignore[misc]
