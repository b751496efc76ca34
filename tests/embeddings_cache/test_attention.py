"""Mean attention between chosen genes: torch's own attention weights, averaged by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extraction runs a torch model")

sys.path.insert(0, str(Path(__file__).parent))

from extraction_world import SYMBOLS, some_cells, tiny_checkpoint  # noqa: E402

from hyposcreen.embeddings_cache import CacheError, open_cache  # noqa: E402
from hyposcreen.embeddings_cache.extract import extract  # noqa: E402
from hyposcreen.embeddings_cache.reading import make_reader  # noqa: E402
from hyposcreen.embeddings_cache.recipes import RECIPES  # noqa: E402

CHOSEN = (SYMBOLS[7], SYMBOLS[2], SYMBOLS[30], SYMBOLS[4], SYMBOLS[11])  # SYMBOLS[4] is never expressed


@torch.no_grad()
def attention_by_hand(checkpoint, cells):
    """Per block: mean over cells of head-averaged softmax weights from torch's MultiheadAttention."""
    reader = make_reader(checkpoint.vocab, cells, RECIPES["official"], 0, model="tiny")
    row_of = {symbol: row for row, symbol in enumerate(reader.symbols)}
    chosen = [row_of[gene] for gene in CHOSEN]
    total, seen = np.zeros((3, 5, 5)), np.zeros((5, 5), dtype=int)
    layers = []
    for block in checkpoint.encoder.transformer_encoder.layers:
        theirs = torch.nn.MultiheadAttention(16, 2, batch_first=True).eval()
        theirs.load_state_dict(block.self_attn.state_dict())
        layers.append(theirs)
    for index in range(cells.n_cells):
        tokens = reader.sequence(index)
        if tokens is None:
            continue
        states = checkpoint.encoder.states(torch.from_numpy(tokens.ids)[None], torch.from_numpy(tokens.values)[None])
        place = {gene: position for position, gene in enumerate(tokens.genes)}
        here = [(k, place[row]) for k, row in enumerate(chosen) if row in place]
        for depth, layer in enumerate(layers):
            weights = layer(states[depth], states[depth], states[depth], average_attn_weights=True)[1][0]
            for i, at in here:
                for j, to in here:
                    total[depth, i, j] += float(weights[at, to])
                    seen[i, j] += depth == 0
    with np.errstate(invalid="ignore"):
        return total / seen, seen


def test_mean_attention_equals_torchs_weights_averaged_by_hand(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(70)
    expected, seen = attention_by_hand(checkpoint, cells)
    cache = extract(checkpoint, cells, tmp_path / "c", attention=CHOSEN)
    np.testing.assert_array_equal(cache.extra("attention_n_cells"), seen)
    np.testing.assert_allclose(cache.extra("attention"), expected, atol=1e-6)
    assert [cache.genes.symbol[row] for row in cache.extra("attention_rows")] == list(CHOSEN)
    assert np.isnan(cache.extra("attention")[:, 3]).all()  # never read together: missing, not zero
    assert open_cache(cache.path).manifest["provenance"]["attention"] == list(CHOSEN)


def test_keeping_attention_changes_no_state(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(70)
    plain = extract(checkpoint, cells, tmp_path / "plain")
    assert extract(checkpoint, cells, tmp_path / "rich", attention=CHOSEN).digest == plain.digest
    assert "attention" not in plain.extras


@pytest.mark.parametrize(
    ("genes", "says"),
    [(("NOPE",), r"none of the 1 attention genes \(the first is 'NOPE'\)"), (CHOSEN[:1] * 2, "is named twice")],
)
def test_genes_that_cannot_be_asked_are_refused(tmp_path, genes, says):
    with pytest.raises(CacheError, match=says):
        extract(tiny_checkpoint(), some_cells(20), tmp_path / "c", attention=genes)


def test_genes_that_are_not_read_are_left_out_and_named(tmp_path):
    cache = extract(tiny_checkpoint(), some_cells(70), tmp_path / "c", attention=("NOPE", *CHOSEN[:2], "OTHER"))
    told = cache.manifest["provenance"]
    assert told["attention"] == list(CHOSEN[:2]) and told["attention_not_found"] == ["NOPE", "OTHER"]
    assert cache.extra("attention").shape == (3, 2, 2)
