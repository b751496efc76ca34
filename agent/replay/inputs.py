"""Which input of a run is missing or is not the one it was opened with: asked when one cannot be opened, or differs."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...embeddings_cache.errors import CacheError
from ...embeddings_cache.store import GENES, MANIFEST, find_cache, open_cache
from ...hypotheses.annotations import AnnotationError, find_annotations, load_annotations
from ..config import Config
from ..errors import UserError
from ..ledger.provenance import Artifact
from ..ledger.records import RunOpened

_SHOWN = 5


class InputsDifferError(UserError):
    """Nothing can be executed again: an input is missing, or is another one than the run was opened with."""

    def __init__(self, outcome: str, named: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        """``inputs_missing`` or ``inputs_changed``."""
        self.named = tuple(named)


def cache_files(folder: Path) -> dict[str, str]:
    """File of a cache → sha256 of its bytes as they are now; the manifest is left out, it holds names and notes."""
    return {
        path.name: _sha256(path)
        for path in sorted(folder.iterdir())
        if path.suffix in {".npy", ".tsv"} and path.is_file()
    }


def named_inputs(
    folder: Path,
    config: Config,
    plan: RunOpened,
    files: Mapping[str, str],
    artifacts: Mapping[str, Artifact],
    error: UserError,
) -> InputsDifferError:
    """``error``, said of an input of ``folder``, with every missing or else every changed input named before it.

    ``files``: file of the cache → sha256, as recorded with the run; empty where nothing was recorded.
    """
    missing, changed = _cache(folder, config, plan, files, artifacts)
    gone, other = _annotations(folder, config, plan)
    missing, changed = missing + gone, changed + other
    outcome, named = ("inputs_missing", missing) if missing else ("inputs_changed", changed)
    said = f"{outcome.replace('_', ' ')}: {', '.join(named)}. {error}" if named else f"inputs changed: {error}"
    return InputsDifferError(outcome, named, said)


def _cache(
    folder: Path, config: Config, plan: RunOpened, files: Mapping[str, str], artifacts: Mapping[str, Artifact]
) -> tuple[list[str], list[str]]:
    try:
        path = find_cache(config.cache, folder)
    except CacheError:
        return [f"cache {config.cache} (digest {plan.cache['digest'][:12]})"], []
    if not (path / MANIFEST).is_file():
        return [f"cache {config.cache} (no {MANIFEST} in {path})"], []
    missing = [f"cache file {name}" for name in files if not (path / name).is_file()]
    if missing:
        return missing, []
    changed = [_file(path, name, artifacts.get(sha)) for name, sha in files.items() if _sha256(path / name) != sha]
    return [], changed or _digest(path, plan)


def _digest(path: Path, plan: RunOpened) -> list[str]:
    try:
        digest = open_cache(path, verify=False).digest
    except CacheError as error:
        return [str(error)]
    return [] if digest == plan.cache["digest"] else [f"cache digest {plan.cache['digest'][:12]} → {digest[:12]}"]


def _file(folder: Path, name: str, recorded: Artifact | None) -> str:
    """A changed file; of the gene table, also which genes, where its text was recorded."""
    if name != GENES or recorded is None:
        return f"cache file {name}"
    before = [line.partition("\t")[0] for line in recorded.text().splitlines()]
    after = [line.partition("\t")[0] for line in (folder / name).read_text("utf-8", errors="replace").splitlines()]
    moves = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    said = [
        f"{'+'.join(before[a:b][:_SHOWN]) or 'nothing'} → {'+'.join(after[c:d][:_SHOWN]) or 'nothing'}"
        for tag, a, b, c, d in moves
        if tag != "equal"
    ]
    return f"cache file {name} ({'; '.join(said[:_SHOWN]) or 'covariates of a gene'})"


def _annotations(folder: Path, config: Config, plan: RunOpened) -> tuple[list[str], list[str]]:
    recorded = {str(a["name"]): a["digest"] for a in plan.annotations}
    try:
        path = find_annotations(config.annotations, folder)
    except AnnotationError:
        return [f"annotations {config.annotations}"], []
    try:
        now = {a.name: a.digest for a in load_annotations(path)}
    except AnnotationError as error:
        return [], [str(error)]
    gone = [f"annotation {name}" for name in recorded if name not in now]
    changed = [f"annotation {name}" for name, digest in now.items() if recorded.get(name) != digest]
    return gone, changed


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
