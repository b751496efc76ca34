"""A bundle: a row of a ledger with all that a replay of it needs but the package and the cache.

A folder with ``runs.db`` (the whole chain, because a row is worth no more than the record it stands in), the annotations,
``screen.toml`` and ``bundle.json``: which row, the head, the digest of the cache, and the settings of the run. A replay in
the folder first compares it with ``bundle.json`` and walks the chain up to that head.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import __version__
from ...embeddings_cache.store import SHIPPED
from ...hypotheses.annotations import find_annotations
from ..config import CONFIG_NAME, LEDGER_NAME, Config, load_config, write_config
from ..errors import Exit, UserError
from ..ledger.records import Head, RunOpened
from ..ledger.store import Ledger
from ..ledger.verify import verify
from .inputs import InputsDifferError

BUNDLE_NAME = "bundle.json"
_ANNOTATIONS = "annotations"
_SETTINGS = (
    "seed", "iterations", "per_iteration", "alpha", "permutations_explore", "permutations_look", "max_promoted", "promote_p",
)  # fmt: skip
"""Settings that are fields of the plan and decide numbers."""


def write_bundle(folder: Path, config: Config, ledger: Ledger, id_: str, output: Path) -> Path:
    """Write the bundle of row ``id_`` to the new folder ``output``. ``config``: of the run in ``folder``."""
    row, plan = ledger.row(id_), ledger.run()
    if plan is None or row.m is None:
        raise UserError(f"{id_} has no result yet, so there is nothing to replay; wait for it, or name another row")
    if output.exists():
        raise UserError(f"{output} exists already; choose another place with --output")
    partial = output.with_name(f".{output.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(
            find_annotations(config.annotations, folder),
            partial / _ANNOTATIONS,
            ignore=shutil.ignore_patterns("*.py", "__pycache__"),
        )
        head = ledger.copy_to(partial / LEDGER_NAME)
        cache = config.cache if config.cache in SHIPPED else plan.cache["name"]
        write_config(
            partial,
            replace(config, cache=cache, annotations=_ANNOTATIONS, ledger="", recording="", prices="", workers=0),
        )
        facts = _facts(plan, head, id_)
        (partial / BUNDLE_NAME).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(_readme(id_, plan, head), encoding="utf-8")
        partial.rename(output)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{output} cannot be written ({error.strerror}); choose another place", Exit.FAILURE) from None
    return output


def check_bundle(folder: Path) -> None:
    """If ``folder`` is a bundle: refuse a record that was edited (exit 4), and settings that were changed (exit 5)."""
    path = folder / BUNDLE_NAME
    if not path.is_file():
        return
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        head, settings = facts["head"], facts["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not what `screen ledger export --bundle` writes ({error}); copy it again") from None
    found = verify(folder / LEDGER_NAME, head)
    if not found.ok:
        raise UserError(f"the bundle's record was changed: {'; '.join(found.problems[:20])}", Exit.LEDGER_BROKEN)
    now = vars(load_config(folder, {}))
    changed = [f"{name} {value} → {now[name]}" for name, value in settings.items() if now.get(name) != value]
    if changed:
        said = f"inputs changed: {', '.join(changed)}. {folder / CONFIG_NAME} is not the one of the run; put it back"
        raise InputsDifferError("inputs_changed", changed, said)


def _facts(plan: RunOpened, head: Head, id_: str) -> dict[str, Any]:
    return {
        "row": id_,
        "hyposcreen": __version__,
        "head": f"{head.seq}:{head.hash}",
        "content_head": head.content_hash,
        "cache": {"name": plan.cache["name"], "digest": plan.cache["digest"]},
        "settings": {name: getattr(plan, name) for name in _SETTINGS} | {"looks": plan.looks},
    }


def _readme(id_: str, plan: RunOpened, head: Head) -> str:
    name, digest = plan.cache["name"], plan.cache["digest"]
    shipped = name in SHIPPED
    need = (
        f"the cache `{name}`, which comes with the package"
        if shipped
        else f"the cache `{name}` (digest `{digest}`): put its folder at `embeddings_cache/store/{name}` in here, or set "
        "`SCREEN_CACHE` to its path"
    )
    return f"""# {id_}, to be executed again

You need hyposcreen {plan.version} and {need}.

```bash
screen replay {id_}          # bit-identical, or what differs and what has changed since
screen replay --all          # the whole run with its look and verdicts
screen ledger show {id_}     # what the record says
screen ledger verify --head {head.seq}:{head.hash}
```

`runs.db` is the whole record: a row is worth no more than the chain it stands in. A replay is appended to it as an entry.
"""
