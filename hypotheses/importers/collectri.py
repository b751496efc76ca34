"""CollecTRI: as decoupler writes it (source, target, weight) or as OmniPath does (genesymbols, stimulation, inhibition)."""

from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .edges import edges_of
from .table import read_table

COLUMNS = {
    "regulator": ("source_genesymbol", "source", "tf"),
    "target": ("target_genesymbol", "target"),
    "sign": ("weight", "mor"),
}
TRUE, FALSE = ("true", "1"), ("false", "0", "")


def read(path: Path, options: Options) -> Raw:
    """Every edge; one that OmniPath calls both stimulating and inhibiting has the sign 0."""
    table = read_table(path, options)
    plain = {column.lower(): place for place, column in enumerate(table.columns)}
    if not {"is_stimulation", "is_inhibition"} <= set(plain):
        return edges_of(table, options, COLUMNS, path)
    regulator = table.pick("regulator", COLUMNS["regulator"], options)
    target = table.pick("target", COLUMNS["target"], options)
    assert regulator is not None and target is not None
    dropped, read_lines, group = Tally(), 0, Group("", "")
    for line, row in table.kept(options, dropped):
        read_lines += 1
        up, down = (_truth(row[plain[name]], name, path, line) for name in ("is_stimulation", "is_inhibition"))
        if "COMPLEX" in row[regulator] or "_" in row[regulator]:
            dropped.add("edges of protein complexes, which are no gene", f"{row[regulator]} → {row[target]}")
            continue
        if up and down:
            dropped.add(
                "edges called both stimulating and inhibiting: kept with the sign 0",
                f"{row[regulator]} → {row[target]}",
            )
        group.triples.append((row[regulator], row[target], int(up) - int(down)))
    return Raw("edges", [group], dropped, read_lines)


def _truth(text: str, column: str, path: Path, line: int) -> bool:
    if text.lower() not in (*TRUE, *FALSE):
        raise AnnotationError(
            f"{path}, line {line}: {column} is '{text[:40]}', where OmniPath has True or False; the columns may have shifted, "
            "so mend the line"
        )
    return text.lower() in TRUE
