"""Arrays of other models come in under an explicit gene list, or are refused with the line; caches go out and come back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.embeddings_cache import CacheError, open_cache
from hyposcreen.embeddings_cache.exporting import export_cache
from hyposcreen.embeddings_cache.gene_names import read_aliases
from hyposcreen.embeddings_cache.importing import Imported, import_cache, not_matched
from hyposcreen.embeddings_cache.store import SHIPPED, STORE, Cache

N, DIM = 9, 4
SYMBOLS = [f"GENE{i}" for i in range(N)]
LAYERS = [np.random.default_rng(i).normal(size=(N, DIM)).astype(np.float32) for i in range(3)]


@pytest.fixture
def demo() -> Cache:
    return open_cache(SHIPPED["demo"], verify=False)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    return lines(tmp_path / "genes.txt", SYMBOLS)


@pytest.fixture
def array(tmp_path: Path) -> Path:
    return saved(tmp_path / "model.npy", np.stack(LAYERS))


def lines(path: Path, names: list[str]) -> Path:
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def saved(path: Path, value: Any) -> Path:
    np.save(path, value)
    return path


def brought(folder: Path, *files: Path, **options: Any) -> Imported:
    return import_cache(files, "mine", folder, **options)


def refused(folder: Path, says: str, *files: Path, **options: Any) -> None:
    with pytest.raises(CacheError, match=says) as caught:
        import_cache(files, "mine", folder, **options)
    assert "\n" not in str(caught.value)
    assert not (folder / STORE).exists() or not list((folder / STORE).iterdir())


def test_an_array_of_layers_and_a_list_become_a_cache(tmp_path: Path, array: Path, names: Path) -> None:
    made = brought(tmp_path, array, genes=[names], model="Geneformer")
    cache = open_cache(tmp_path / STORE / "mine")
    assert cache.digest == made.cache.digest and cache.genes.symbol == tuple(SYMBOLS)
    for stored, given in zip(cache.layers, LAYERS, strict=True):
        assert stored.tobytes() == given.tobytes()
    told = cache.manifest["provenance"]
    assert told["model"] == "Geneformer" and set(told["imported"]["files"]) == {"model.npy", "genes.txt"}
    assert told["imported"]["arrays"] == ["model[0]", "model[1]", "model[2]"]
    assert (cache.genes.n_cells == -1).all() and cache.genes.usable.all()
    np.testing.assert_allclose(cache.genes.norm, np.linalg.norm(LAYERS[2], axis=1), rtol=1e-6)


def test_what_is_not_known_is_said_not_to_be_matched(tmp_path: Path, array: Path, names: Path) -> None:
    made = brought(tmp_path, array, genes=[names])
    assert not_matched(made.cache.manifest) == ("expression", "detection")
    assert (
        "expression and detection of the genes are not known, so the stratified null does not match" in made.remarks[0]
    )


def test_a_table_by_name_gives_expression(tmp_path: Path, array: Path, names: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(N)
    rows = [f"{SYMBOLS[i]}\t{i + 5}\t{i / 10}\t{i / 20}" for i in shuffled]
    table = lines(tmp_path / "table.tsv", ["symbol\tn_cells\tmean_expression\tdetection", *rows, "OTHER\t1\t1\t1"])
    made = brought(tmp_path, array, genes=[names], table=table)
    genes = made.cache.genes
    assert genes.n_cells.tolist() == [i + 5 for i in range(N)]
    assert genes.mean_expression.tolist() == [i / 10 for i in range(N)]
    assert genes.detection.tolist() == [i / 20 for i in range(N)]
    assert not_matched(made.cache.manifest) == () and made.remarks == ()


def test_a_gene_list_may_be_a_table_with_numbers_of_its_own(tmp_path: Path, array: Path) -> None:
    rows = [f"{symbol},{i / 10}" for i, symbol in enumerate(SYMBOLS)]
    made = brought(tmp_path, array, genes=[lines(tmp_path / "genes.csv", ["gene,mean_expression", *rows])])
    assert made.cache.genes.mean_expression.tolist() == [i / 10 for i in range(N)]
    assert not_matched(made.cache.manifest) == ("detection",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("GENE4\t0.5\t1.5", "line 6 gives detection = '1.5': give a fraction between 0 and 1"),
        ("GENE4\tNA\t0.5", "line 6 gives mean_expression = 'NA': give a number of at least 0"),
        ("GENE4\t0.5", "line 6 gives detection = ''"),
        ("GENE3\t0.5\t0.5", "line 6 names 'GENE3', and so does line 5"),
        ("", "line 6 is blank"),
    ],
)
def test_a_bad_line_of_a_table(tmp_path: Path, array: Path, names: Path, line: str, says: str) -> None:
    rows = [f"{symbol}\t0.5\t0.5" for symbol in SYMBOLS]
    rows[4] = line
    table = lines(tmp_path / "table.tsv", ["symbol\tmean_expression\tdetection", *rows])
    refused(tmp_path, says, array, genes=[names], table=table)


def test_a_table_that_lacks_genes_or_numbers(tmp_path: Path, array: Path, names: Path) -> None:
    short = lines(tmp_path / "short.tsv", ["symbol\tdetection", *(f"{symbol}\t0.5" for symbol in SYMBOLS[:-2])])
    refused(tmp_path, r"short\.tsv lacks 2 of 9 genes, the first is 'GENE7'", array, genes=[names], table=short)
    bare = lines(tmp_path / "bare.tsv", ["symbol\tx", *(f"{symbol}\t0.5" for symbol in SYMBOLS)])
    refused(tmp_path, "has none of the columns n_cells, mean_expression, detection", array, genes=[names], table=bare)
    other = lines(tmp_path / "other.tsv", ["id\tx"])
    refused(tmp_path, r"line 1 names the columns id, x and none of symbol", array, genes=[names], table=other)


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ([*SYMBOLS[:3], "", *SYMBOLS[3:]], r"genes\.txt line 4 is blank"),
        ([*SYMBOLS, ""], r"genes\.txt line 10 is blank"),
        ([*SYMBOLS[:3], "  ", *SYMBOLS[4:]], r"genes\.txt line 4 is blank"),
        ([*SYMBOLS[:8], "GENE2"], r"genes\.txt line 9 names 'GENE2', and so does line 3"),
        (SYMBOLS[:-1], r"genes\.txt names 8 genes and 'model\[0\]' of .*model\.npy has 9 rows: give one name"),
        (["gene_name", *SYMBOLS], "names 10 genes .* has 9 rows; 'gene_name' looks like a heading"),
        (["0\tGENE0", *SYMBOLS[1:]], r"line 1 holds more than a name: name the file \.tsv"),
        ([], "names 0 genes"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_with_the_line(
    tmp_path: Path, array: Path, listed: list[str], says: str
) -> None:
    refused(tmp_path, says, array, genes=[lines(tmp_path / "genes.txt", listed)])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({name: i for i, name in enumerate(SYMBOLS)}, None),
        ({name: N - 1 - i for i, name in enumerate(SYMBOLS)}, None),
        (SYMBOLS, None),
        ({name: i + 1 for i, name in enumerate(SYMBOLS)}, "begins at 1: rows count from 0 without a gap"),
        ({name: i + (i > 4) for i, name in enumerate(SYMBOLS)}, "gives 'GENE5' row 6 where row 5 is due"),
        ({name: min(i, 7) for i, name in enumerate(SYMBOLS)}, "gives 'GENE8' row 7 where row 8 is due"),
        ([*SYMBOLS[:-1], ""], "entry 9 is blank"),
        ({"a": "b"}, "neither a list of names nor an object"),
    ],
)
def test_a_map_of_names_to_rows(tmp_path: Path, array: Path, value: Any, says: str | None) -> None:
    path = tmp_path / "genes.json"
    path.write_text(json.dumps(value))
    if says is not None:
        return refused(tmp_path, says, array, genes=[path])
    made = brought(tmp_path, array, genes=[path])
    rows = value if isinstance(value, dict) else {name: i for i, name in enumerate(value)}
    for name, row in rows.items():
        place = made.cache.genes.symbol.index(name)
        assert (made.cache.layers[0][place] == LAYERS[0][row]).all()
    return None


def test_one_file_a_layer_and_lists_in_other_orders(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(N)
    files = [saved(tmp_path / "a.npy", LAYERS[0]), saved(tmp_path / "b.npy", LAYERS[1][order])]
    lists = [
        lines(tmp_path / "a.txt", SYMBOLS),
        lines(tmp_path / "b.txt", [SYMBOLS[i] for i in order]),
    ]
    made = brought(tmp_path, *files, genes=lists)
    assert made.cache.genes.symbol == tuple(SYMBOLS)
    assert (made.cache.layers[1] == LAYERS[1]).all()
    lines(tmp_path / "b.txt", ["ELSE", *[SYMBOLS[i] for i in order][1:]])
    with pytest.raises(CacheError, match="do not name the same genes"):
        import_cache(files, "other", tmp_path, genes=lists)
    with pytest.raises(CacheError, match="2 gene lists are given for 1 files"):
        import_cache(files[:1], "other", tmp_path, genes=lists)


def test_npz_and_safetensors_in_the_order_of_their_numbers(tmp_path: Path, names: Path) -> None:
    many = {f"layer_{i}": np.full((N, DIM), i, dtype=np.float32) + LAYERS[0] for i in (10, 2, 1)}
    np.savez(tmp_path / "model.npz", **many)
    made = brought(tmp_path, tmp_path / "model.npz", genes=[names])
    assert made.cache.manifest["provenance"]["imported"]["arrays"] == ["layer_1", "layer_2", "layer_10"]
    assert (made.cache.layers[2] == many["layer_10"]).all()
    two = import_cache([tmp_path / "model.npz"], "two", tmp_path, genes=[names], layers=["layer_10", "layer_1"])
    assert (two.cache.layers[0] == many["layer_10"]).all() and two.cache.n_layers == 2
    with pytest.raises(CacheError, match="no array 'layer_3': choose among layer_1, layer_2, layer_10"):
        import_cache([tmp_path / "model.npz"], "three", tmp_path, genes=[names], layers=["layer_3"])
    numpy_format = pytest.importorskip("safetensors.numpy", reason="writes the file")
    numpy_format.save_file(many, tmp_path / "model.safetensors")
    same = import_cache([tmp_path / "model.safetensors"], "same", tmp_path, genes=[names])
    assert same.cache.digest == made.cache.digest


def test_bfloat16_is_refused_with_the_mend(tmp_path: Path, names: Path) -> None:
    torch = pytest.importorskip("torch", reason="has bfloat16")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(N, DIM, dtype=torch.bfloat16)}, tmp_path / "half.safetensors")
    refused(tmp_path, "holds 'x' as bfloat16.*save it as float32", tmp_path / "half.safetensors", genes=[names])


def test_h5ad_names_its_genes_itself(tmp_path: Path, names: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="writes the .h5ad file")
    data = anndata.AnnData(np.zeros((2, N), dtype=np.float32))
    data.var_names = SYMBOLS
    for i, layer in enumerate(LAYERS):
        data.varm[f"h{i}"] = layer
    data.write_h5ad(tmp_path / "model.h5ad")
    made = brought(tmp_path, tmp_path / "model.h5ad")
    assert (made.cache.layers[2] == LAYERS[2]).all() and made.cache.genes.symbol == tuple(SYMBOLS)
    agreed = import_cache([tmp_path / "model.h5ad"], "agreed", tmp_path, genes=[names], layers=["h1"])
    assert agreed.cache.n_layers == 1
    lines(names, [SYMBOLS[1], SYMBOLS[0], *SYMBOLS[2:]])
    with pytest.raises(CacheError, match=r"line 1 names 'GENE1' where .*model\.h5ad has 'GENE0'"):
        import_cache([tmp_path / "model.h5ad"], "third", tmp_path, genes=[names])


def test_ensembl_ids_need_names(tmp_path: Path, array: Path) -> None:
    ids = [f"ENSG{i:011d}.{i}" for i in range(N)]
    listed = lines(tmp_path / "ids.txt", ids)
    plain = brought(tmp_path, array, genes=[listed])
    assert plain.cache.genes.symbol[3] == "ENSG00000000003"
    assert "annotations name symbols" in plain.remarks[-1]
    table = lines(tmp_path / "alias.tsv", [f"ENSG{i:011d}\t{s}" for i, s in enumerate(SYMBOLS)])
    named = import_cache([array], "named", tmp_path, genes=[listed], aliases=read_aliases(table))
    assert named.cache.genes.symbol == tuple(SYMBOLS)
    assert named.cache.genes.ensembl_id[3] == "ENSG00000000003"
    assert (named.cache.path / "genes.tsv").read_text().splitlines()[4].split("\t")[-1] == "ENSG00000000003"
    lines(table, [f"ENSG{i:011d}\tSAME" for i in range(N)])
    with pytest.raises(CacheError, match="line 2 names 'SAME', and so does line 1"):
        import_cache([array], "same", tmp_path, genes=[listed], aliases=read_aliases(table))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((N, DIM), dtype=np.int32), "as int32, which is no embedding"),
        (np.zeros(N), r"of shape \(9,\): give \[genes, dim\]"),
        (np.full((N, DIM), 1e300), "beyond the range of float32"),
        (np.full((N, DIM), np.inf, dtype=np.float16), "float16 overflows beyond 65,504"),
        (np.where(np.arange(DIM) == 1, np.nan, LAYERS[0]), "layer 0 is not finite for gene 'GENE0'"),
        (np.zeros((N, DIM)), "every gene is masked"),
    ],
)
def test_arrays_that_are_no_embedding(tmp_path: Path, names: Path, value: Any, says: str) -> None:
    refused(tmp_path, says, saved(tmp_path / "bad.npy", value), genes=[names])


def test_files_that_cannot_be_read(tmp_path: Path, names: Path, array: Path) -> None:
    (tmp_path / "cut.npy").write_bytes(array.read_bytes()[:100])
    refused(tmp_path, r"cut\.npy cannot be read", tmp_path / "cut.npy", genes=[names])
    (tmp_path / "cut.npz").write_bytes(b"PK")
    refused(tmp_path, r"cut\.npz cannot be read", tmp_path / "cut.npz", genes=[names])
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(tmp_path, r"objects\.npy cannot be read", tmp_path / "objects.npy", genes=[names])
    refused(tmp_path, r"model\.pkl' ends|ends in '\.pkl'", tmp_path / "model.pkl", genes=[names])
    refused(tmp_path, r"none\.npy does not exist", tmp_path / "none.npy", genes=[names])
    refused(tmp_path, "does not name its genes: give a list of them with --genes", array)
    refused(tmp_path, r"absent\.txt cannot be read \(No such file", array, genes=[tmp_path / "absent.txt"])
    refused(tmp_path, r"model\.npy cannot be read \(it is not UTF-8", array, genes=[array])


@pytest.mark.parametrize("name", ["demo", "../x", "", ".hidden", "a b"])
def test_names_that_cannot_be(tmp_path: Path, array: Path, names: Path, name: str) -> None:
    with pytest.raises(CacheError, match=r"ships with the package|cannot be called"):
        import_cache([array], name, tmp_path, genes=[names])
    assert not (tmp_path / STORE).exists()


def test_a_row_without_any_value_was_never_observed(tmp_path: Path, names: Path) -> None:
    layers = np.stack(LAYERS)
    layers[:, 3] = np.nan
    made = brought(tmp_path, saved(tmp_path / "model.npy", layers), genes=[names])
    assert made.cache.genes.mask_reason[3] == "never sampled" and made.cache.genes.usable.sum() == N - 1


def test_a_shuffled_list_is_refused_unless_a_person_says_why(tmp_path: Path, demo: Cache) -> None:
    array = saved(tmp_path / "demo.npy", np.stack(demo.layers))
    right = lines(tmp_path / "genes.txt", list(demo.genes.symbol))
    assert brought(tmp_path, array, genes=[right]).cache.digest == demo.digest
    order = np.random.default_rng(0).permutation(demo.n_genes)
    wrong = lines(tmp_path / "wrong.txt", [demo.genes.symbol[i] for i in order])
    with pytest.raises(CacheError, match=r"so does a gene list in another order.*--despite"):
        import_cache([array], "wrong", tmp_path, genes=[wrong])
    accepted = import_cache([array], "control", tmp_path, genes=[wrong], despite="a control with shuffled genes")
    assert accepted.cache.manifest["provenance"]["warnings_accepted"] == "a control with shuffled genes"
    assert len(accepted.cache.report.warnings) == 1


def test_npz_goes_out_and_comes_back(tmp_path: Path, demo: Cache) -> None:
    out = export_cache(demo, tmp_path / "demo.npz")
    with np.load(out, allow_pickle=False) as file:
        assert str(file["digest"]) == demo.digest
        assert file["symbol"].tolist() == list(demo.genes.symbol)
        assert (file["usable"] == demo.genes.usable).all()
        layers = sorted(name for name in file.files if name.startswith("layer_"))
        listed = lines(tmp_path / "genes.txt", file["symbol"].tolist())
    table = export_cache(demo, tmp_path / "demo.tsv")
    back = import_cache([out], "back", tmp_path, genes=[listed], layers=layers, table=table)
    assert back.cache.digest == demo.digest
    assert back.cache.genes.mean_expression.tobytes() == demo.genes.mean_expression.tobytes()
    assert {p.name for p in tmp_path.iterdir()} == {"demo.npz", "demo.tsv", "genes.txt", "embeddings_cache"}


def test_h5ad_goes_out_and_comes_back(tmp_path: Path, demo: Cache) -> None:
    anndata = pytest.importorskip("anndata", reason="writes and reads the .h5ad file")
    out = export_cache(demo, tmp_path / "demo.h5ad")
    data = anndata.read_h5ad(out)
    assert data.uns["hyposcreen"]["digest"] == demo.digest
    assert (data.var["mask_reason"] == list(demo.genes.mask_reason)).all()
    assert import_cache([out], "back", tmp_path).cache.digest == demo.digest


def test_export_to_a_bad_place(tmp_path: Path, demo: Cache) -> None:
    with pytest.raises(CacheError, match=r"demo\.csv does not end in one of \.npz, \.h5ad, \.tsv"):
        export_cache(demo, tmp_path / "demo.csv")
    with pytest.raises(CacheError, match=r"demo\.npz cannot be written"):
        export_cache(demo, tmp_path / "no" / "demo.npz")


@pytest.mark.parametrize("ending", ["npz", "h5ad"])
def test_a_full_disk_leaves_the_old_export(tmp_path: Path, ending: str) -> None:
    if ending == "h5ad":
        pytest.importorskip("anndata", reason="writes the .h5ad file")
    (tmp_path / f"demo.{ending}").write_text("old")
    script = (
        "import resource, sys; from hyposcreen.embeddings_cache import CacheError, open_cache\n"
        "from hyposcreen.embeddings_cache.exporting import export_cache\n"
        "from hyposcreen.embeddings_cache.store import SHIPPED\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: export_cache(open_cache(SHIPPED['demo']), sys.argv[1])\n"
        "except CacheError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / f"demo.{ending}")], capture_output=True, text=True, check=False
    )
    assert f"demo.{ending} cannot be written" in done.stdout, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [f"demo.{ending}"]
    assert (tmp_path / f"demo.{ending}").read_text() == "old"
