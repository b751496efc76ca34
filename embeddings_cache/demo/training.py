"""Training of the demo model: masked value prediction, once, by its makers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ..cells import Cells
from ..encoder import Architecture, ScGPTEncoder
from ..recipes import CLS_VALUE, bin_counts

MASK_VALUE = -1.0


@dataclass(frozen=True)
class TrainingPlan:
    """What is fixed before training.

    Attributes:
        epochs: passes over the training cells.
        batch: cells per step.
        peak_rate: AdamW learning rate at the top of the cosine.
        warm_up: steps until the peak.
        tokens: genes per cell, expressed and silent together.
        min_silent: of these, genes with count 0 that every cell contributes at least.
        mask_fractions: share of values hidden, drawn anew each step.
        held_out: fraction of cells never trained on.
        seed: of every random choice.
    """

    epochs: int = 60
    batch: int = 32
    peak_rate: float = 3e-3
    warm_up: int = 50
    tokens: int = 192
    min_silent: int = 48
    mask_fractions: tuple[float, ...] = (0.25, 0.5, 0.75)
    held_out: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """``[cells, tokens]`` tensors; the first token of every cell is ``<cls>``."""

    ids: Tensor
    values: Tensor
    shown: Tensor
    masked: Tensor


class Heads(nn.Module):
    """The two prediction heads, thrown away after training.

    One predicts a masked value from the token's own last state; the other from the gene's identity and the state of
    ``<cls>`` alone, which makes ``<cls>`` describe the cell.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.by_token = nn.Sequential(
            nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, 1)
        )
        self.query = nn.Linear(dim, dim)
        self.match = nn.Linear(dim, dim, bias=False)

    def forward(self, last: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """Predict values ``[cells, tokens]`` both ways from last states and gene embeddings."""
        from_token = self.by_token(last).squeeze(-1)
        queries = self.match(torch.sigmoid(self.query(identity)))
        from_cell = (queries @ last[:, 0, :].unsqueeze(-1)).squeeze(-1)
        return from_token, from_cell


class Sampler:
    """Draws batches of ``tokens`` genes per cell, expressed ones binned, silent ones at 0."""

    def __init__(self, cells: Cells, plan: TrainingPlan, cls_id: int) -> None:
        self.cells = cells
        self.plan = plan
        self.cls_id = cls_id

    def draw(self, chosen: NDArray[np.int64], rng: np.random.Generator, mask_fraction: float) -> Batch:
        """Return a batch of the chosen cells with a random part of the values hidden."""
        width = self.plan.tokens + 1
        ids = np.full((len(chosen), width), self.cls_id, dtype=np.int64)
        values = np.full((len(chosen), width), CLS_VALUE, dtype=np.float32)
        for row, cell in enumerate(chosen):
            ids[row, 1:], values[row, 1:] = self._one_cell(int(cell), rng)
        masked = rng.random(ids.shape) < mask_fraction
        masked[:, 0] = False
        shown = np.where(masked, np.float32(MASK_VALUE), values)
        return Batch(*(torch.from_numpy(array) for array in (ids, values, shown, masked)))

    def _one_cell(self, cell: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        genes, counts = self.cells.cell(cell)
        binned = bin_counts(counts, 51, "seeded", rng.random(len(counts)))
        silent = np.setdiff1d(np.arange(self.cells.n_genes), genes)
        kept = rng.permutation(len(genes))[: self.plan.tokens - self.plan.min_silent]
        added = rng.permutation(silent)[: self.plan.tokens - len(kept)]
        ids = np.concatenate([genes[kept].astype(np.int64), added])
        return ids, np.concatenate([binned[kept], np.zeros(len(added), dtype=np.float32)])


def losses(model: ScGPTEncoder, heads: Heads, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean squared error (bins squared) over hidden values: from the token's state, and from ``<cls>``."""
    last = model(batch.ids, batch.shown)
    from_token, from_cell = heads(last, model.encoder(batch.ids))
    target = batch.values[batch.masked]
    return F.mse_loss(from_token[batch.masked], target), F.mse_loss(from_cell[batch.masked], target)


def held_out_losses(model: ScGPTEncoder, heads: Heads, sampler: Sampler, chosen: NDArray[np.int64]) -> list[float]:
    """Both losses on cells never trained on, at 40 % hidden and fixed random choices."""
    model.eval()
    rng = np.random.default_rng(123)
    with torch.no_grad():
        pair = losses(model, heads, sampler.draw(chosen, rng, 0.4))
    model.train()
    return [round(float(value), 3) for value in pair]


def learning_rate(step: int, steps: int, plan: TrainingPlan) -> float:
    """Linear warm-up times a half cosine to zero."""
    return plan.peak_rate * min(1.0, (step + 1) / plan.warm_up) * 0.5 * (1.0 + float(np.cos(np.pi * step / steps)))


@dataclass(frozen=True)
class Trained:
    """A trained encoder with what was seen on the way.

    Attributes:
        encoder: in evaluation mode, float32.
        held_out_cells: indices of the cells never trained on.
        history: ``(epoch, loss from token, loss from <cls>)`` on the held-out cells; epoch 0 is before training.
        seconds: wall time.
    """

    encoder: ScGPTEncoder
    held_out_cells: tuple[int, ...]
    history: tuple[tuple[int, float, float], ...]
    seconds: float


def train(cells: Cells, shape: Architecture, cls_id: int, plan: TrainingPlan, say: Callable[[str], None]) -> Trained:
    """Train an encoder on ``cells`` (CPU, one thread is enough) and return it with its held-out losses."""
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(cells.n_cells)
    n_held = round(plan.held_out * cells.n_cells)
    held, trained_on = np.sort(order[:n_held]), order[n_held:]
    model, heads = ScGPTEncoder(shape), Heads(shape.dim)
    parameters = [*model.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.peak_rate, weight_decay=0.01, betas=(0.9, 0.98))
    sampler = Sampler(cells, plan, cls_id)
    steps = plan.epochs * -(-len(trained_on) // plan.batch)
    start, step = time.perf_counter(), 0
    first = held_out_losses(model, heads, sampler, held)
    history = [(0, first[0], first[1])]
    say(f"before training: held-out losses {first}")
    for epoch in range(1, plan.epochs + 1):
        shuffled = rng.permutation(trained_on)
        for begin in range(0, len(shuffled), plan.batch):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, steps, plan)
            batch = sampler.draw(shuffled[begin : begin + plan.batch], rng, float(rng.choice(plan.mask_fractions)))
            optimiser.zero_grad()
            torch.stack(losses(model, heads, batch)).sum().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            step += 1
        if epoch == 1 or epoch % 5 == 0:
            now = held_out_losses(model, heads, sampler, held)
            history.append((epoch, now[0], now[1]))
            say(f"epoch {epoch}: held-out losses {now}, {time.perf_counter() - start:.0f} s")
    model.eval()
    return Trained(model, tuple(int(i) for i in held), tuple(history), time.perf_counter() - start)
