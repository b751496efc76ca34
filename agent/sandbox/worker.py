"""The worker: reads jobs on stdin, writes outcomes on stdout, and knows nothing else of the campaign.

It opens the cache by path, read-only, and never sees a ledger, a claim or a result of another hypothesis. Frames are two
little-endian uint64 lengths (JSON, payload) and the two byte strings. Started by :mod:`.process`, or forked by :mod:`.zygote`.
"""

import json
import os
import resource
import select
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...embeddings_cache.families import gene_families
from ...embeddings_cache.store import Cache, open_cache
from ...tests_library.catalogue import CATALOGUE, scanned_views
from ...tests_library.rivals import rival_aurocs
from ...tests_library.run import Covariates, NullScan, scan
from ...tests_library.sketch import sketch
from ...tests_library.spaces import Geometry
from ...tests_library.statistics.base import Entity, TestKind
from ...tests_library.uncertainty import effect_intervals
from .brought import bring
from .frames import HEADER
from .frames import answer as send

_GEOMETRIES = 4
"""Universes kept ready: explore, sealed, all, and one background."""


@dataclass(frozen=True)
class _Opened(Cache):
    """A cache whose optional arrays are mapped already, for a worker that can open no file any more."""

    mapped: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def extra(self, name: str) -> NDArray[Any]:
        """See :meth:`Cache.extra`."""
        return self.mapped[name] if name in self.mapped else super().extra(name)


class Bench:
    """Caches and geometries a worker keeps ready between jobs."""

    def __init__(self) -> None:
        self._caches: dict[str, tuple[Cache, tuple[str, ...], dict[Any, Any]]] = {}
        self._geometries: OrderedDict[tuple[Any, ...], tuple[Geometry, Covariates]] = OrderedDict()

    def answer(self, job: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Numbers of one job: ``{"size", "n", "nulls": {null: {m, broken, subsets: {name: {...}}}}}`` and vectors.

        A job that wants no vectors is about one row, and also gets ``intervals`` and ``baselines``, by best view, and
        ``sketches``: null → its distribution in a few numbers, to draw it.
        """
        geometry, covariates = self._geometry(job)
        kind = CATALOGUE[job["test"]]
        if kind.needs:
            partner = self._cache(*job["partner"])[0] if job["partner"] else None
            bring(geometry, kind, self._cache(job["cache_path"], job["cache_digest"])[0], partner)
        entity = entity_from_json(job["entity"])
        subsets = {
            name: scanned_views(kind, geometry.n_layers, geometry.n_axes, layers, coordinates)
            for name, (layers, coordinates) in job["subsets"].items()
        }
        scans = scan(
            geometry,
            covariates,
            kind,
            entity,
            subsets=subsets,
            nulls=job["nulls"],
            m=job["m"],
            seed=job["seed"],
            staged=kind.staged and not job["vectors"],  # joint maxima need every hypothesis at the same draws
            exact=not job["vectors"],
        )
        value = {"size": entity.size, "n": geometry.n, "nulls": {s.null: _null_json(s) for s in scans}}
        if job["vectors"]:
            return value, _vectors(scans)
        sketches = {s.null: sketch(subset.maximum) for s in scans for subset in list(s.subsets.values())[:1]}
        return value | {"sketches": sketches} | _beside(job, geometry, kind, entity, scans), {}

    def forget_arrangements(self) -> None:
        """Drop every bank: the labels of the next jobs are others, and matched banks depend on them (audits)."""
        for geometry, _ in self._geometries.values():
            geometry.forget_draws()

    def _geometry(self, job: Mapping[str, Any]) -> tuple[Geometry, Covariates]:
        path, universe = job["cache_path"], tuple(job["universe"])
        name = (path, universe, job["n_axes"], tuple(job["partner"] or ()))
        if name not in self._geometries:
            cache, families, shared = self._cache(path, job["cache_digest"])
            rows = np.array(universe, dtype=np.int64)
            usable = np.flatnonzero(cache.genes.usable).astype(np.int64)
            genes, kin = cache.genes, tuple(families[r] for r in universe)
            symbols = tuple(genes.symbol[r] for r in universe)
            matched = np.array(job["matched"], dtype=np.int64)
            covariates = Covariates(symbols, genes.mean_expression[rows], genes.detection[rows], kin, matched=matched)
            held = {"expression": covariates.expression, "detection": covariates.detection}
            geometry = Geometry(cache.layers, usable, rows, families, job["n_axes"], shared, held)
            self._geometries[name] = (geometry, covariates)
            while len(self._geometries) > _GEOMETRIES:
                self._geometries.popitem(last=False)
        self._geometries.move_to_end(name)
        geometry, covariates = self._geometries[name]
        load = np.array(job["load"], dtype=np.int64)
        if covariates.load is None or not np.array_equal(covariates.load, load):  # else its banks are ready
            covariates = replace(covariates, load=load)
            self._geometries[name] = (geometry, covariates)
        return geometry, covariates

    def _cache(self, path: str, digest: str) -> tuple[Cache, tuple[str, ...], dict[Any, Any]]:
        if path not in self._caches:
            self.open(path, path, digest)
        cache = self._caches[path][0]
        if cache.digest != digest:
            raise ValueError(f"cache {path} has digest {cache.digest[:12]}, the job names {digest[:12]}")
        return self._caches[path]

    def open(self, path: str, location: str, digest: str) -> None:
        """Map the cache that jobs call ``path``, and its optional arrays, from ``location``, read-only."""
        cache = open_cache(Path(location), verify=False)  # the parent has verified it; here only the name is compared
        if cache.digest != digest:
            raise ValueError(f"cache {path} has digest {cache.digest[:12]}, the job names {digest[:12]}")
        held = {f.name: getattr(cache, f.name) for f in fields(Cache)}
        opened = _Opened(**held, mapped={name: cache.extra(name) for name in cache.extras})
        self._caches[path] = (opened, gene_families(cache.genes.symbol), {})


def entity_from_json(value: Mapping[str, Any]) -> Entity:
    """An :class:`Entity` from JSON types."""
    arrays = {k: np.array(v, dtype=np.int64) for k, v in value.items() if k != "kind"}
    return Entity(value["kind"], **arrays)


def _null_json(one: NullScan) -> dict[str, Any]:
    return {
        "m": one.m,
        "broken": [view.name for view in one.broken],
        "subsets": {
            name: {
                "k": subset.k,
                "statistic": float(subset.maximum[0]),
                "best": subset.best.name,
                "views": [
                    {
                        "layer": v.view.layer, "coordinate": v.view.coordinate, "statistic": v.statistic,
                        "effect": v.effect, "null_mean": v.null_mean, "null_sd": v.null_sd, "z": v.z, "k": v.k,
                    }
                    for v in subset.views
                ],
            }
            for name, subset in one.subsets.items()
        },
    }  # fmt: skip


def _beside(
    job: Mapping[str, Any], geometry: Geometry, kind: TestKind, entity: Entity, scans: tuple[NullScan, ...]
) -> dict[str, Any]:
    """What is printed beside a row and decides nothing: the interval of the effect, and what rivals of a classifier reach."""
    best = sorted({subset.best for one in scans for subset in one.subsets.values()}, key=lambda view: view.name)
    intervals = effect_intervals(geometry, kind, entity, best, job["seed"])
    studied = {name: np.array(counts, dtype=np.int64) for name, counts in job["studied"].items()}
    rivals = rival_aurocs(geometry, kind, entity, best, studied)
    return {
        "intervals": {view.name: asdict(found) for view, found in intervals.items()},
        "baselines": {view.name: found for view, found in rivals.items()},
    }


def _vectors(scans: tuple[NullScan, ...]) -> dict[str, NDArray[np.float64]]:
    out = {}
    for one in scans:
        out[f"{one.null}/overall"] = one.overall
        out |= {f"{one.null}/{name}": subset.maximum for name, subset in one.subsets.items()}
    return out


def serve(bench: Bench, requests: BinaryIO, replies: BinaryIO, compiled: Sequence[Any] = ()) -> None:
    """Answer frames until the input ends. ``compiled`` grows with the kernels that had to be compiled here."""
    told = 0
    while True:
        header = requests.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        length, _ = HEADER.unpack(header)
        request = json.loads(requests.read(length))
        if "memory_bytes" in request:
            limit_memory(request["memory_bytes"])
        if "job" not in request:
            send(replies, {"kind": "ok", "value": _about(request)})
            continue
        try:
            value, vectors = bench.answer(request["job"])
            reply = {"kind": "ok", "value": value, "vectors": {k: len(v) for k, v in vectors.items()}}
        except MemoryError:
            reply, vectors = {"kind": "memory", "detail": "the job asked for more memory than its limit"}, {}
        except Exception as error:  # noqa: BLE001 - at the edge of the process every error is an outcome
            reply, vectors = {"kind": "error", "detail": f"{type(error).__name__}: {error}"}, {}
        reply["compiled"], told = list(compiled[told:]), len(compiled)
        send(replies, reply, b"".join(np.ascontiguousarray(v, dtype="<f8").tobytes() for v in vectors.values()))


def _about(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker that a program started is asked before its first job: who it is, or what it can do."""
    if "probe" in request:
        from .probes import run_probes

        return dict(run_probes(request["probe"]))
    from .launched import made_of

    return made_of(request["threads"])


def limit_memory(extra_bytes: int) -> None:
    """Let the address space grow by at most ``extra_bytes`` from here (Linux; elsewhere the limit is not enforced)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + extra_bytes, hard))


def die_with(parent: int) -> None:
    """End this process soon after ``parent`` is gone, whatever it is doing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def die_with_input() -> None:
    """End this process soon after nobody can write to its input any more, for a worker that cannot see its parent."""

    def watch() -> None:
        line = select.poll()
        line.register(0, 0)  # a hang-up is always told
        line.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Entry point: ``python -m hyposcreen.agent.sandbox.worker PARENT_PID``, or ``-`` where the parent cannot be seen."""
    if sys.argv[1] == "-":
        die_with_input()
    else:
        die_with(int(sys.argv[1]))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not look like a frame
    serve(Bench(), sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
