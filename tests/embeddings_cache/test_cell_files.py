"""Counts come in from every usual file, the same cells from each, and never more of a file than is needed."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import io, sparse

from hyposcreen.embeddings_cache import CacheError, streamed
from hyposcreen.embeddings_cache.cells import cells_from_counts
from hyposcreen.embeddings_cache.gene_names import read_aliases
from hyposcreen.embeddings_cache.streamed import cells_from_h5ad, read_cells

anndata = pytest.importorskip("anndata", reason="writes the .h5ad files")
h5py = pytest.importorskip("h5py", reason="writes the .h5 files")

N_CELLS, N_GENES = 50, 12
SYMBOLS = tuple(f"GENE{i}" for i in range(N_GENES))
IDS = tuple(f"ENSG{i:011d}" for i in range(N_GENES))
COUNTS = np.random.default_rng(3).poisson(0.7, size=(N_CELLS, N_GENES))
TYPES = [("B cell", "CD4+ T", "NK")[i % 3] for i in range(N_CELLS)]
FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


def table(x: Any, names: tuple[str, ...] = SYMBOLS) -> Any:
    data = anndata.AnnData(x.astype(np.float32))
    data.var_names = list(names)
    data.obs["cell_type"] = TYPES[: x.shape[0]]
    return data


def written(path: Path, data: Any) -> Path:
    data.write_h5ad(path)
    return path


@pytest.fixture
def expected() -> Any:
    return cells_from_counts(COUNTS, SYMBOLS, source="test")


def same(cells: Any, expected: Any) -> None:
    """Every number that extraction reads, bit for bit."""
    assert cells.digest == expected.digest
    assert cells.symbols == expected.symbols
    assert cells.library_size.tobytes() == expected.library_size.tobytes()
    for index in range(expected.n_cells):
        for got, want in zip(cells.cell(index), expected.cell(index), strict=True):
            assert got.dtype == want.dtype and (got == want).all()
    for got, want in zip(cells.gene_summary(), expected.gene_summary(), strict=True):
        assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("entries", [1 << 22, 40])
def test_h5ad_is_the_same_cells_in_every_form_and_block_size(
    tmp_path: Path, expected: Any, form: str, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "BLOCK_ENTRIES", entries)
    cells = read_cells(written(tmp_path / "cells.h5ad", table(FORMS[form](COUNTS))))
    assert (cells.block_cells < N_CELLS) == (entries == 40)
    same(cells, expected)
    same(cells.load(), expected)


@pytest.mark.parametrize("form", list(FORMS))
def test_an_object_in_memory_or_backed_is_read_as_well(tmp_path: Path, expected: Any, form: str) -> None:
    data = table(FORMS[form](COUNTS))
    same(read_cells(data), expected)
    same(read_cells(anndata.read_h5ad(written(tmp_path / "cells.h5ad", data), backed="r")), expected)
    with pytest.raises(CacheError, match="cells of type list cannot be read"):
        read_cells([1, 2])


@pytest.mark.parametrize("backed", [True, False])
def test_counts_in_raw_or_a_layer_are_pointed_at_and_read(tmp_path: Path, expected: Any, backed: bool) -> None:
    data = table(sparse.csr_matrix(COUNTS))
    data.raw = data.copy()
    data.layers["spliced"] = sparse.csc_matrix(COUNTS.astype(np.float32))
    data.X = np.log1p(COUNTS).astype(np.float32)
    source = written(tmp_path / "cells.h5ad", data) if backed else data
    with pytest.raises(CacheError, match=r"no whole number of molecules: .* has in layer 'spliced': --layer spliced"):
        read_cells(source)
    for layer in ("raw", ".raw", "spliced"):
        cells = read_cells(source, layer=layer)
        same(cells, expected)
        assert cells.provenance["layer"] == ("spliced" if layer == "spliced" else "raw")
    data.layers["spliced"] = sparse.csc_matrix(np.log1p(COUNTS))
    source = written(tmp_path / "second.h5ad", data) if backed else data
    with pytest.raises(CacheError, match="--layer raw"):
        read_cells(source)
    with pytest.raises(CacheError, match="no layer 'unspliced': choose one of spliced, raw"):
        read_cells(source, layer="unspliced")


def test_scaled_counts_without_any_raw_ones_are_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"cells\.h5ad holds -0\.5, so it was scaled .* raw counts, for example"):
        read_cells(written(tmp_path / "cells.h5ad", table(COUNTS - 0.5)))


def test_a_bad_count_deep_in_the_file_is_found_when_it_is_read(tmp_path: Path) -> None:
    many = np.tile(COUNTS, (3, 1)).astype(np.float32)
    many[130, 4] = 2.5
    data = anndata.AnnData(sparse.csr_matrix(many))
    data.var_names = list(SYMBOLS)
    cells = read_cells(written(tmp_path / "cells.h5ad", data))
    for read in (cells.gene_summary, cells.load, lambda: cells.cell(130)):
        with pytest.raises(CacheError, match=r"holds 2\.5, which is no whole number"):
            read()


def test_ensembl_ids_give_way_to_symbols(tmp_path: Path, expected: Any) -> None:
    versioned = tuple(f"{name}.{i}" for i, name in enumerate(IDS))
    data = table(COUNTS, versioned)
    plain = read_cells(data)
    assert plain.symbols == IDS
    data.var["feature_name"] = list(SYMBOLS)
    same(read_cells(data), expected)
    assert read_cells(data).provenance["gene_names"] == "feature_name"
    data.var["other"] = [f"X{i}" for i in range(N_GENES)]
    assert read_cells(written(tmp_path / "cells.h5ad", data), gene_column="other").symbols[0] == "X0"
    with pytest.raises(CacheError, match="no var column 'symbols': choose one of feature_name, other"):
        read_cells(data, gene_column="symbols")


def test_old_names_are_replaced_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("# old\tnew\nGENE0\tNEW0\n\nGENE1,GENE2\nABSENT\tZ\n")
    cells = read_cells(table(COUNTS), aliases=read_aliases(tmp_path / "names.tsv"))
    assert cells.symbols == ("NEW0", *SYMBOLS[2:])
    merged = np.delete(COUNTS, 1, axis=1)
    merged[:, 1] += COUNTS[:, 1]
    same(cells, cells_from_counts(merged, cells.symbols, source="test"))
    assert cells.provenance["aliases"]["names_replaced"] == 2
    assert cells.provenance["columns_added_up"] == {"genes": 1, "first": ["GENE2"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [("A\tB\nA\tC\n", "line 2 calls 'A' C, and an earlier line B"), ("A\n", "line 1 is 'A': give an old name, a tab")],
)
def test_a_bad_table_of_names_is_refused_with_the_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "names.tsv").write_text(text)
    with pytest.raises(CacheError, match=says):
        read_aliases(tmp_path / "names.tsv")


def test_repeated_and_blank_names(tmp_path: Path) -> None:
    twice = ("A", "A", *SYMBOLS[2:])
    cells = read_cells(table(COUNTS, twice))
    assert cells.symbols == ("A", *SYMBOLS[2:])
    assert cells.library_size.sum() == COUNTS.sum()
    with pytest.raises(CacheError, match="names gene 'A' more than once"):
        read_cells(table(COUNTS, twice), duplicates="refuse")
    with pytest.raises(CacheError, match="blank gene name in column 3"):
        read_cells(table(COUNTS, ("A", "B", " ", *SYMBOLS[3:])))


def write_10x_folder(folder: Path, *, zipped: bool) -> Path:
    folder.mkdir()
    features = "".join(f"{i}\t{s}\tGene Expression\n" for i, s in zip(IDS, SYMBOLS, strict=True))
    features += "CD3\tCD3_antibody\tAntibody Capture\n"
    counts = np.hstack([COUNTS, np.full((N_CELLS, 1), 900)])
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(counts.T))
    (folder / "features.tsv").write_text(features)
    if zipped:
        for name in ("matrix.mtx", "features.tsv"):
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_a_10x_folder(tmp_path: Path, expected: Any, zipped: bool) -> None:
    cells = read_cells(write_10x_folder(tmp_path / "filtered", zipped=zipped))
    same(cells, expected)
    assert cells.provenance["columns_left_out"] == 1
    assert read_cells(tmp_path / "filtered", gene_column="id").symbols == IDS
    with pytest.raises(CacheError, match="no layer 'counts'"):
        read_cells(tmp_path / "filtered", layer="counts")


def test_a_broken_10x_folder_is_named(tmp_path: Path) -> None:
    folder = write_10x_folder(tmp_path / "filtered", zipped=False)
    lines = (folder / "features.tsv").read_text().splitlines(keepends=True)
    (folder / "features.tsv").write_text("".join(lines[:-1]))
    with pytest.raises(CacheError, match=r"features\.tsv names 12 genes and .*matrix\.mtx has 13 rows"):
        read_cells(folder)
    (folder / "features.tsv").write_text("".join([*lines[:4], "\n", *lines[5:]]))
    with pytest.raises(CacheError, match=r"features\.tsv line 5 has no tab"):
        read_cells(folder)
    (folder / "features.tsv").unlink()
    with pytest.raises(CacheError, match=r"holds none of features\.tsv, features\.tsv\.gz, genes\.tsv"):
        read_cells(folder)
    (folder / "matrix.mtx").write_text("no matrix")
    (folder / "features.tsv").write_text("".join(lines))
    with pytest.raises(CacheError, match=r"filtered cannot be read"):
        read_cells(folder)


@pytest.mark.parametrize("version", [2, 3])
def test_a_10x_h5_file(tmp_path: Path, expected: Any, version: int) -> None:
    matrix = sparse.csc_matrix(COUNTS.T)
    with h5py.File(tmp_path / "cells.h5", "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(matrix.shape)
        if version == 3:
            group["features/id"] = np.array(IDS, dtype="S")
            group["features/name"] = np.array(SYMBOLS, dtype="S")
            group["features/feature_type"] = np.array(["Gene Expression"] * N_GENES, dtype="S")
        else:
            group["genes"], group["gene_names"] = np.array(IDS, dtype="S"), np.array(SYMBOLS, dtype="S")
    same(read_cells(tmp_path / "cells.h5"), expected)


def test_files_that_are_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "text.h5ad").write_text("cells")
    with pytest.raises(CacheError, match=r"text\.h5ad cannot be read as \.h5ad or \.h5"):
        read_cells(tmp_path / "text.h5ad")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(CacheError, match=r"other\.h5 is neither an AnnData nor a 10x file"):
        read_cells(tmp_path / "other.h5")
    whole = written(tmp_path / "cells.h5ad", table(COUNTS)).read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CacheError, match=r"cut\.h5ad cannot be read"):
        read_cells(tmp_path / "cut.h5ad")
    with pytest.raises(CacheError, match=r"none\.h5ad does not exist"):
        read_cells(tmp_path / "none.h5ad")
    with pytest.raises(CacheError, match="0 cells"):
        read_cells(table(COUNTS[:0]))


def test_the_interface_for_small_files_reads_into_memory(tmp_path: Path) -> None:
    data = table(np.log1p(COUNTS))
    data.var["name"] = [f"N{i}" for i in range(N_GENES)]
    data.layers["counts"] = COUNTS.astype(np.float32)
    path = written(tmp_path / "cells.h5ad", data)
    with pytest.raises(CacheError, match=r"cells\.h5ad holds .* give raw counts"):
        cells_from_h5ad(path)
    read = cells_from_h5ad(path, layer="counts", symbol_column="name")
    assert read.symbols[:2] == ("N0", "N1") and read.obs["cell_type"] == tuple(TYPES)
    with pytest.raises(CacheError, match="more than once"):
        cells_from_h5ad(written(tmp_path / "twice.h5ad", table(COUNTS, ("A",) * N_GENES)))


@pytest.mark.parametrize("form", list(FORMS))
def test_a_selection_is_those_cells(tmp_path: Path, form: str) -> None:
    rows = np.array([0, 1, 7, 8, 9, 30, 49])
    cells = read_cells(written(tmp_path / "cells.h5ad", table(FORMS[form](COUNTS)))).select(rows, why="test")
    same(cells, cells_from_counts(COUNTS[rows], SYMBOLS, source="test"))
    assert cells.obs["cell_type"] == tuple(TYPES[row] for row in rows)
    assert cells.provenance["why"] == "test"
    twice = cells.select(np.array([1, 5]))
    same(twice, cells_from_counts(COUNTS[[1, 30]], SYMBOLS, source="test"))
    with pytest.raises(IndexError):
        twice.cell(2)


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_memory_does_not_grow_with_the_cells(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak of Python's own allocations while every cell is read, for 400 and 6,400 cells of 500 genes."""
    from hyposcreen.embeddings_cache import count_files

    monkeypatch.setattr(streamed, "BLOCK_ENTRIES", 4_000)
    monkeypatch.setattr(count_files, "_PIECE", 1 << 14)
    peaks = []
    for n in (400, 6400):
        x = sparse.random(n, 500, density=0.2, random_state=1, format="csr", dtype=np.float32)
        x.data[:] = np.ceil(x.data * 4)
        data = anndata.AnnData(FORMS[form](x.toarray()) if form == "dense" else FORMS[form](x))
        path = written(tmp_path / f"{n}.h5ad", data)
        del x, data
        cells = read_cells(path)
        tracemalloc.start()
        for index in range(cells.n_cells):
            cells.cell(index)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    in_memory = 6400 * 100 * 8
    assert peaks[1] < in_memory
    assert peaks[1] < 2 * peaks[0]


def test_ensembl_ids_are_kept_wherever_the_file_has_them() -> None:
    by_symbol = table(sparse.csr_matrix(COUNTS))
    assert set(read_cells(by_symbol).ensembl_ids) == {""}
    by_symbol.var["gene_ids"] = [*(f"{one}.7" for one in IDS[:-1]), "ERCC-00002"]  # a spike-in has none
    assert read_cells(by_symbol).ensembl_ids == (*IDS[:-1], "")
    by_id = table(sparse.csr_matrix(COUNTS), IDS)
    by_id.var["feature_name"] = [*SYMBOLS[:-1], SYMBOLS[0]]  # two ids of one gene
    cells = read_cells(by_id)
    assert cells.symbols == SYMBOLS[:-1]
    assert cells.ensembl_ids == (f"{IDS[0]}|{IDS[-1]}", *IDS[1:-1])
    assert cells.select(np.arange(3)).load().ensembl_ids == cells.ensembl_ids
