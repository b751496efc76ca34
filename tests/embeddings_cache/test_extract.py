"""Extraction: the right mean of the right states, whatever the grouping; unobserved genes are missing."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extraction runs a torch model")
torch.set_num_threads(1)  # tests run beside one another

from hyposcreen.embeddings_cache import CacheError, find_cache, open_cache  # noqa: E402
from hyposcreen.embeddings_cache import store as store_module  # noqa: E402
from hyposcreen.embeddings_cache.cells import cells_from_counts, demo_cells  # noqa: E402
from hyposcreen.embeddings_cache.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from hyposcreen.embeddings_cache.encoder import Architecture, ScGPTEncoder  # noqa: E402
from hyposcreen.embeddings_cache.extract import extract, random_init_like  # noqa: E402
from hyposcreen.embeddings_cache.recipes import bin_counts  # noqa: E402

SYMBOLS = tuple(f"GENE{i}X" for i in range(30))
DEMO = store_module.SHIPPED["demo"].parent


@pytest.fixture
def checkpoint():
    torch.manual_seed(3)
    # The vocabulary runs against the order of the cells' genes, so that a mix-up of rows shows.
    vocab = {token: row for row, token in enumerate([*SYMBOLS[::-1], "<pad>", "<cls>"])}
    return Checkpoint("tiny", ScGPTEncoder(Architecture(32, 16, 2, 2, 16, 30)).eval(), vocab, {}, "0" * 64)


@pytest.fixture
def cells():
    counts = np.random.default_rng(0).poisson(0.7, (40, 30))
    counts[:, 4] = 0  # never expressed
    counts[:, 9] = 0
    counts[:2, 9] = 3  # in two cells
    counts[17] = 0  # an empty cell
    return cells_from_counts(counts, SYMBOLS, source="test")


@torch.no_grad()
def means_by_hand(checkpoint, cells):
    """One cell at a time, one gene at a time."""
    total = np.zeros((3, cells.n_genes, 16))
    seen = np.zeros(cells.n_genes, dtype=int)
    for index in range(cells.n_cells):
        columns, counts = cells.cell(index)
        if not len(columns):
            continue
        ids = [checkpoint.vocab["<cls>"], *(checkpoint.vocab[cells.symbols[column]] for column in columns)]
        values = [-2.0, *bin_counts(counts, 51).tolist()]
        states = checkpoint.encoder.states(torch.tensor([ids]), torch.tensor([values]))
        for position, column in enumerate(columns):
            seen[column] += 1
            for layer in range(3):
                total[layer, column] += states[layer][0, position + 1].double().numpy()
    with np.errstate(invalid="ignore"):
        return total / seen[None, :, None], seen


def test_means_equal_those_made_by_hand(tmp_path, checkpoint, cells):
    expected, seen = means_by_hand(checkpoint, cells)
    cache = extract(checkpoint, cells, tmp_path / "c")
    np.testing.assert_array_equal(cache.genes.n_cells, seen)
    assert cache.manifest["provenance"]["empty_cells"] == 1
    np.testing.assert_allclose(np.stack(cache.layers), expected, atol=1e-5)


@pytest.mark.parametrize("group_tokens", [1, 37, 100000])
def test_grouping_of_cells_does_not_matter(tmp_path, checkpoint, cells, group_tokens):
    usual = np.stack(extract(checkpoint, cells, tmp_path / "a").layers)
    other = np.stack(extract(checkpoint, cells, tmp_path / "b", group_tokens=group_tokens).layers)
    np.testing.assert_allclose(other, usual, atol=1e-6)


def test_order_of_cells_and_genes_does_not_matter(tmp_path, checkpoint, cells):
    rng = np.random.default_rng(1)
    table = np.zeros((cells.n_cells, cells.n_genes), dtype=int)
    for index in range(cells.n_cells):
        columns, counts = cells.cell(index)
        table[index, columns] = counts
    genes, order = rng.permutation(cells.n_genes), rng.permutation(cells.n_cells)
    mixed = cells_from_counts(table[order][:, genes], tuple(SYMBOLS[i] for i in genes), source="test")
    usual, other = (extract(checkpoint, one, tmp_path / str(i)) for i, one in enumerate((cells, mixed)))
    np.testing.assert_array_equal(other.genes.n_cells, usual.genes.n_cells[genes])
    np.testing.assert_allclose(np.stack(other.layers), np.stack(usual.layers)[:, genes], atol=1e-6)


def test_unobserved_genes_are_missing_and_masked(tmp_path, checkpoint, cells):
    cache = extract(checkpoint, cells, tmp_path / "c")
    assert cache.genes.n_cells[4] == 0 and cache.genes.mask_reason[4] == "never sampled"
    assert all(np.isnan(layer[4]).all() for layer in cache.layers)
    assert cache.genes.mask_reason[9] == "fewer than 5 cells"
    assert not any((layer == 0).all(axis=1).any() for layer in cache.layers)
    assert cache.genes.usable.sum() == 28
    norms = np.linalg.norm(cache.layers[-1].astype(float), axis=1)
    np.testing.assert_allclose(cache.genes.norm, norms)


def test_manifest_says_what_was_read(tmp_path, checkpoint, cells):
    known = replace(checkpoint, vocab={key: row for key, row in checkpoint.vocab.items() if key != "GENE0X"})
    seen = []
    cache = extract(known, cells, tmp_path / "c", seed=8, progress=lambda done, total: seen.append((done, total)))
    told = cache.manifest["provenance"]
    assert told["model"] == "tiny" and told["checkpoint"]["digest"] == "0" * 64
    assert told["data"]["digest"] == cells.digest and told["data"]["n_cells"] == 40
    assert told["recipe"] == {
        "name": "official", "n_bins": 51, "max_tokens": 1200, "ties": "expected", "cls": True, "keep": "random",
    }  # fmt: skip
    assert (told["seed"], told["genes_not_in_vocabulary"], told["empty_cells"]) == (8, 1, 1)
    assert "GENE0X" not in cache.genes.symbol and cache.n_genes == 29
    assert seen[-1] == (40, 40) and seen == sorted(seen)


def test_a_gene_unknown_to_the_model_changes_nothing_for_the_others(tmp_path, checkpoint, cells):
    renamed = replace(cells, symbols=("UNKNOWN", *SYMBOLS[1:]))
    expected, _ = means_by_hand(checkpoint, without_gene(cells, 0))
    np.testing.assert_allclose(
        np.stack(extract(checkpoint, renamed, tmp_path / "c").layers), expected[:, 1:], atol=1e-5
    )


def without_gene(cells, column):
    kept = cells.columns != column
    per_cell = np.add.reduceat(np.append(kept, False), np.minimum(cells.offsets[:-1], len(kept)))
    per_cell[np.diff(cells.offsets) == 0] = 0
    offsets = np.concatenate([[0], np.cumsum(per_cell)])
    return replace(cells, values=cells.values[kept], columns=cells.columns[kept], offsets=offsets)


def test_nothing_to_read_is_said(tmp_path, checkpoint, cells):
    with pytest.raises(CacheError, match=r"none of the 30 genes \(the first is 'ENSG0'\).*give gene symbols"):
        extract(checkpoint, replace(cells, symbols=tuple(f"ENSG{i}" for i in range(30))), tmp_path / "c")
    empty = cells_from_counts(np.zeros((3, 30), dtype=int), SYMBOLS, source="test")
    with pytest.raises(CacheError, match="no cell has a count"):
        extract(checkpoint, empty, tmp_path / "c")
    (tmp_path / "c").mkdir()
    with pytest.raises(CacheError, match="exists already"):
        extract(checkpoint, cells, tmp_path / "c")


def test_same_inputs_give_the_same_digest(tmp_path, checkpoint, cells):
    first = extract(checkpoint, cells, tmp_path / "a")
    second = extract(checkpoint, cells, tmp_path / "b")
    seeded = extract(checkpoint, cells, tmp_path / "s", recipe="official-seeded")
    assert first.digest == second.digest != seeded.digest


@pytest.fixture(scope="module")
def demo_model():
    pytest.importorskip("safetensors", reason="the demo weights are a safetensors file")
    pytest.importorskip("scanpy", reason="the demo cells come with scanpy")
    return load_checkpoint(DEMO / "model")


@pytest.mark.parametrize(("name", "seed"), [("demo", None), ("demo-random-init", 0), ("demo-random-init-1", 1)])
def test_shipped_weights_give_the_shipped_cache(tmp_path, demo_model, name, seed):
    model = demo_model if seed is None else random_init_like(demo_model, seed)
    shipped = open_cache(find_cache(name, tmp_path))
    assert shipped.manifest["provenance"]["checkpoint"]["digest"] == model.digest
    again = extract(model, demo_cells(), tmp_path / "again")
    assert again.genes.symbol == shipped.genes.symbol
    assert again.genes.mask_reason == shipped.genes.mask_reason
    np.testing.assert_array_equal(again.genes.n_cells, shipped.genes.n_cells)
    for ours, theirs in zip(again.layers, shipped.layers, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_trained_demo_knows_blood_cells_and_the_control_does_not(tmp_path):
    from hyposcreen.embeddings_cache.demo.judge import judge_layer

    trained, untrained = (open_cache(find_cache(name, tmp_path)) for name in ("demo", "demo-random-init"))
    for layer in (1, 2):
        verdict = judge_layer(trained, layer, draws=50)
        assert verdict.n_markers == 45
        assert verdict.auroc > 0.8 and verdict.auroc > verdict.null_mean + 6 * verdict.null_sd
        assert judge_layer(untrained, layer, draws=2).auroc < 0.6


def test_demo_fits_its_allowance():
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert size < 3_500_000


def test_training_hides_what_it_asks_for_and_shows_the_rest(cells):
    from hyposcreen.embeddings_cache.demo.training import Sampler, TrainingPlan

    sampler = Sampler(cells, TrainingPlan(tokens=20, min_silent=8), cls_id=31)
    batch = sampler.draw(np.arange(10), np.random.default_rng(0), 0.5)
    assert batch.ids.shape == (10, 21) and (batch.ids[:, 0] == 31).all() and (batch.shown[:, 0] == -2).all()
    assert 0.3 < batch.masked[:, 1:].float().mean() < 0.7 and not batch.masked[:, 0].any()
    assert (batch.shown[batch.masked] == -1).all()
    assert torch.equal(batch.shown[~batch.masked], batch.values[~batch.masked])
    for row in range(10):
        genes, _ = cells.cell(row)
        expressed = np.isin(batch.ids[row, 1:].numpy(), genes)
        assert ((batch.values[row, 1:].numpy() > 0) == expressed).all()
        assert len(set(batch.ids[row].tolist())) == 21 and (~expressed).sum() >= 8


def test_a_short_training_learns():
    pytest.importorskip("scanpy", reason="the demo cells come with scanpy")
    from hyposcreen.embeddings_cache.demo.make_demo import make_vocab
    from hyposcreen.embeddings_cache.demo.training import TrainingPlan, train

    cells = demo_cells()
    vocab = make_vocab(cells)
    shape = Architecture(len(vocab), 16, 1, 2, 16, vocab["<pad>"], 0.1)
    trained = train(
        cells,
        shape,
        vocab["<cls>"],
        TrainingPlan(epochs=4, tokens=64, min_silent=16, warm_up=5, peak_rate=1e-2),
        lambda _: None,
    )
    before, after = trained.history[0], trained.history[-1]
    assert after[1] < 0.6 * before[1] and after[2] < 0.8 * before[2]
    assert len(trained.held_out_cells) == 70 and not trained.encoder.training


def test_opening_a_cache_loads_neither_torch_nor_scipy():
    code = (
        "import sys; from hyposcreen.embeddings_cache import find_cache, open_cache, split_genes, preflight; "
        "open_cache(find_cache('demo', '.')); "
        "print([m for m in ('torch', 'scipy', 'scanpy', 'pandas', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ensembl_ids_come_with_the_genes_that_are_read_and_change_no_digest(checkpoint, cells, tmp_path):
    plain = extract(checkpoint, cells, tmp_path / "plain")
    # Gene 0 is none of the model's, so ids that were taken by position and not by gene would be one off.
    known = replace(cells, symbols=("NOSUCH", *SYMBOLS[1:]), ensembl_ids=tuple(f"ENSG{i:011d}" for i in range(30)))
    named = extract(checkpoint, known, tmp_path / "named")
    assert plain.genes.ensembl_id == ()
    assert dict(zip(named.genes.symbol, named.genes.ensembl_id, strict=True)) == {
        f"GENE{i}X": f"ENSG{i:011d}" for i in range(1, 30)
    }
    same = extract(checkpoint, replace(cells, ensembl_ids=known.ensembl_ids), tmp_path / "same")
    assert same.digest == plain.digest
