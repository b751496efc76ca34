"""Gene families by symbol: groups whose members resemble one another too much to sit on both sides of a split.

Symbols alone decide, so the answer needs no database and is the same everywhere. Merging a little too much costs only
flexibility; merging too little would let a held-out gene be predicted from its paralog.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)

NAMED: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (label, re.compile(pattern))
    for label, pattern in (
        ("HLA", r"HLA-.+"),
        ("ribosomal", r"RP[LS](?!6K)(\d+[A-Z]*\d*|P\d|A)"),
        ("mitochondrial ribosomal", r"MRP[LS]\d+.*"),
        ("mitochondrial", r"MT-.+"),
        ("histone", r"HIST\d.*|H1[-F].*|H2A([CFJXZ].*)?|H2B([CSU].*)?|H3[-CF].*|H4[-C].*|MACROH2A\d"),
        ("keratin", r"KRT\d+[A-Z]?"),
        ("keratin-associated", r"KRTAP\d.*"),
        ("immunoglobulin", r"IGH([ADEGM]|[AG]\d|[VDJ]\d.*)|IGK(C|[VJ]\d.*)|IGL([CVJL]\d.*|L\d)|IGJ|JCHAIN"),
        ("T-cell receptor", r"TR[ABGD](C\d?|[VJ]\d.*|D\d)|TARP"),
        ("CD3", r"CD3[DEG]|CD247"),
        ("CD79", r"CD79[AB]"),
        ("CD1", r"CD1[A-E]"),
        ("CD8", r"CD8[AB]2?"),
        ("S100", r"S100[ABGPZ].*"),
        ("granzyme", r"GZM[A-Z]"),
        ("proteasome", r"PSM[A-G]\d+.*"),
        ("chemokine", r"(C|CC|CXC|CX3C|XC)L\d+.*|PPBP|PF4|PF4V1"),
        ("chemokine receptor", r"(CC|CXC|CX3C|XC|ACK)R\d+.*"),
        ("interferon-induced", r"IFI\d.*|IFIT\d.*|IFITM\d.*|ISG\d+|MX[12]|OAS([123]|L)"),
        ("killer-cell lectin-like receptor", r"KLR[A-Z]\d"),
        ("killer-cell immunoglobulin-like receptor", r"KIR\d.*"),
        ("membrane-spanning 4A", r"MS4A\d+[A-Z]?"),
        ("haemoglobin", r"HB([ABDEGMQZ]|[AGQ]\d)"),
        ("actin", r"ACT(A[12]|B|BL2|C1|G[12])"),
        ("tubulin", r"TUB[ABG]\d.*"),
        ("heat-shock protein", r"HSP[A-E]\d.*|HSP90.+"),
        ("metallothionein", r"MT[1-4][A-Z]*\d?"),
        ("RNA polymerase II", r"POLR2[A-M]\d?"),
        ("complex I", r"NDUF[A-Z]+\d+.*"),
        ("ATP synthase", r"ATP5[A-Z].*"),
        ("cytochrome c oxidase", r"COX\d.*"),
    )
)
"""Families that symbols name openly; the first pattern that matches the whole symbol wins."""

SERIES = re.compile(
    "ANKRD|BTBD|CCDC|CDC|DKFZP|FAM|FBXL|FBXO|FBXW|FLJ|KBTBD|KIAA|KLHL|LINC|LOC|LRRC|MIR|PRR|SLC|SNHG|SNORA|SNORD|TMEM|"
    "TTC|VPS|WDR|ZBTB"
)
"""Stems that number unrelated genes, or a superfamily: there only a letter after the number marks a paralog."""

_NUMBERED = re.compile(r"([A-Z]{3,})-?(\d+)([A-Z]{0,2}\d*(?:-\d+)?)")
_LETTERS = re.compile(r"[A-Z]{3,}")


def gene_families(symbols: Sequence[str]) -> tuple[str, ...]:
    """Give every gene the label of its family; a gene without relatives in ``symbols`` is labelled by itself.

    Named families (HLA, ribosomal, histones ...) come first. Otherwise two genes are relatives if their symbols share
    an alphabetic stem of at least three letters and differ in a trailing number or letter: ``IRF7`` and ``IRF8``,
    ``JUN`` and ``JUNB``. Plain ``CD`` numbers are names of antigens, not a family. Case is ignored.

    Args:
        symbols: gene symbols.

    Returns:
        One label per symbol, in the same order; the label of a family found by stem is ``"<first symbol>~"``.
    """
    upper = [symbol.upper() for symbol in symbols]
    named = [_named_family(symbol) for symbol in upper]
    groups: dict[str, list[str]] = {}
    for symbol, family in zip(upper, named, strict=True):
        if family is None:
            for key in _stems(symbol):
                groups.setdefault(key, []).append(symbol)
    root = merge(upper, groups.values())
    size: dict[str, int] = {}
    for symbol in set(upper):
        size[root[symbol]] = size.get(root[symbol], 0) + 1
    return tuple(
        family or (f"{root[key]}~" if size[root[key]] > 1 else symbol)
        for symbol, key, family in zip(symbols, upper, named, strict=True)
    )


def _named_family(symbol: str) -> str | None:
    return next((label for label, pattern in NAMED if pattern.fullmatch(symbol)), None)


def _stems(symbol: str) -> tuple[str, ...]:
    """Stems under which a symbol meets its relatives."""
    numbered = _NUMBERED.fullmatch(symbol)
    if numbered:
        letters, number, rest = numbered.groups()
        if SERIES.fullmatch(letters):
            return (letters + number,) if rest else ()
        return (letters,)
    if not _LETTERS.fullmatch(symbol):
        return ()
    return (symbol, symbol[:-1]) if len(symbol) > 3 else (symbol,)


def merge(items: Iterable[Item], groups: Iterable[Iterable[Item]]) -> dict[Item, Item]:
    """Union-find: map every item to the smallest item it is joined with through overlapping ``groups``.

    Members of ``groups`` that are not in ``items`` are ignored.
    """
    parent = {item: item for item in items}

    def find(item: Item) -> Item:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for group in groups:
        members = [find(item) for item in group if item in parent]
        for other in members[1:]:
            low, high = sorted((find(members[0]), find(other)), key=repr)
            parent[high] = low
    return {item: find(item) for item in parent}
