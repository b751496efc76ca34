"""The gene table of a cache: one row per gene, in the order of the rows of every layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

COLUMNS = ("symbol", "n_cells", "mean_expression", "detection", "norm", "mask_reason")

ENSEMBL = "ensembl_id"
"""A last column of tables that know Ensembl ids."""

UNKNOWN_CELLS = -1
"""Count of cells of an imported row that came without one."""


@dataclass(frozen=True)
class GeneTable:
    """What is known of each gene; all fields have length ``n_genes``.

    Attributes:
        symbol: gene symbols.
        n_cells: cells that contributed to the row, int64; 0 means never observed, −1 that nobody counted.
        mean_expression: mean of log1p counts per 10,000 over *all* cells, float64; 0 for all where it is not known.
        detection: fraction of cells with a count above 0, float64; 0 for all where it is not known.
        norm: Euclidean norm of the row in the last layer, float64; NaN where never observed.
        mask_reason: empty where the gene is usable, else why it is not.
        ensembl_id: Ensembl gene ids without version, several joined with ``|``, empty text where unknown; or nothing at all.
    """

    symbol: tuple[str, ...]
    n_cells: NDArray[np.int64]
    mean_expression: NDArray[np.float64]
    detection: NDArray[np.float64]
    norm: NDArray[np.float64]
    mask_reason: tuple[str, ...]
    ensembl_id: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns of different length."""
        for name in (*COLUMNS[1:], ENSEMBL) if self.ensembl_id else COLUMNS[1:]:
            if len(getattr(self, name)) != len(self.symbol):
                raise CacheError(
                    f"gene column '{name}' has {len(getattr(self, name))} entries for {len(self.symbol)} symbols: "
                    "give one entry per gene."
                )

    def __len__(self) -> int:
        """Number of genes."""
        return len(self.symbol)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which genes may be tested, bool ``[n_genes]``."""
        return np.array([reason == "" for reason in self.mask_reason], dtype=np.bool_)

    def with_reasons(self, reasons: tuple[str, ...]) -> GeneTable:
        """Return the same table with other mask reasons."""
        return replace(self, mask_reason=reasons)

    def to_tsv(self) -> str:
        """Return the table as tab-separated text; floats are written so that they read back bit for bit."""
        numbers = zip(self.n_cells, self.mean_expression, self.detection, self.norm, strict=True)
        rows = [
            "\t".join((symbol, str(int(n)), repr(float(mean)), repr(float(seen)), repr(float(norm)), reason))
            for symbol, (n, mean, seen, norm), reason in zip(self.symbol, numbers, self.mask_reason, strict=True)
        ]
        heading = "\t".join(COLUMNS)
        if self.ensembl_id:
            heading += f"\t{ENSEMBL}"
            rows = [f"{row}\t{one}" for row, one in zip(rows, self.ensembl_id, strict=True)]
        return "\n".join([heading, *rows]) + "\n"

    @classmethod
    def from_tsv(cls, text: str, source: str) -> GeneTable:
        """Read what :meth:`to_tsv` wrote; ``source`` names the file in the ``CacheError`` of a bad line."""
        lines = text.split("\n")
        heading = tuple(lines[0].split("\t"))
        if heading not in (COLUMNS, (*COLUMNS, ENSEMBL)):
            raise CacheError(f"{source} does not begin with the columns {', '.join(COLUMNS)}: write the cache again.")
        if lines[-1] != "":
            raise CacheError(f"{source} ends in the middle of line {len(lines)}: copy or extract the cache again.")
        rows = [line.split("\t") for line in lines[1:-1]]
        try:
            return cls(
                symbol=tuple(row[0] for row in rows),
                n_cells=np.array([int(row[1]) for row in rows], dtype=np.int64),
                mean_expression=np.array([float(row[2]) for row in rows], dtype=np.float64),
                detection=np.array([float(row[3]) for row in rows], dtype=np.float64),
                norm=np.array([float(row[4]) for row in rows], dtype=np.float64),
                mask_reason=tuple(row[5] for row in rows),
                ensembl_id=tuple(row[6] for row in rows) if ENSEMBL in heading else (),
            )
        except (ValueError, IndexError) as error:
            raise CacheError(f"{source} holds a line that cannot be read ({error}): write the cache again.") from error
