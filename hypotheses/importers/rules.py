"""From what a file says to canonical annotations. Each irregularity has one rule, and each use of a rule is counted.

==========================================  ==================================================================
blank, or with a blank inside               no gene name; left out. More than half of all names: refused
alias, old symbol, Ensembl id               the one symbol of the cache it means; several: kept as it is
the same gene, pair or edge again           merged
pair with several scores                    the largest
edge with a known and an unknown sign       the known one
edge both activating and repressing         kept, with the sign 0 (unknown)
a gene with itself                          left out
A → B and B → A                             both kept as edges; merged as a pair
set with under ``min_genes`` in the cache   left out
set with the very genes of another          left out
set of nearly all genes of the cache        kept, and said: of use as a background, not as a set
==========================================  ==================================================================
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ..annotation_files import AnnotationError, Triple, slug
from ..annotations import Members, canonical_members
from .base import Group, Raw, Tally
from .names import ENSEMBL, PROTEIN, Resolver

NEARLY_ALL = 0.9
MIN_GENES = 5


@dataclass(frozen=True)
class Cleaned:
    """One annotation, canonical."""

    name: str
    title: str
    members: Members

    @property
    def genes(self) -> frozenset[str]:
        """Every symbol it names."""
        return frozenset(g for m in self.members for g in ((m,) if isinstance(m, str) else m[:2]))


@dataclass(frozen=True)
class Outcome:
    """What a file came to."""

    annotations: tuple[Cleaned, ...]
    names: Tally
    """What became of gene names."""
    members: Tally
    """What became of members, pairs and edges."""
    notes: tuple[str, ...]


def clean(
    raw: Raw,
    name: str,
    resolver: Resolver,
    cache: Collection[str],
    *,
    file: str,
    min_genes: int = MIN_GENES,
    only: Sequence[str] = (),
) -> Outcome:
    """Canonical annotations of ``raw``. A file of pairs or edges, or with one set, gives one called ``name``; the sets of
    other files are called ``name_set``. ``cache`` holds the symbols of a cache, which decide between names of one gene.

    Raises ``AnnotationError`` where nothing is left, where names are no gene names, or where ``only`` names no set.
    """
    names, members = Tally(), Tally()
    seen: dict[str, str | None] = {}

    def symbol(text: str) -> str | None:
        if text not in seen:
            seen[text] = _symbol(text, resolver, names)
        return seen[text]

    groups = _chosen(raw, only, file)
    sets = raw.kind == "gene_set"
    held = frozenset(cache)
    small = (held, min_genes)
    found = _sets(groups, symbol, members, small) if sets else _triples(raw, groups, symbol, members)
    _check_names(seen, names, file)
    _check_species({s for s in seen.values() if s is not None}, held, file)
    one = len(found) == 1 and len(raw.groups) == 1
    annotations = tuple(
        Cleaned(slug(name) if one else _set_name(name, title), text, made) for title, text, made in found
    )
    _check_slugs(annotations, file)
    if not annotations:
        raise AnnotationError(
            f"{file} leaves nothing to import: {'; '.join(_all(raw, names, members)) or 'it has no row'}"
        )
    broad = [a.name for a in annotations if sets and len(a.genes & held) > NEARLY_ALL * len(held)]
    notes = [
        f"{n} covers more than {NEARLY_ALL:.0%} of the genes of the cache: it can be a background, and as a set it is untestable"
        for n in broad
    ]
    return Outcome(annotations, names, members, (*raw.notes, *notes))


def _symbol(text: str, resolver: Resolver, names: Tally) -> str | None:
    name = text.strip()
    if not name or re.search(r"\s", name) or re.fullmatch(r"[\d.eE+-]+", name) or len(name) > 40:
        names.add("names that are no gene name were left out", repr(name[:30]))
        return None
    symbol, how = resolver(name)
    match how:
        case "alias":
            names.add("old symbols or aliases were replaced", f"{name} → {symbol}")
        case "Ensembl id":
            names.add("Ensembl ids were replaced by symbols", f"{name} → {symbol}")
        case "ambiguous":
            names.add("aliases that mean several genes of the cache were kept as they are", name)
        case "unknown id":
            names.add("Ensembl ids without a symbol were left out; give a table with --aliases", name)
            return None
    return symbol


def _chosen(raw: Raw, only: Sequence[str], file: str) -> list[Group]:
    if not only:
        return raw.groups
    wanted = {slug(name) for name in only}
    groups = [group for group in raw.groups if slug(group.name) in wanted]
    missing = wanted - {slug(group.name) for group in groups}
    if missing:
        known = ", ".join(group.name for group in raw.groups[:6])
        raise AnnotationError(
            f"--only {sorted(missing)[0]} is no set of {file}; it holds {len(raw.groups)}, such as {known}"
        )
    return groups


def _sets(
    groups: Iterable[Group], symbol: Callable[[str], str | None], members: Tally, small: tuple[frozenset[str], int]
) -> list[tuple[str, str, Members]]:
    found: dict[Members, tuple[str, str, Members]] = {}
    for group in groups:
        genes = [found_symbol for found_symbol in map(symbol, group.genes) if found_symbol is not None]
        made, _ = canonical_members("gene_set", genes)
        if len(made) < len(genes):
            members.add("repeats of a gene in a set were merged", group.name, len(genes) - len(made))
        held = sum(gene in small[0] for gene in made)
        if held < small[1]:
            members.add(f"sets with fewer than {small[1]} genes in the cache were left out", f"{group.name} ({held})")
        elif made in found:
            members.add("sets with the very genes of another were left out", f"{group.name} = {found[made][0]}")
        else:
            found[made] = (group.name, group.title, made)
    return list(found.values())


def _triples(
    raw: Raw, groups: Iterable[Group], symbol: Callable[[str], str | None], members: Tally
) -> list[tuple[str, str, Members]]:
    found = []
    for group in groups:
        resolved = [(symbol(a), symbol(b), value) for a, b, value in group.triples]
        kept: list[Triple] = []
        for a, b, value in resolved:
            if a is None or b is None:
                members.add("pairs or edges lost a gene and were left out")
            elif a == b:
                members.add("pairs or edges of a gene with itself were left out", a)
            else:
                kept.append((a, b, value))
        if kept:
            made = _edges(kept, members) if raw.kind == "edges" else _pairs(kept, members)
            found.append((group.name, group.title, made))
    return found


def _pairs(kept: Sequence[Triple], members: Tally) -> Members:
    best: dict[tuple[str, str], int] = {}
    for a, b, grade in kept:
        pair = (a, b) if a < b else (b, a)
        if pair in best:
            members.add("lines repeat a pair, in either order, and were merged")
            if best[pair] != grade:
                members.add("repeats have another score: the largest was kept", " – ".join(pair))
        best[pair] = max(grade, best.get(pair, grade))
    return canonical_members("gene_pairs", [(a, b, grade) for (a, b), grade in best.items()])[0]


def _edges(kept: Sequence[Triple], members: Tally) -> Members:
    made, _ = canonical_members("edges", kept)
    if len(made) < len(kept):
        members.add("lines repeat an edge and were merged", n=len(kept) - len(made))
    signs: dict[tuple[str, str], set[int]] = {}
    for a, b, sign in kept:
        signs.setdefault((a, b), set()).add(sign)
    for (a, b), seen in signs.items():
        if {-1, 1} <= seen:
            members.add("edges are given as activation and as repression: kept with the sign 0", f"{a} → {b}")
        elif len(seen) == 2:
            members.add("edges are given with and without a sign: the sign was kept", f"{a} → {b}")
    for a, b in signs:
        if a < b and (b, a) in signs:
            members.add("pairs of genes regulate each other: both edges were kept", f"{a} ⇄ {b}")
    count = Counter(sign for _, _, sign in signs_of(made))
    members.add("activating edges", n=count[1])
    members.add("repressing edges", n=count[-1])
    members.add("edges without a known sign", n=count[0])
    return made


def signs_of(members: Members) -> list[Triple]:
    """The members as triples."""
    return [m for m in members if not isinstance(m, str)]


def _set_name(name: str, title: str) -> str:
    """``name_title``, without saying the name twice (GOCC_CYTOSOL imported as gocc)."""
    return slug(title) if slug(title).startswith(f"{name}_") else slug(f"{name}_{title}")


def _check_names(seen: dict[str, str | None], names: Tally, file: str) -> None:
    bad = names.counts["names that are no gene name were left out"]
    proteins = [text for text in seen if PROTEIN.fullmatch(text) and ENSEMBL.fullmatch(text.partition(".")[2])]
    if len(proteins) > len(seen) / 2:
        raise AnnotationError(
            f"{file} names proteins such as {proteins[0]}, not genes; import STRING links with --as proteins and --aliases"
        )
    if bad > len(seen) / 2:
        example = names.examples["names that are no gene name were left out"][0]
        raise AnnotationError(
            f"{file} has {example} where a gene is expected, and most others are no gene names either; the columns may have "
            "shifted: name the right one with --columns"
        )
    unknown = names.counts["Ensembl ids without a symbol were left out; give a table with --aliases"]
    if unknown > len(seen) / 2:
        raise AnnotationError(
            f"{file} names genes by Ensembl ids, and {unknown} of {len(seen)} have no symbol; give --aliases with a table of "
            "id and symbol, such as HGNC's complete set"
        )


def _check_species(genes: set[str], cache: frozenset[str], file: str) -> None:
    """Refuse a file whose genes are those of another species, or spelled otherwise."""
    spelled = {symbol.upper(): symbol for symbol in cache}
    alike = sorted(gene for gene in genes - cache if gene.upper() in spelled)
    hits = len(genes & cache)
    if len(alike) > hits:
        raise AnnotationError(
            f"{file} names {hits} genes of the cache, and {len(alike)} more would match if upper and lower case were the same "
            f"({alike[0]} and {spelled[alike[0].upper()]}): another species, or another spelling. Take the file of the cache's "
            "species, or give --aliases with a table of the two names"
        )
    if genes and not hits:
        raise AnnotationError(
            f"{file} names no gene of the cache: it has {', '.join(sorted(genes)[:3])} where the cache has "
            f"{', '.join(sorted(cache)[:3])}. Check the species; other identifiers are read with --aliases"
        )


def _check_slugs(annotations: Sequence[Cleaned], file: str) -> None:
    twice = [name for name, count in Counter(a.name for a in annotations).items() if count > 1]
    if twice:
        raise AnnotationError(f"{file} has two sets that would both be called {twice[0]}; rename one of them")


def _all(raw: Raw, names: Tally, members: Tally) -> list[str]:
    return raw.dropped.sentences() + names.sentences() + members.sentences()
