"""Gene pairs with a score: STRING tables with symbols, co-expression lists, any two gene columns.

A grade is an integer. Scores that are all integers are kept; scores from 0 to 1 become thousandths, as STRING counts
them. Without a score column every pair has the grade 1.
"""

import math
import re
from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .table import Row, Table, read_table

COLUMNS = {
    "gene_a": ("gene_a", "gene1", "genea", "symbol1", "preferredName_A", "node1", "protein1", "source", "from"),
    "gene_b": ("gene_b", "gene2", "geneb", "symbol2", "preferredName_B", "node2", "protein2", "target", "to"),
    "score": ("score", "combined_score", "grade", "weight", "confidence"),
}
Scored = tuple[str, str, str, int]


def read(path: Path, options: Options) -> Raw:
    """Every pair at or above ``options.min_score``."""
    dropped, scored, has_score, read_lines = Tally(), [], False, 0
    table = read_table(path, options)
    a, b, score = places(table, options)
    has_score = score is not None
    for line, row in table.kept(options, dropped):
        read_lines += 1
        if above(row, score, options, dropped, path, line):
            scored.append((row[a], row[b], row[score] if score is not None else "1", line))
    triples, note = graded(scored, path)
    notes = [note] if has_score else ["the file has no score, so every pair has the grade 1: a gradient needs several"]
    return Raw("gene_pairs", [Group("", "", triples=triples)], dropped, read_lines, notes)


def places(table: Table, options: Options) -> tuple[int, int, int | None]:
    """Columns of the two genes and of the score, if there is one."""
    a, b = table.pick("gene_a", COLUMNS["gene_a"], options), table.pick("gene_b", COLUMNS["gene_b"], options)
    assert a is not None and b is not None
    return a, b, table.pick("score", COLUMNS["score"], options, required=False)


def above(row: Row, score: int | None, options: Options, dropped: Tally, path: Path, line: int) -> bool:
    """Whether a row reaches the smallest score; a score that is no number is refused."""
    if score is None:
        return True
    value = number(row[score], path, line)
    if options.min_score is not None and value < options.min_score:
        dropped.add(f"lines with a score below {options.min_score:g}")
        return False
    return True


def number(text: str, path: Path, line: int) -> float:
    """A score as a number ≥ 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise AnnotationError(
            f"{path}, line {line}: the score is '{text[:40]}', which is no number from 0 up; the columns may have shifted. Mend "
            "the line, or name the column with --columns score=COLUMN"
        )
    return value


def graded(scored: list[Scored], path: Path) -> tuple[list[tuple[str, str, int]], str]:
    """(a, b, grade) of each pair, and how grades were made."""
    if all(re.fullmatch(r"[0-9]{1,9}", text) for _, _, text, _ in scored):
        return [(a, b, int(text)) for a, b, text, _ in scored], "grades are the scores of the file"
    for _, _, text, line in scored:
        if number(text, path, line) > 1:
            raise AnnotationError(
                f"{path}, line {line}: the score is {text}; scores must be integers, or all lie between 0 and 1"
            )
    note = "grades are thousandths of the scores of the file"
    return [(a, b, round(1000 * float(text))) for a, b, text, _ in scored], note
