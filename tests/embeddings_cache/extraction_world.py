"""A tiny model and cells that the tests of extraction share (imported after torch was found)."""

import numpy as np
import torch

from hyposcreen.embeddings_cache.cells import cells_from_counts
from hyposcreen.embeddings_cache.checkpoint import Checkpoint, weights_digest
from hyposcreen.embeddings_cache.encoder import Architecture, ScGPTEncoder

torch.set_num_threads(1)  # tests run beside one another

SYMBOLS = tuple(f"GENE{i}X" for i in range(40))


def tiny_checkpoint(seed=3):
    vocab = {token: row for row, token in enumerate([*SYMBOLS[::-1], "<pad>", "<cls>"])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ScGPTEncoder(Architecture(42, 16, 3, 2, 16, 40)).eval()
        with torch.no_grad():
            for parameter in encoder.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.3 * torch.randn(parameter.shape))
    return Checkpoint("tiny", encoder, vocab, {}, weights_digest(encoder, vocab))


def some_cells(n=500, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1.0, 1.0, 40), (n, 40))
    counts[:, 4] = 0  # never expressed
    counts[17] = 0  # an empty cell
    return cells_from_counts(counts, SYMBOLS, source="test")
