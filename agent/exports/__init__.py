"""The run for other programs and for a paper. One file a format, one line of ``FORMATS`` each.

Every export carries the head of the ledger, and says of an invalidated row that it is stale.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TextIO

from ..config import ledger_at, load_config
from ..errors import Exit, UserError
from ..ledger.store import Ledger


@dataclass(frozen=True)
class Format:
    """One format: text that may go to a pipe, or a file (or folder) made whole at a path."""

    ending: str
    text: Callable[[Ledger, TextIO], None] | None = None
    file: Callable[[Path, Ledger, Path], None] | None = None
    """(folder of the run, its ledger, where to write)."""


def _rows(kind: Literal["csv", "json", "jsonl"], ledger: Ledger, out: TextIO) -> None:
    from ..ledger.export import export

    export(ledger, kind, out)


def _methods(ledger: Ledger, out: TextIO) -> None:
    from .methods import methods_page

    out.write(methods_page(ledger))


def _bibtex(ledger: Ledger, out: TextIO) -> None:
    from .methods import bibliography_of

    out.write(bibliography_of(ledger))


def _parquet(_folder: Path, ledger: Ledger, path: Path) -> None:
    from .parquet import write_parquet

    write_parquet(ledger, path)


def _h5ad(folder: Path, ledger: Ledger, path: Path) -> None:
    from .annotated_data import write_h5ad

    write_h5ad(folder, ledger, path)


def _crate(folder: Path, ledger: Ledger, path: Path) -> None:
    from .crate import write_crate

    write_crate(folder, ledger, path)


FORMATS: Mapping[str, Format] = {
    "csv": Format(".csv", text=partial(_rows, "csv")),
    "json": Format(".json", text=partial(_rows, "json")),
    "jsonl": Format(".jsonl", text=partial(_rows, "jsonl")),
    "parquet": Format(".parquet", file=_parquet),
    "h5ad": Format(".h5ad", file=_h5ad),
    "methods": Format(".md", text=_methods),
    "bibtex": Format(".bib", text=_bibtex),
    "crate": Format(".zip", file=_crate),
}
"""Name → how it is written. The ending chooses where ``--format`` does not."""


def export_run(folder: Path, output: Path | None, name: str | None) -> Path | None:
    """Write the run of ``folder`` to ``output``, whole or not at all, or to stdout where ``output`` is ``None``.

    Raises :class:`UserError` for a format that is not known or does not fit a pipe, and a place that cannot be written.
    """
    chosen = _chosen(output, name)
    ledger = Ledger.open_readonly(ledger_at(folder, load_config(folder, {})))
    if output is None:
        if chosen.text is None:
            raise UserError(f"{name} is no text: say where to write, --output rows{chosen.ending}", Exit.USAGE)
        chosen.text(ledger, sys.stdout)
        return None
    beside = output.with_name(f".{output.stem}.{os.getpid()}.part{output.suffix}")
    try:
        if chosen.text is not None:
            with beside.open("w", encoding="utf-8", newline="") as out:
                chosen.text(ledger, out)
        elif chosen.file is not None:
            chosen.file(folder, ledger, beside)
        beside.replace(output)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{output} cannot be written ({reason}); choose another place", Exit.FAILURE) from None
    finally:
        beside.unlink(missing_ok=True)
    return output


def _chosen(output: Path | None, name: str | None) -> Format:
    if name is not None and name not in FORMATS:
        raise UserError(f"--format {name} is not known; the formats are {', '.join(FORMATS)}", Exit.USAGE)
    if name is not None:
        return FORMATS[name]
    endings = {made.ending: made for made in FORMATS.values()}
    if output is None:
        raise UserError(f"say --format ({', '.join(FORMATS)}) to write to stdout, or --output rows.csv", Exit.USAGE)
    if output.suffix not in endings:
        raise UserError(
            f"{output} does not end in one of {', '.join(endings)}; name it so, or say --format", Exit.USAGE
        )
    return endings[output.suffix]
