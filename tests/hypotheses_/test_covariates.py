"""A user's own covariates: read by name, printed in the balance, noted where they stand out, frozen with the run."""

from pathlib import Path

import numpy as np
import pytest

from hyposcreen.agent.config import load_config
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.orchestrator import plan_of
from hyposcreen.agent.project import open_project
from hyposcreen.embeddings_cache.families import gene_families
from hyposcreen.embeddings_cache.store import SHIPPED, open_cache
from hyposcreen.hypotheses.annotations import DEMO, AnnotationError, get, load_annotations
from hyposcreen.hypotheses.covariates import Covariates, read_covariates

SYMBOLS = ("A1", "B2", "C3", "D4")


def write(folder: Path, text: str) -> Path:
    (folder / "own.tsv").write_text(text, encoding="utf-8")
    return folder / "own.tsv"


def test_numbers_are_placed_by_name_and_gaps_get_the_mean(tmp_path: Path) -> None:
    found = read_covariates(write(tmp_path, "gene\tlength\tgc\nC3\t3\t.5\nA1\t1\tNA\nZZ\t9\t9\nB2\t\t.1\n"), SYMBOLS)
    assert found.columns["length"].tolist()[:3:2] == [1.0, 3.0] and np.isnan(found.columns["length"][[1, 3]]).all()
    rows = found.of(np.array([0, 1, 2]))
    assert rows["length"].tolist() == [1.0, 2.0, 3.0] and rows["gc"].tolist() == [0.3, 0.1, 0.5]
    assert found.facts() == {"covariates": {"file": "own.tsv", "sha256": found.sha256, "genes": {"length": 2, "gc": 2}}}
    assert Covariates().facts() == {} and Covariates().of(np.array([0])) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gene\nA1\n", "no other"),
        ("gene\tx\nA1\t1\nA1\t2\n", "line 3: A1 stands on line 2"),
        ("gene\tx\nA1\tlong\n", "line 2: x is 'long'"),
        ("gene\tx\nA1\tinf\n", "x is 'inf'"),
        ("gene\tx\nZ\t1\n", "no number in 'x' for any gene of the cache"),
        ("name\tx\nA1\t1\n", "no column for the gene"),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_covariates(write(tmp_path, text), SYMBOLS)
    assert says in str(caught.value) and "own.tsv" in str(caught.value)


def test_a_run_prints_freezes_and_notes_them(tmp_path: Path) -> None:
    cache = open_cache(SHIPPED["demo"], verify=False)
    members = get(load_annotations(DEMO), "b_cells").genes()
    text = "gene\tpapers\tcoin\n" + "".join(
        f"{s}\t{100 + i % 7 if s in members else i % 7}\t{i % 2}\n" for i, s in enumerate(cache.genes.symbol)
    )
    write(tmp_path, text)
    plain = open_project(tmp_path, load_config(tmp_path, {}, {}))
    project = open_project(tmp_path, load_config(tmp_path, {"covariates": "own.tsv"}, {}))
    checks = project.label_checks("cohesion", "b_cells")
    assert checks["balance"]["stratified"]["own papers"] > 1
    assert (
        "papers" in checks["notes"][-1] and "not matched" in checks["notes"][-1] and "coin" not in checks["notes"][-1]
    )
    assert checks["unbalanced"] == plain.label_checks("cohesion", "b_cells")["unbalanced"]
    assert project.cache_facts()["covariates"]["genes"] == {"papers": cache.n_genes, "coin": cache.n_genes}
    assert "covariates" not in plain.cache_facts()
    assert plan_of(project).universe == plan_of(plain).universe
    with pytest.raises(UserError, match="there is no file"):
        open_project(tmp_path, load_config(tmp_path, {"covariates": "none.tsv"}, {}))


def test_partners_of_the_highest_grade_in_a_users_pairs_are_sealed_or_explored_together(tmp_path: Path) -> None:
    """Symbols name families; a user's own complexes come as pairs, and the split may not tear them apart."""
    cache = open_cache(SHIPPED["demo"], verify=False)
    known = [s for s, ok in zip(cache.genes.symbol, cache.genes.usable, strict=True) if ok]
    kin = dict(zip(cache.genes.symbol, gene_families(cache.genes.symbol), strict=True))
    alone = [s for s in known if kin[s] == s]
    pairs = [(alone[i], alone[-1 - i], 2 + i % 2) for i in range(40)]
    rows = "".join(f"{a}\t{b}\t{grade}\n" for a, b, grade in pairs)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "complexes.tsv").write_text(f"gene_a\tgene_b\tgrade\n{rows}", encoding="utf-8")
    (tmp_path / "own" / "annotations.toml").write_text(
        '[complexes]\nfile = "complexes.tsv"\nkind = "gene_pairs"\nsource = "us"\nversion = "1"\nlicence = "CC0-1.0"\n'
        'provenance = "external"\n',
        encoding="utf-8",
    )
    project = open_project(tmp_path, load_config(tmp_path, {"annotations": "own"}, {}))
    side = dict(zip(cache.genes.symbol, project.split.tolist(), strict=True))
    torn = {grade: sum(side[a] != side[b] for a, b, g in pairs if g == grade) for grade in (2, 3)}
    assert torn[3] == 0 < torn[2]
