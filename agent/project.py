"""A working folder, opened: settings, cache, annotations, split and grammar together.

Everything here is read-only and determined by the inputs. The one thing a project knows that others may not is which
genes are sealed; it hands out rows of one :class:`Side` at a time.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings_cache.errors import CacheError
from ..embeddings_cache.families import gene_families
from ..embeddings_cache.importing import not_matched
from ..embeddings_cache.split import EXPLORE, SEALED, split_digest, split_genes
from ..embeddings_cache.store import SHIPPED, Cache, find_cache, list_caches, open_cache
from ..hypotheses.annotations import (
    Annotation,
    AnnotationError,
    find_annotations,
    index_symbols,
    load_annotations,
    resolve,
)
from ..hypotheses.canonical import sha256_of
from ..hypotheses.covariates import Covariates, read_covariates
from ..hypotheses.grammar import Grammar, make_grammar
from ..hypotheses.spec import TestSpec
from ..hypotheses.studied import studied
from ..hypotheses.validity import MATCHED, Facts, Finding, Universe, carriers, check, freedom, notes
from ..tests_library.balance import THRESHOLD, balance
from ..tests_library.catalogue import CATALOGUE, companion_nulls
from ..tests_library.engine.elementary import log
from ..tests_library.nulls import NULLS, Exchange, exchange, like_genes, study_load
from ..tests_library.statistics.base import Need
from .config import Config, ledger_at
from .custom.kind import kind_of
from .digest import Offer, offers
from .errors import UserError
from .sandbox.base import Job

MIN_COMMON = 50
"""Usable genes that a partner must share with the cache."""
MUST_BALANCE = ("expression", "detection")
"""Covariates in which the genes of a row must be like those that stand in for them."""


class Side(Enum):
    """Which genes a test may read labels of."""

    EXPLORE = "A"
    SEALED = "B"
    ALL = "A+B"


@dataclass(frozen=True, eq=False)
class Project:
    """See the module docstring. Make one with :func:`open_project`."""

    folder: Path
    config: Config
    cache: Cache
    annotations: Mapping[str, Annotation]
    split: NDArray[np.int8]
    """int8 [genes]: 0 explore, 1 sealed, −1 masked."""
    missing: Mapping[str, tuple[str, ...]]
    """Annotation → symbols it names that this cache cannot test."""
    _entities: Mapping[str, Any]
    partner: Cache | None = None
    """Another cache to compare with (setting ``partner``)."""
    covariates: Covariates = field(default_factory=Covariates)
    """The user's own covariates of genes (setting ``covariates``)."""
    _loads: dict[tuple[Side, str | None], NDArray[np.int64]] = field(default_factory=dict)
    _balances: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @property
    def ledger_path(self) -> Path | str:
        """Where this folder's record is: a file, or an address."""
        return ledger_at(self.folder, self.config)

    @cached_property
    def grammar(self) -> Grammar:
        """The closed grammar; what is testable is judged on genes A alone.

        Raises :class:`UserError` where the settings allow too few draws for any row to reach its threshold.
        """
        findings = {
            (kind.name, a.name): check(self.facts(kind.name, a.name))
            for a in self.annotations.values()
            for kind in CATALOGUE.values()
            if kind.entity == a.kind
        }
        hopeless = next((f for f in findings.values() if f is not None and f.rule == "too_few_draws"), None)
        if hopeless is not None:
            raise UserError(f"with these settings no row could ever be confirmed: {hopeless.sentence}")
        testable = {names: finding is None for names, finding in findings.items()}
        return make_grammar(
            tuple(self.annotations.values()),
            self.cache.digest,
            self.cache.n_layers,
            self.cache.dim,
            testable,
            self.brings,
        )

    @cached_property
    def offers(self) -> tuple[Offer, ...]:
        """What a proposer may choose from, with the sizes of genes A."""
        sizes = {name: self.entity_size(name, Side.EXPLORE) for name in self.annotations}
        return offers(self.grammar, sizes)

    @property
    def brings(self) -> dict[Need, str]:
        """What some test kinds need and this project has → its digest."""
        found: dict[Need, str] = {} if self.partner is None else {"partner": self.partner.digest}
        if {"attention", "attention_rows"} <= set(self.cache.extras):
            files = self.cache.manifest["files"]
            found["attention"] = sha256_of([files["attention.npy"], files["attention_rows.npy"]])
        return found

    def cache_facts(self) -> dict[str, Any]:
        """The cache, and the partner where there is one, as a run freezes them."""
        cache = self.cache
        usable = int(cache.genes.usable.sum())
        facts: dict[str, Any] = {
            "name": cache.name, "digest": cache.digest, "genes": cache.n_genes, "masked": cache.n_genes - usable,
            "layers": cache.n_layers, "dim": cache.dim,
        }  # fmt: skip
        if self.partner is not None:
            facts["partner"] = f"{self.partner.name} {self.partner.digest}"
        facts |= self.covariates.facts()
        if not_matched(cache.manifest):
            facts["not_matched"] = list(not_matched(cache.manifest))
        return facts

    def finding(self, spec: TestSpec) -> Finding | None:
        """Why a spec may not be tested, or ``None``."""
        return check(self.facts(spec.test, spec.annotation, spec))

    def rows(self, side: Side, background: str | None) -> NDArray[np.int64]:
        """Cache rows of the universe on ``side``, int64, ascending."""
        wanted = {Side.EXPLORE: self.split == EXPLORE, Side.SEALED: self.split == SEALED, Side.ALL: self.split >= 0}[
            side
        ]
        if background is not None:
            inside = np.zeros(len(self.split), dtype=np.bool_)
            inside[self._entities[background].rows] = True
            wanted = wanted & inside
        return np.flatnonzero(wanted).astype(np.int64)

    def entity(self, annotation: str, side: Side) -> dict[str, Any]:
        """The part of an annotation whose labels lie on ``side``, as JSON types local to :meth:`rows`.

        Sets: members on that side. Pairs: both genes on that side. Edges: the *target* on that side; the regulator is
        named by its cache row and may lie anywhere, because it is never permuted.
        """
        a = self.annotations[annotation]
        resolved = self._entities[annotation]
        rows = self.rows(side, a.background)
        place = np.full(len(self.split), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        if a.kind == "gene_set":
            local = place[resolved.rows]
            return {"kind": a.kind, "members": local[local >= 0].tolist()}
        if a.kind == "gene_pairs":
            local = place[resolved.rows]
            keep = (local >= 0).all(axis=1)
            return {"kind": a.kind, "pairs": local[keep].tolist(), "grades": resolved.grade[keep].tolist()}
        keep = place[resolved.rows[:, 1]] >= 0
        edges = np.stack([resolved.rows[keep, 0], place[resolved.rows[keep, 1]]], axis=1)
        return {"kind": a.kind, "edges": edges.tolist(), "signs": resolved.sign[keep].tolist()}

    def load(self, side: Side, background: str | None) -> NDArray[np.int64]:
        """Study load of each gene of :meth:`rows`, int64 [n], from labels inside that universe alone."""
        if (side, background) not in self._loads:
            s = studied(self.annotations, self._entities, self.rows(side, background))
            self._loads[(side, background)] = study_load(s.annotations, s.degree)
        return self._loads[(side, background)]

    def matched(self, side: Side, background: str | None) -> NDArray[np.int64]:
        """Stratum of like genes of each gene of :meth:`rows`, int64 [n]: cut over both sides at once, from covariates alone.

        So genes A, genes B and all genes are asked under one null, and a stratum is no wider on a half than on the whole.
        Inside a background each side cuts its own: who of genes B belongs to it is a label, and sealed.
        """
        rows, genes = self.rows(side, background), self.cache.genes
        whole = self.rows(Side.ALL, None) if background is None else rows
        strata = like_genes(genes.mean_expression[whole], genes.detection[whole])
        return strata[np.searchsorted(whole, rows)]

    def labelled_rows(self, annotation: str) -> NDArray[np.int64]:
        """Cache rows that carry a label of ``annotation``, on either side: int64, unique, ascending."""
        return np.unique(self._entities[annotation].rows).astype(np.int64)

    def entity_size(self, annotation: str, side: Side) -> int:
        """Members, pairs or edges on ``side``."""
        entity = self.entity(annotation, side)
        return len(entity[{"gene_set": "members", "gene_pairs": "pairs", "edges": "edges"}[entity["kind"]]])

    def job(
        self,
        test: str,
        annotation: str,
        side: Side,
        *,
        subsets: Mapping[str, tuple[str, str]],
        nulls: tuple[str, ...],
        m: int,
        seed: int,
        vectors: bool,
    ) -> Job:
        """The job that scans ``annotation`` with ``test`` on ``side``."""
        background = self.annotations[annotation].background
        return Job(
            name=f"{test}({annotation}) on genes {side.value}",
            cache_path=str(self.cache.path.resolve()),
            cache_digest=self.cache.digest,
            universe=tuple(self.rows(side, background).tolist()),
            load=tuple(self.load(side, background).tolist()),
            matched=tuple(self.matched(side, background).tolist()),
            test=test,
            entity=self.entity(annotation, side),
            subsets=subsets,
            nulls=nulls,
            m=m,
            seed=seed,
            n_axes=self.grammar.n_axes,
            partner=None if self.partner is None else (str(self.partner.path.resolve()), self.partner.digest),
            vectors=vectors,
        )

    def split_facts(self) -> dict[str, Any]:
        """Digest and sizes of the split."""
        return {
            "digest": split_digest(self.split, self.cache.genes.symbol),
            "explore": int((self.split == EXPLORE).sum()),
            "sealed": int((self.split == SEALED).sum()),
        }

    def facts(self, test: str, annotation: str, spec: TestSpec | None = None) -> Facts:
        """What the validity rules may know of ``test`` on ``annotation``; without ``spec``, of a spec of the grammar."""
        a, kind = self.annotations[annotation], kind_of(test, spec)
        return Facts(
            kind=kind,
            annotation=a,
            nulls=spec.nulls if spec else companion_nulls(kind),
            alternative=spec.alternative if spec else kind.alternative,
            scan=spec.scan if spec else TestSpec.scan,
            cache_digest=self.cache.digest,
            same_cells=self._same_cells,
            universe=self._universes[a.background],
            entity=self.entity(annotation, Side.EXPLORE),
            masked=len(self._entities[annotation].masked),
            threshold=self.config.promote_p,
            draws=self.config.permutations_explore,
            look_threshold=self.config.alpha / 2,
            look_draws=self.config.permutations_look,
        )

    def label_checks(self, test: str, annotation: str) -> dict[str, Any]:
        """What labels and covariates of genes A say of a row before any embedding is read; see ``Tested.checks``.

        Annotation count and degree leave the tested annotation out, so they compare it with what else is known. They are
        printed; expression and detection, which an embedding can hold, must be matched for a row to count.
        """
        facts = self.facts(test, annotation)
        if annotation not in self._balances:
            self._balances[annotation] = self._balance(facts)
        found = self._balances[annotation]
        far = [name for name in MUST_BALANCE if abs(found[MATCHED][name]) > THRESHOLD]
        said = ", ".join(f"{name} {found[MATCHED][name]:+.2f} sd" for name in far)
        return {
            "balance": found,
            "unbalanced": f"its genes differ from those of the {MATCHED} null in {said}; beyond ±{THRESHOLD}"
            if far
            else "",
            "notes": [*notes(facts), *self._stand_out(found[MATCHED])],
        }

    def _stand_out(self, matched: Mapping[str, float]) -> list[str]:
        """One sentence on the user's covariates in which the genes of a row are unlike their stand-ins, if there are any."""
        far = [name for name in self.covariates.columns if abs(matched.get(_own(name), 0.0)) > THRESHOLD]
        said = ", ".join(f"{name} {matched[_own(name)]:+.2f} sd" for name in far)
        return [f"its genes differ from those of the {MATCHED} null in {said}, which is not matched"] if far else []

    def _balance(self, facts: Facts) -> dict[str, dict[str, float]]:
        """Null → covariate → standardised mean difference. It rests on the annotation, whatever the test."""
        background = facts.annotation.background
        rows, genes = self.rows(Side.EXPLORE, background), self.cache.genes
        other = self.studied_besides(facts.annotation.name)
        covariates = {
            "expression": log(1.0 + genes.mean_expression[rows]),
            "detection": genes.detection[rows],
            **{name: counts.astype(np.float64) for name, counts in other.items()},
            **{_own(name): values for name, values in self.covariates.of(rows).items()},
        }
        touched = np.array([gene for gene, _ in carriers(facts)], dtype=np.int64)
        return {null: balance(rule, touched, covariates) for null, rule in self._exchanges[background].items()}

    def studied_besides(self, annotation: str) -> dict[str, NDArray[np.int64]]:
        """How many other annotations name each gene of genes A, and its partners in other pairs and edges: int64 [n] each."""
        rows = self.rows(Side.EXPLORE, self.annotations[annotation].background)
        other = studied(self.annotations, self._entities, rows, without=annotation)
        return {"other annotations": other.annotations, "other degree": other.degree}

    @cached_property
    def _exchanges(self) -> Mapping[str | None, Mapping[str, Exchange]]:
        """Background → null → its exchange rule on genes A; made of covariates, families and study load."""
        genes, kin = self.cache.genes, gene_families(self.cache.genes.symbol)
        out: dict[str | None, Mapping[str, Exchange]] = {}
        for background in {a.background for a in self.annotations.values()}:
            rows = self.rows(Side.EXPLORE, background)
            load = self.load(Side.EXPLORE, background)
            covariates = genes.mean_expression[rows], genes.detection[rows], [kin[row] for row in rows], load
            matched = self.matched(Side.EXPLORE, background)
            out[background] = {null: exchange(null, *covariates, matched) for null in NULLS}
        return out

    @cached_property
    def _universes(self) -> Mapping[str | None, Universe]:
        """Background → the universe on genes A; made of covariates and families, never of labels."""
        return {
            background: Universe(
                symbols=tuple(self.cache.genes.symbol[row] for row in self.rows(Side.EXPLORE, background)),
                freedoms={null: freedom(rule) for null, rule in rules.items()},
                rows=self.rows(Side.EXPLORE, background),
            )
            for background, rules in self._exchanges.items()
        }

    @cached_property
    def _same_cells(self) -> Mapping[str, str]:
        """Digest → words, for the cells of this cache and the other known caches made of them; read where it can matter."""
        cells = _cells_digest(self.cache)
        if cells is None or all(a.provenance.type != "derived" for a in self.annotations.values()):
            return {}
        found = {cells: "the expression data"}
        for path in [*SHIPPED.values(), *list_caches(self.folder)]:
            with suppress(CacheError):  # a broken neighbour is no reason to stop this run
                other = open_cache(path, verify=False)
                if _cells_digest(other) == cells:
                    found[other.digest] = f"the cache '{other.name}'"
        return found


def open_project(
    folder: Path, config: Config, split: NDArray[np.int8] | None = None, world: NDArray[np.int64] | None = None
) -> Project:
    """Open and check every input of a run. Raises :class:`UserError` with the first thing that is wrong.

    ``split`` replaces the computed one (tests use it to move sealed labels without moving genes). ``world``, a permutation
    int64 [genes] of the cache's rows, makes gene ``world[i]`` carry the labels of gene i (audits use it).
    """
    try:
        cache = open_cache(find_cache(config.cache, folder))
        annotations = load_annotations(find_annotations(config.annotations, folder))
        index = index_symbols(cache.genes.symbol)
        entities = {a.name: resolve(a, index, cache.genes.usable, cache_name=cache.name) for a in annotations}
        partner = _partner(config.partner, folder, cache) if config.partner else None
        own = read_covariates(folder / config.covariates, cache.genes.symbol) if config.covariates else Covariates()
    except (CacheError, AnnotationError) as error:
        raise UserError(str(error)) from None
    if split is None:
        split = _split(cache, annotations, config.seed)
    if world is not None:
        entities = {name: replace(e, rows=world[e.rows]) for name, e in entities.items()}
    return Project(
        folder=folder,
        config=config,
        cache=cache,
        annotations={a.name: a for a in annotations},
        split=split,
        missing={name: tuple(e.missing) + tuple(e.masked) for name, e in entities.items()},
        _entities=entities,
        partner=partner,
        covariates=own,
    )


def _own(name: str) -> str:
    """How a covariate of the user is called beside the ones that every run has."""
    return f"own {name}"


def _partner(name: str, folder: Path, cache: Cache) -> Cache:
    """The cache to compare with; :class:`UserError` where there is nothing to compare."""
    partner = open_cache(find_cache(name, folder))
    if partner.digest == cache.digest:
        raise UserError(f"partner = '{name}' is the cache '{cache.name}' itself; name another cache, or leave it empty")
    common = _usable(partner) & _usable(cache)
    if len(common) < MIN_COMMON:
        raise UserError(
            f"partner '{name}' shares {len(common)} usable genes with cache '{cache.name}', by symbol; a comparison needs "
            f"{MIN_COMMON} or more, so name another cache, or leave it empty"
        )
    return partner


def _usable(cache: Cache) -> set[str]:
    return {symbol for symbol, usable in zip(cache.genes.symbol, cache.genes.usable, strict=True) if usable}


def _cells_digest(cache: Cache) -> str | None:
    """Digest of the cells a cache was made of, where its provenance says so."""
    data = cache.manifest.get("provenance", {}).get("data")
    digest = data.get("digest") if isinstance(data, Mapping) else None
    return digest if isinstance(digest, str) else None


def _split(cache: Cache, annotations: tuple[Annotation, ...], seed: int) -> NDArray[np.int8]:
    """Seal half of the genes, whole families and stable complexes together."""
    count: Counter[str] = Counter(symbol for a in annotations for symbol in a.genes())
    known = set(cache.genes.symbol)
    return split_genes(
        cache.genes.symbol,
        cache.genes.usable,
        cache.genes.mean_expression,
        cache.genes.detection,
        np.array([count[s] for s in cache.genes.symbol], dtype=np.int64),
        seed,
        extra_blocks=[block for block in _complexes(annotations) if set(block) <= known],
    )


def _complexes(annotations: tuple[Annotation, ...]) -> list[tuple[str, str]]:
    """Pairs of the highest grade of every claim annotation: partners that must not be torn apart."""
    blocks: list[tuple[str, str]] = []
    for a in annotations:
        if a.kind == "gene_pairs" and a.role != "negative_control":
            top = max(grade for _, _, grade in a.triples)
            blocks += [(x, y) for x, y, grade in a.triples if grade == top]
    return blocks
