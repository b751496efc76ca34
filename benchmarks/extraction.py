"""How fast cells are read beside the official class: ``python benchmarks/extraction.py [--checkpoint DIR] [--cells N]``.

One random checkpoint of the released size (12 x 512, 60,697 tokens), one thread, one process. Cells have mixed lengths
(log-normal, 100 to 1,200 tokens, mean about 600), or with ``--lengths blood`` those of the demo's blood cells (180 to 410
tokens), where padding to the longest possible cell costs more. Everybody reads the same tokens:

- *ours*: packed groups without padding, all 13 states, exact sums and sums of squares;
- *hooks, padded to 1,200*: the official class with a hook on each block, padded to the longest possible cell, batches of four,
  float32 sums with ``numpy.add.at``: the way of arXiv:2602.22247;
- *hooks, padded to the batch*: the same, padded to the longest cell of each batch, as ``embed_data`` pads;
- *official forward*: no hooks, no sums, its own nested-tensor shortcut: a bare ``_encode``;
- *GEMM peak*: the fastest of four float32 matrix products in this process.

Useful GFLOP/s counts the products that real tokens need: 12 l (2 * 512 * 3072 + 4 l * 512) for a cell of l tokens, whoever
computes them. All are timed in turns in CPU seconds, and the fastest turn of each counts, so that a busy machine slows all.
Needs the light installation of the scgpt package (see ``hyposcreen.embeddings_cache.reference``).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader expects

from hyposcreen.embeddings_cache.checkpoint import load_checkpoint
from hyposcreen.embeddings_cache.plan import GROUP_TOKENS
from hyposcreen.embeddings_cache.reading import Sequence, packed_groups
from hyposcreen.embeddings_cache.reference import import_scgpt, official_model
from hyposcreen.embeddings_cache.released_layout import WHOLE_HUMAN, random_release
from hyposcreen.embeddings_cache.totals import add_group, as_group, grids_for, no_totals

GENES = 5_000
PAD, CLS = 60694, 60695
GEMMS = ((1200, 512, 1536), (4096, 512, 1536), (4096, 512, 512), (2048, 2048, 2048))
HOLD_PAPER, HOLD_PEAK, HOLD_SUMS = 3.0, 0.80, 0.02


def made_cells(n: int, lengths: str) -> list[Sequence]:
    """Cells of the named lengths over 5,000 genes."""
    rng = np.random.default_rng(0)
    token_of = np.sort(rng.choice(60694, GENES, replace=False))
    mixed = np.clip(rng.lognormal(6.3, 0.55, n), 100, 1200).astype(int)
    cells = []
    for length in mixed if lengths == "mixed" else rng.integers(180, 410, n):
        genes = np.sort(rng.choice(GENES, length - 1, replace=False))
        values = rng.integers(1, 51, length - 1).astype(np.float32)
        cells.append(
            Sequence(np.append(-1, genes), np.append(CLS, token_of[genes]), np.append(np.float32(-2), values), 0)
        )
    return cells


def useful_flops(cells: list[Sequence]) -> float:
    """Floating-point operations of the matrix products that real tokens need."""
    return float(sum(12 * len(c) * (2 * 512 * 3072 + 4 * len(c) * 512) for c in cells))


def padded(cells: list[Sequence], width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, values and padding mask ``[cells, width]``."""
    ids, values = torch.full((len(cells), width), PAD), torch.full((len(cells), width), -2.0)
    for row, cell in enumerate(cells):
        ids[row, : len(cell)] = torch.from_numpy(cell.ids)
        values[row, : len(cell)] = torch.from_numpy(cell.values)
    return ids, values, ids == PAD


@torch.inference_mode()
def with_hooks(model: Any, cells: list[Sequence], fixed: int | None) -> None:
    """The official class, hooks on its blocks, float32 sums by ``numpy.add.at``."""
    sums, counts = np.zeros((12, GENES, 512), np.float32), np.zeros((12, GENES), np.int32)
    stack, out = model.transformer_encoder, {}
    before, stack.use_nested_tensor = stack.use_nested_tensor, False  # nested outputs cannot be read by position
    hooks = [
        layer.register_forward_hook(lambda _, __, state, at=at: out.__setitem__(at, state))
        for at, layer in enumerate(stack.layers)
    ]
    for start in range(0, len(cells), 4):
        batch = cells[start : start + 4]
        model._encode(*padded(batch, fixed or max(map(len, batch))))
        for at in range(12):
            states = out[at].numpy()
            for row, cell in enumerate(batch):
                np.add.at(sums[at], cell.genes[1:], states[row, 1 : len(cell)])
                np.add.at(counts[at], cell.genes[1:], 1)
    for hook in hooks:
        hook.remove()
    stack.use_nested_tensor = before


@torch.inference_mode()
def forward_alone(model: Any, cells: list[Sequence]) -> None:
    """A bare ``_encode`` in batches of eight, padded to the longest."""
    for start in range(0, len(cells), 8):
        batch = cells[start : start + 8]
        model._encode(*padded(batch, max(map(len, batch))))


class Ours:
    """Our pass, with a stopwatch on the sums."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.grids = encoder, grids_for(encoder, 10_000)
        self.totals = no_totals(13, GENES, 512, halves=1, n_chosen=0, device="cpu")

    def read(self, cells: list[Sequence]) -> None:
        """All states of all cells into the totals."""
        for group in packed_groups(cells, GROUP_TOKENS["cpu"]):
            add_group(self.encoder, as_group(group, self.totals, None), self.totals, self.grids)

    def seconds_of_sums(self, cells: list[Sequence]) -> float:
        """Seconds that adding 13 states of all cells takes, without making them."""
        from hyposcreen.embeddings_cache.exact_sums import add_states

        spent = 0.0
        for cells_of_group in packed_groups(cells, GROUP_TOKENS["cpu"]):
            group = as_group(cells_of_group, self.totals, None)
            state = torch.randn(len(group.ids), 512)
            start = time.process_time()
            for layer in range(13):
                add_states(
                    self.totals.states[layer], self.totals.squares[layer], group.rows, group.kept, state,
                    self.grids.states[layer], self.grids.squares[layer],
                )  # fmt: skip
            spent += time.process_time() - start
        return spent


def gemm_gflops() -> float:
    """The fastest of the float32 matrix products, GFLOP/s."""
    best = 0.0
    for m, k, n in GEMMS:
        a, b = torch.randn(m, k), torch.randn(n, k)
        best = max(best, *(2 * m * k * n / seconds(lambda a=a, b=b: F.linear(a, b)) / 1e9 for _ in range(5)))
    return best


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


MEMORY = """
import sys, tempfile
import numpy as np, torch
torch.set_num_threads(1)
from pathlib import Path
from hyposcreen.embeddings_cache.checkpoint import load_checkpoint
from hyposcreen.embeddings_cache.encoder import Architecture
from hyposcreen.embeddings_cache.extract import extract
from hyposcreen.embeddings_cache.released_layout import random_release

class Endless:
    "Cells made when asked for, so that only the pass itself takes memory."
    n_genes, symbols, ensembl_ids, provenance, digest = 2000, tuple(f"G{i}" for i in range(2000)), (), {}, "none"
    def __init__(self, n): self.n_cells, self.library_size = n, np.full(n, 1e4)
    def cell(self, index):
        rng = np.random.default_rng(index)
        return np.sort(rng.choice(2000, 300, replace=False)).astype(np.int32), rng.integers(1, 9, 300).astype(np.int32)
    def gene_summary(self): return np.ones(2000), np.ones(2000)

with tempfile.TemporaryDirectory() as folder:
    model = load_checkpoint(random_release(Path(folder) / "m", Endless.symbols, Architecture(2003, 64, 4, 4, 64)))
    extract(model, Endless(int(sys.argv[1])), Path(folder) / "c")
# Not ru_maxrss: a child inherits what its parent had reached before it became another program.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def peak_megabytes(n_cells: int) -> float:
    """Peak memory of a fresh process that extracts so many cells with a small model."""
    done = subprocess.run([sys.executable, "-c", MEMORY, str(n_cells)], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Extraction beside the official class.")
    parser.add_argument(
        "--checkpoint", type=Path, help="released-format folder of the whole-human size; random when not given"
    )
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--lengths", choices=("mixed", "blood"), default="mixed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = load_checkpoint(options.checkpoint or random_release(folder, (), WHOLE_HUMAN))
    model, cells = official_model(import_scgpt(), checkpoint), made_cells(options.cells, options.lengths)
    ours, flops = Ours(checkpoint.encoder), useful_flops(cells)
    jobs: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.read(cells),
        "hooks, padded to 1,200": lambda: with_hooks(model, cells, 1200),
        "hooks, padded to the batch": lambda: with_hooks(model, cells, None),
        "official forward": lambda: forward_alone(model, cells),
    }
    ours.read(cells[-1:])  # compiles the sums
    best, peak, sums = dict.fromkeys(jobs, float("inf")), 0.0, float("inf")
    for _ in range(options.turns):
        for name, job in jobs.items():
            best[name] = min(best[name], seconds(job))
            peak = max(peak, gemm_gflops())
        sums = min(sums, ours.seconds_of_sums(cells))
    tokens = sum(map(len, cells))
    print(f"{len(cells)} {options.lengths} cells, {tokens:,} tokens, {flops / 1e9:.0f} useful GFLOP")
    print(f"one thread, torch {torch.__version__}")
    for name, spent in best.items():
        print(f"{name:<28} {spent:8.2f} s {len(cells) / spent:7.2f} cells/s {flops / spent / 1e9:7.1f} useful GFLOP/s")
    print(f"{'GEMM peak':<28} {'':<27} {peak:7.1f} GFLOP/s")
    mine = best["ours"]
    checks = (
        ("against the paper's way", best["hooks, padded to 1,200"] / mine, HOLD_PAPER, "×"),
        ("against hooks padded to the batch", best["hooks, padded to the batch"] / mine, None, "×"),
        ("against the official forward alone", best["official forward"] / mine, None, "×"),
        ("share of the GEMM peak", flops / mine / 1e9 / peak, HOLD_PEAK, ""),
    )
    for name, found, hold, unit in checks:
        verdict = "" if hold is None else f" ({'holds' if found >= hold else 'MISSES'} {hold:g}{unit})"
        print(f"{name:<36} {found:5.2f}{unit}{verdict}")
    share = sums / mine
    print(f"{'sums, share of the time':<36} {share:5.3f} ({'holds' if share <= HOLD_SUMS else 'MISSES'} {HOLD_SUMS:g})")
    memory = [peak_megabytes(n) for n in (256, 4096)]
    print(f"peak memory, small model: 256 cells {memory[0]:.0f} MB, 4,096 cells {memory[1]:.0f} MB")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
