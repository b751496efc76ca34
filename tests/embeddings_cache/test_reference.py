"""Our encoder is the released one: held against the real scgpt package, on a checkpoint of the released size and layout.

Needs the light installation of the package (``reference.INSTALL``); CI has it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the encoders are torch modules")
torch.set_num_threads(1)  # tests run beside one another
pytest.importorskip("safetensors", reason="the demo weights are a safetensors file")
pytest.importorskip("scanpy", reason="the demo cells come with scanpy")
pytest.importorskip("IPython", reason="scgpt imports it")
pytest.importorskip("datasets", reason="scgpt imports it")

from hyposcreen.embeddings_cache import CacheError  # noqa: E402
from hyposcreen.embeddings_cache import reference as reference_module  # noqa: E402
from hyposcreen.embeddings_cache.cells import demo_cells  # noqa: E402
from hyposcreen.embeddings_cache.checkpoint import load_checkpoint  # noqa: E402
from hyposcreen.embeddings_cache.extract import extract  # noqa: E402
from hyposcreen.embeddings_cache.recipes import RECIPES, bin_counts  # noqa: E402
from hyposcreen.embeddings_cache.reference import (  # noqa: E402
    cell_embeddings,
    import_scgpt,
    load_reference,
    official_model,
)
from hyposcreen.embeddings_cache.released_layout import WHOLE_HUMAN, random_release, write_released  # noqa: E402
from hyposcreen.embeddings_cache.store import SHIPPED  # noqa: E402

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def reference():
    try:
        return import_scgpt()
    except CacheError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def whole_human(reference, tmp_path_factory):
    """A random checkpoint of the released size with the package's own vocabulary of 60,694 genes."""
    file = Path(reference.scgpt.__file__).parent / "tokenizer" / "default_census_vocab.json"
    genes = sorted(json.loads(file.read_text()).items(), key=lambda pair: pair[1])
    folder = tmp_path_factory.mktemp("whole-human")
    yield random_release(folder, tuple(gene for gene, _ in genes if not gene.startswith("<")), WHOLE_HUMAN)
    (folder / "best_model.pt").unlink()  # 205 MB


def random_cells(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(0, 60694, (n,), generator=generator) for n in lengths]
    values = [torch.randint(1, 51, (n,), generator=generator).float() for n in lengths]
    for i, v in zip(ids, values, strict=True):
        i[0], v[0] = 60695, -2.0  # <cls>
    return ids, values


def hooked(model, ids, values, padding):
    """All states that the official class passes through, seen by hooks, with its nested-tensor shortcut off."""
    seen = []
    stack = model.transformer_encoder
    stack.enable_nested_tensor = stack.use_nested_tensor = False
    hooks = [stack.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    hooks += [layer.register_forward_hook(lambda _, __, out: seen.append(out)) for layer in stack.layers]
    model._encode(ids, values, src_key_padding_mask=padding)
    for hook in hooks:
        hook.remove()
    return seen


@torch.inference_mode()
def test_every_layer_equals_the_official_class_on_a_full_size_checkpoint(reference, whole_human):
    checkpoint = load_checkpoint(whole_human)
    assert checkpoint.encoder.shape == WHOLE_HUMAN and checkpoint.ignored == ("flag_encoder.weight",)
    lengths = [120, 75, 31]
    ids, values = random_cells(lengths)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    padded_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=60694)
    padded_values = torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=-2.0)
    model = official_model(reference, checkpoint)
    whole = model._encode(padded_ids, padded_values, src_key_padding_mask=~valid)  # its own fast path, no hooks
    official = [state[valid] for state in hooked(model, padded_ids, padded_values, ~valid)]
    packed = checkpoint.encoder.states(torch.cat(ids), torch.cat(values), lengths=lengths)
    padded = checkpoint.encoder.states(padded_ids, padded_values, valid=valid)
    theirs = list(load_reference(whole_human).encoder.iter_states(torch.cat(ids), torch.cat(values), lengths=lengths))
    assert len(official) == len(packed) == len(theirs) == 13
    for layer in range(13):
        for ours in (packed[layer], padded[layer][valid], theirs[layer]):
            assert float((ours - official[layer]).abs().max()) <= TOLERANCE, layer
    assert float((packed[12] - whole[valid]).abs().max()) <= TOLERANCE
    assert float((packed[12] - packed[11]).abs().max()) > 0.1  # the layers are not all alike


@torch.inference_mode()
def test_a_mix_up_of_weights_would_show(whole_human):
    checkpoint = load_checkpoint(whole_human)
    (ids,), (values,) = random_cells([20])
    before = checkpoint.encoder(ids[None], values[None])
    block = checkpoint.encoder.transformer_encoder.layers[5]
    block.norm1.weight.data, block.norm2.weight.data = block.norm2.weight.data, block.norm1.weight.data
    assert float((checkpoint.encoder(ids[None], values[None]) - before).abs().max()) > 100 * TOLERANCE


@pytest.fixture(scope="module")
def demo_release(tmp_path_factory):
    checkpoint = load_checkpoint(SHIPPED["demo"].parent / "model")
    return write_released(checkpoint.encoder, checkpoint.vocab, tmp_path_factory.mktemp("demo-released"))


def some_cells(n):
    return demo_cells().select(np.arange(n))


def embed_data(reference, folder, cells, monkeypatch, uniform=None):
    """The official cell embeddings, and every (ids, values, padding) that its model was given."""
    import anndata

    counts = np.zeros((cells.n_cells, cells.n_genes), dtype=np.float32)
    for index in range(cells.n_cells):
        columns, values = cells.cell(index)
        counts[index, columns] = values
    data = anndata.AnnData(counts)
    data.var_names = list(cells.symbols)
    asked = []
    model_class = reference.scgpt.model.TransformerModel
    encode = model_class._encode

    def listening(self, src, values, src_key_padding_mask, batch_labels=None):
        asked.append((src, values, src_key_padding_mask))
        return encode(self, src, values, src_key_padding_mask, batch_labels)

    with monkeypatch.context() as patch:
        patch.setattr(model_class, "_encode", listening)
        if uniform is not None:  # the workers of its loader are forks, so they inherit this
            patch.setattr(np.random, "rand", lambda n: np.full(n, uniform))
        done = reference.scgpt.tasks.embed_data(
            data, folder, gene_col="index", device="cpu", use_fast_transformer=False, batch_size=32
        )
    return done.obsm["X_scGPT"], asked


@pytest.mark.filterwarnings("ignore")
def test_our_recipe_and_encoder_give_the_official_cell_embeddings(reference, demo_release, monkeypatch):
    cells, half = some_cells(96), 0.5
    official, _ = embed_data(reference, demo_release, cells, monkeypatch, uniform=half)
    monkeypatch.setattr(
        "hyposcreen.embeddings_cache.recipes.hashed_uniform",
        lambda seed, cell, genes, stream: np.full(len(genes), half),
    )
    ours = cell_embeddings(load_checkpoint(demo_release), cells, RECIPES["official-seeded"])
    assert float(np.abs(ours - official).max()) <= TOLERANCE


@pytest.mark.filterwarnings("ignore")
def test_with_its_own_random_ties_it_reads_what_we_would_and_we_embed_it_alike(reference, demo_release, monkeypatch):
    cells = some_cells(40)
    checkpoint = load_checkpoint(demo_release)
    official, asked = embed_data(reference, demo_release, cells, monkeypatch)
    cell = 0
    for ids, values, padding in asked:
        with torch.inference_mode():
            last = checkpoint.encoder.states(ids, values, valid=~padding)[-1][:, 0].numpy()
        unit = last / np.linalg.norm(last, axis=1, keepdims=True)
        assert float(np.abs(unit - official[cell : cell + len(ids)]).max()) <= TOLERANCE
        for row in range(len(ids)):
            columns, counts = cells.cell(cell)
            known = ids[row][~padding[row]].numpy()
            assert known[0] == checkpoint.cls_id and float(values[row, 0]) == -2.0
            order = np.argsort(known[1:])
            wanted = np.array([checkpoint.vocab[cells.symbols[column]] for column in columns])
            np.testing.assert_array_equal(known[1:][order], np.sort(wanted))
            drawn = values[row][1 : len(known)].numpy()[order]
            span = [
                bin_counts(counts, 51, "seeded", np.full(len(counts), u))[np.argsort(wanted)] for u in (0.9999999, 0)
            ]
            assert (span[0] <= drawn).all() and (drawn <= span[1]).all()
            cell += 1
    assert cell == 40


def test_a_whole_cache_made_by_the_official_class_is_ours(tmp_path, reference, demo_release):
    cells = some_cells(70)
    ours = extract(load_checkpoint(demo_release), cells, tmp_path / "ours")
    theirs = extract(load_reference(demo_release), cells, tmp_path / "theirs")
    np.testing.assert_array_equal(ours.genes.n_cells, theirs.genes.n_cells)
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)
    backend = theirs.manifest["provenance"]["checkpoint"]["backend"]
    assert backend["name"] == "scgpt" and backend["version"] == reference.version
    assert backend["torchtext"] == reference.torchtext
    assert ours.manifest["provenance"]["checkpoint"]["backend"] == {"name": "hyposcreen"}
    with pytest.raises(CacheError, match="attention is kept by our own encoder only"):
        extract(load_reference(demo_release), cells, tmp_path / "c", attention=cells.symbols[:3])


def test_the_stand_in_is_used_only_where_torchtext_fails_and_does_not_stay(reference):
    try:
        import torchtext

        assert reference.torchtext == torchtext.__version__
    except (ImportError, OSError):
        assert reference.torchtext == "stand-in" and "torchtext" not in sys.modules


def test_a_missing_package_is_one_sentence_with_its_installation(monkeypatch):
    monkeypatch.setattr(
        reference_module.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(f"no {name}"))
    )
    with pytest.raises(CacheError, match=r"cannot be imported \(no scgpt\).*pip install --no-deps scgpt==0\.2\.4"):
        import_scgpt()


def test_stand_in_behaves_like_a_vocabulary():
    from hyposcreen.embeddings_cache.torchtext_stand_in import vocab

    made = vocab({"B": 2, "A": 1, "C": 0})
    assert made.get_itos() == ["B", "A"] and "C" not in made and len(made) == 2
    made.insert_token("X", 1)
    assert made(["B", "X", "A"]) == [0, 1, 2] and made.get_stoi() == {"B": 0, "X": 1, "A": 2}
    with pytest.raises(RuntimeError, match="default index is not set"):
        made["unknown"]
    made.set_default_index(2)
    assert made["unknown"] == 2 == made.get_default_index() and made.lookup_tokens([1, 0]) == ["X", "B"]
    with pytest.raises(RuntimeError, match="already exists"):
        made.append_token("X")
    with pytest.raises(RuntimeError, match="out of bounds"):
        made.insert_token("Y", 9)
