"""What ``screen annotations`` does: bring a file into the project's folder of annotations, and say what can be tested of it.

Nothing is written before the whole folder, with the new annotation in it, has been opened with the project's cache.
"""

import json
import shutil
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..embeddings_cache.errors import CacheError
from ..embeddings_cache.store import Cache, find_cache, open_cache
from ..hypotheses.annotations import CONFIG, AnnotationError, find_annotations, slug
from ..hypotheses.importers.base import Importer, Options, Raw
from ..hypotheses.importers.names import Names, read_names
from ..hypotheses.importers.registry import importer
from ..hypotheses.importers.rules import MIN_GENES, Outcome, clean
from ..hypotheses.importers.table import mapped_columns
from ..hypotheses.importers.text import sha256_of_file
from ..hypotheses.importers.writing import data_file, toml_table, without_table
from ..hypotheses.validity import check
from ..tests_library.catalogue import CATALOGUE
from .config import Config, load_config
from .errors import UserError
from .ledger.database import database_at
from .ledger.store import Ledger
from .places import ledger_path
from .project import Project, Side, open_project
from .session import with_plan

FOLDER = "annotations"
"""Folder of a project's own annotations; ``screen run --annotations annotations`` takes it."""
RECORD = ".import.json"
PLAIN = ("sets", "pairs", "edges")
"""Formats of which a file is tried to be when it is not what it was said to be."""


@dataclass(frozen=True)
class Asked:
    """What a person asks an import for."""

    file: Path
    format: str
    name: str
    columns: Sequence[str] = ()
    where: Sequence[str] = ()
    only: Sequence[str] = ()
    aliases: Sequence[Path] = ()
    species: str = "human"
    min_score: float | None = None
    min_genes: int = MIN_GENES
    source: str = ""
    version: str = ""
    licence: str = ""
    citation: str = ""
    title: str = ""
    role: str = "claim"
    background: str = ""
    to: str = FOLDER
    replace: bool = False


def import_file(folder: Path, asked: Asked) -> dict[str, Any]:
    """Import one file and return its record, as JSON types. Raises :class:`UserError`; then nothing was written."""
    try:
        return _import(folder, asked)
    except (AnnotationError, CacheError) as error:
        raise UserError(str(error)) from None


def _import(folder: Path, asked: Asked) -> dict[str, Any]:
    if asked.name != slug(asked.name):
        raise AnnotationError(f"--name {asked.name} must be made of a-z, 0-9 and _: {slug(asked.name)}?")
    if asked.species not in ("human", "mouse"):
        raise AnnotationError(f"--species {asked.species} is not known; choose human or mouse")
    reader = importer(asked.format)
    config = replace(load_config(folder, {}), partner="", annotations=str((folder / asked.to).resolve()))
    cache = open_cache(find_cache(config.cache, folder))
    names = read_names(asked.aliases)
    raw = _read(reader, asked, names)
    usable = [s for s, ok in zip(cache.genes.symbol, cache.genes.usable, strict=True) if ok]
    found = clean(
        raw, asked.name, names.resolver(cache.genes.symbol), usable,
        file=asked.file.name, min_genes=asked.min_genes, only=asked.only,
    )  # fmt: skip
    facts = _facts(asked, reader, raw, found, names, cache)
    ending, text = data_file(raw.kind, found.annotations)
    table = toml_table(asked.name, _fields(asked, reader, facts, asked.name + ending, raw))
    files = {asked.name + ending: text}
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / "annotations"
        _stage(folder / asked.to, staged, asked, table, files)
        project = open_project(folder, replace(config, annotations=str(staged)))
        facts["annotations"] = [annotation_row(project, a.name) for a in found.annotations]
        kept = {key: value for key, value in facts.items() if key != "annotations"}
        files[asked.name + RECORD] = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
        _publish(folder / asked.to, files, (staged / CONFIG).read_text(encoding="utf-8"), asked.name)
    return facts


def _read(reader: Importer, asked: Asked, names: Names) -> Raw:
    """What the file holds. Where it cannot be read as this, the message says which of the plain formats would read it."""
    try:
        return reader.read(asked.file, _options(asked, reader, names))
    except AnnotationError as error:
        fitting = (
            [] if asked.columns or asked.where else [name for name in PLAIN if _reads(importer(name), asked, names)]
        )
        said = f" It does read as --as {' or '.join(fitting)}." if fitting else ""
        raise AnnotationError(f"{error}{said and '.' * (not str(error).endswith('.'))}{said}") from None


def _reads(reader: Importer, asked: Asked, names: Names) -> bool:
    try:
        return len(reader.read(asked.file, _options(asked, reader, names)).groups) > 0
    except AnnotationError:
        return False


def _options(asked: Asked, reader: Importer, names: Names) -> Options:
    where: dict[str, frozenset[str]] = {}
    for text in asked.where:
        column, equals, values = text.partition("=")
        if not equals or not values:
            raise AnnotationError(f"--where {text}: write COLUMN=VALUE or COLUMN=VALUE,VALUE")
        where[column.strip()] = frozenset(value.strip() for value in values.split(","))
    columns = mapped_columns(asked.columns, reader.columns, reader.name)
    return Options(columns, where, asked.min_score, asked.species, names)


def _facts(asked: Asked, reader: Importer, raw: Raw, found: Outcome, names: Names, cache: Cache) -> dict[str, Any]:
    sha256 = sha256_of_file(asked.file)
    genes = {gene for a in found.annotations for gene in a.genes}
    usable = {s for s, ok in zip(cache.genes.symbol, cache.genes.usable, strict=True) if ok}
    masked = genes & (set(cache.genes.symbol) - usable)
    absent = sorted(genes - set(cache.genes.symbol))
    return {
        "name": asked.name,
        "file": asked.file.name,
        "sha256": sha256,
        "read_as": reader.name,
        "kind": raw.kind,
        "lines": raw.read,
        "source": asked.source or reader.source or asked.file.name,
        "version": asked.version or reader.version or f"sha256 {sha256[:12]}",
        "licence": asked.licence or reader.licence or "not stated",
        "citation": asked.citation or reader.citation,
        "aliases": {"file": names.file, "sha256": names.sha256} if names.file else None,
        "lines_left_out": raw.dropped.sentences(),
        "names": found.names.sentences(),
        "members": found.members.sentences(),
        "notes": list(found.notes),
        "cache": {
            "name": cache.name, "digest": cache.digest, "genes_named": len(genes), "in_cache": len(genes & usable),
            "masked": len(masked), "not_in_cache": len(absent), "not_in_cache_first": absent[:10],
        },
    }  # fmt: skip


def _fields(asked: Asked, reader: Importer, facts: Mapping[str, Any], file: str, raw: Raw) -> dict[str, str]:
    return {
        "file": file,
        "kind": reader.kind,
        "title": asked.title or ("" if raw.kind == "gene_set" else facts["source"]),
        "source": facts["source"],
        "version": facts["version"],
        "licence": facts["licence"],
        "citation": facts["citation"],
        "provenance": "control" if asked.role == "negative_control" else "external",
        "role": asked.role,
        "background": asked.background,
        "original": f"{facts['file']} sha256:{facts['sha256']}",
    }


def _stage(target: Path, staged: Path, asked: Asked, table: str, files: Mapping[str, str]) -> None:
    """The folder as it will be, in a scratch place."""
    if target.is_dir():
        shutil.copytree(target, staged)
    staged.mkdir(exist_ok=True)
    toml = (staged / CONFIG).read_text(encoding="utf-8") if (staged / CONFIG).exists() else ""
    if asked.name in _tables(toml, target / CONFIG):
        if not asked.replace:
            raise AnnotationError(
                f"{target / CONFIG} has [{asked.name}] already; choose another --name, or give --replace"
            )
        toml = without_table(toml, asked.name)
    for name, text in files.items():
        (staged / name).write_text(text, encoding="utf-8")
    (staged / CONFIG).write_text(f"{toml.rstrip()}\n\n{table}".lstrip(), encoding="utf-8")


def _tables(toml: str, path: Path) -> set[str]:
    try:
        return set(tomllib.loads(toml))
    except tomllib.TOMLDecodeError as error:
        raise AnnotationError(f"{path} is not valid TOML: {error}; mend that place") from None


def _publish(target: Path, files: Mapping[str, str], toml: str, name: str) -> None:
    """Move everything into place, the table that names it last: half an import is never read."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for stale in (target / f"{name}.gmt", target / f"{name}.tsv"):
            if stale.name not in files:
                stale.unlink(missing_ok=True)
        for file, text in {**files, CONFIG: toml}.items():
            partial = target / f".{file}.part"
            partial.write_text(text, encoding="utf-8")
            partial.replace(target / file)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}); choose another folder with --to") from None


def opened(folder: Path, annotations: str | None) -> Project:
    """The project of ``folder``, with the annotations of its run, its settings, or the ones named."""
    config: Config = load_config(folder, {"annotations": annotations})
    if annotations is None and not database_at(ledger_path(folder)).vacant():
        with Ledger.open_readonly(ledger_path(folder)) as ledger:
            config = with_plan(config, {}, ledger.run(), folder)
    return open_project(folder, config)


def annotation_row(project: Project, name: str) -> dict[str, Any]:
    """Sizes of one annotation: as named, in this cache, and on either side of the split."""
    a = project.annotations[name]
    return {
        "name": a.name,
        "kind": a.kind,
        "role": a.role,
        "title": a.title,
        "named": len(a.members),
        "usable": project.entity_size(name, Side.ALL),
        "explore": project.entity_size(name, Side.EXPLORE),
        "sealed": project.entity_size(name, Side.SEALED),
        "background": a.background,
        "missing": list(project.missing[name]),
        "source": a.provenance.source,
        "version": a.provenance.version,
        "licence": a.provenance.licence,
        "citation": a.provenance.citation,
        "original": a.provenance.original,
        "provenance": a.provenance.type,
        "digest": a.digest,
    }


def annotation_facts(folder: Path, annotations: str | None = None) -> list[dict[str, Any]]:
    """Every annotation of the folder: kind, role, sizes named, usable here, and on either side."""
    project = opened(folder, annotations)
    return [annotation_row(project, name) for name in project.annotations]


def shown(folder: Path, name: str, annotations: str | None = None) -> dict[str, Any]:
    """Everything about one annotation: its row, notes, what the import said, and which tests it is open to."""
    project = opened(folder, annotations)
    if name not in project.annotations:
        raise UserError(f"there is no annotation '{name}'; there are {', '.join(sorted(project.annotations)[:12])}")
    a = project.annotations[name]
    record = _record(find_annotations(project.config.annotations, folder), name)
    return {**annotation_row(project, name), "notes": list(a.notes), "tests": _tests(project, name), "import": record}


def _record(folder: Path, name: str) -> dict[str, Any] | None:
    """What the import of ``name`` said of its file; a set of a file with several has the file's record."""
    for path in sorted(folder.glob(f"*{RECORD}"), key=lambda p: -len(p.name)):
        stem = path.name.removesuffix(RECORD)
        if name == stem or name.startswith(f"{stem}_"):
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return record
    return None


def _tests(project: Project, name: str) -> dict[str, Any]:
    kind = project.annotations[name].kind
    findings = {k.name: check(project.facts(k.name, name)) for k in CATALOGUE.values() if k.entity == kind}
    return {
        "open": [test for test, finding in findings.items() if finding is None],
        "closed": {test: finding.sentence for test, finding in findings.items() if finding is not None},
    }


def checked(folder: Path, annotations: str | None = None) -> list[dict[str, Any]]:
    """For every annotation: to how many tests it is open here, and the commonest reason against the others."""
    project = opened(folder, annotations)
    twins: dict[str, str] = {}
    out = []
    for name, a in project.annotations.items():
        tests = _tests(project, name)
        reasons = Counter(tests["closed"].values()).most_common(1)
        remarks = [reasons[0][0]] if reasons and not tests["open"] else []
        twin = twins.setdefault(a.digest, name)
        remarks += [f"the same members as '{twin}'"] if twin != name else []
        out.append({
            **annotation_row(project, name), "open": len(tests["open"]), "closed": len(tests["closed"]),
            "remarks": [*remarks, *a.notes[:1]],
        })  # fmt: skip
    return out
