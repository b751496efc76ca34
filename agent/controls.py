"""``screen run --control random-init``: the rows of a finished run, asked again of an untrained model, in a run of their own.

The control's run lies in a folder beside the run's ledger. Its rows are a campaign: the run's registered rows in their order,
fixed before the control is read, so the control's own verdicts hold whatever proposer had chosen them. Statistics that a model
wrote are left out: no campaign can say them.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..embeddings_cache.errors import CacheError
from ..embeddings_cache.store import MANIFEST, SHIPPED, find_cache
from ..hypotheses.annotations import find_annotations
from ..hypotheses.campaign import FILE
from .config import Config, write_config
from .custom.kind import NAME as CUSTOM
from .errors import Exit, UserError
from .ledger.records import Registered, Row
from .progress import Progress
from .report.control import FOLDERS

ROWS = "rows"
"""Name of the campaign that a control asks."""


def check_control(kind: str) -> None:
    """Refuse a control that is not known, before anything is run."""
    if kind not in FOLDERS:
        raise UserError(f"--control {kind} is not known; choose one of {', '.join(FOLDERS)}", Exit.USAGE)


def run_control(folder: Path, kind: str, progress: Progress) -> tuple[int, int]:
    """Run or resume the control of the finished run in ``folder``; (rows confirmed there, rows asked there)."""
    from .session import open_existing, report_of, run_campaign

    check_control(kind)
    project, ledger, _ = open_existing(folder)
    with ledger:
        registered = [h for h in ledger.records(Registered) if h.test != CUSTOM]
    target = folder / FOLDERS[kind]
    cache = control_cache(project.config, folder)
    (target / ROWS).mkdir(parents=True, exist_ok=True)
    if not (target / "screen.toml").exists():
        (target / ROWS / FILE).write_text(as_campaign(registered), encoding="utf-8")
        write_config(target, _settings(project.config, folder, cache))
    progress.say(f"control: the same {len(registered)} rows on {cache.name}")
    summary = run_campaign(target, {"campaign": ROWS} if not (target / "runs.db").exists() else {}, progress)
    report_of(folder, folder / "report.html")
    return summary.counts.get("confirmed", 0), summary.rows


def control_cache(config: Config, folder: Path) -> Path:
    """The folder of the untrained twin of the run's cache: shipped, or beside it under the name that extraction gives it."""
    try:
        own = find_cache(config.cache, folder)
    except CacheError as error:
        raise UserError(str(error)) from None
    if own == SHIPPED["demo"]:
        return SHIPPED["demo-random-init"]
    for seed in range(10):
        twin = own.parent / f"{own.name}-random-init-{seed}"
        if (twin / MANIFEST).is_file():
            return twin
    raise UserError(
        f"there is no untrained twin of {own}: no cache '{own.name}-random-init-0' beside it. Extract one with "
        "`screen cache extract … --random-init 1`, with the same cells"
    )


def _settings(config: Config, folder: Path, cache: Path) -> Config:
    """The run's settings with every path absolute and the control's cache; its partner is the run's, or the run's cache."""
    partner = ""
    if config.partner:
        found = find_cache(config.partner, folder)
        partner = str((find_cache(config.cache, folder) if found == cache else found).resolve())
    annotations = str(find_annotations(config.annotations, folder).resolve())
    return replace(
        config,
        cache=str(cache.resolve()),
        partner=partner,
        annotations=annotations,
        campaign=ROWS,
        proposer="campaign",
        allow_code=False,
    )


def as_campaign(rows: Sequence[Registered | Row]) -> str:
    """Registered rows as the text of a ``campaign.toml``: one system a row, its annotation the only one that may fill it."""
    from ..tests_library.catalogue import CATALOGUE

    parts = [
        'name = "rows"',
        'title = "The rows of the run beside this folder"',
        'paper = "the run beside this folder"',
    ]
    kinds = {row.annotation: CATALOGUE[row.test].entity for row in rows}
    parts += [
        f'\n[slots.{name}]\nkind = "{kind}"\nmeans = "the annotation {name}"\nnames = ["{name}"]'
        for name, kind in kinds.items()
    ]
    for row in rows:
        said = {
            "definition": "corrected", "test": row.test, "slot": row.annotation, "layers": row.spec["layers"],
            "coordinates": row.spec["coordinates"], "direction": row.direction, "claim": row.claim,
        }  # fmt: skip
        system = {
            "id": row.id, "title": row.claim, "record": row.id, "published": "", "corrected": row.test,
            "prediction": row.rationale, "refuted_by": "",
        }  # fmt: skip
        parts.append("\n[[systems]]\n" + _toml(system) + "companions = []")
        parts.append(f"\n[[systems.rows]]\n{_toml(said)}prior = {row.prior!r}")
    return "\n".join(parts) + "\n"


def _toml(values: dict[str, str]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
