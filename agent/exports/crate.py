"""A Workflow Run RO-Crate: the ledger, what was read out of it, the settings, and JSON-LD that says how they hang together.

Profiles: RO-Crate 1.1, Process Run Crate 0.5, Workflow Run Crate 0.5, Workflow RO-Crate 1.0. The workflow is the command
line that runs the campaign again. Sources: https://www.researchobject.org/ro-crate/ and https://www.researchobject.org/workflow-run-crate/.
"""

import io
import json
import shlex
import sqlite3
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import CONFIG_NAME, LEDGER_NAME, config_text, load_config
from ..errors import UserError
from ..ledger.export import export
from ..ledger.records import Head, RunClosed, RunOpened
from ..ledger.store import Ledger
from ..report.render import render_report
from ..report.source import report_data
from .methods import methods_page

_PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_WORKFLOW = "workflow.sh"
_FILES = {
    LEDGER_NAME: ("The ledger: every registration, attempt, result, verdict and remark, hash-chained", "application/vnd.sqlite3"),
    "rows.csv": ("One line a hypothesis, read out of the ledger", "text/csv"),
    "report.html": ("The report as one page", "text/html"),
    "README.md": ("What is in this crate", "text/markdown"),
    "methods.md": ("What was done, in words, with references", "text/markdown"),
    CONFIG_NAME: ("The settings of the folder", "application/toml"),
}  # fmt: skip


def write_crate(folder: Path, ledger: Ledger, path: Path) -> None:
    """Write the crate as a zip. Raises :class:`UserError` for a ledger without a run.

    The ledger is copied first, from a file or from a server, and everything else is read out of the copy, so that all parts
    have one head even while a campaign goes on.
    """
    if ledger.run() is None:
        raise UserError("this ledger holds no run, so there is nothing to describe; start one with `screen run`")
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / LEDGER_NAME
        _copy(ledger, copy)
        with Ledger.open_readonly(copy) as held:
            _write(folder, held, copy.read_bytes(), path)


def _write(folder: Path, ledger: Ledger, copy: bytes, path: Path) -> None:
    run = ledger.run()
    assert run is not None
    parts = _parts(folder, ledger, run, copy)
    metadata = json.dumps({"@context": _CONTEXT, "@graph": _graph(ledger, run, parts)}, indent=1, ensure_ascii=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as crate:
        crate.writestr("ro-crate-metadata.json", metadata)
        for name, content in parts.items():
            crate.writestr(name, content)


_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]


def _parts(folder: Path, ledger: Ledger, run: RunOpened, copy: bytes) -> dict[str, bytes]:
    """Name in the crate → its bytes."""
    table = io.StringIO(newline="")
    export(ledger, "csv", table)
    parts = {
        _WORKFLOW: _workflow(run).encode(),
        "README.md": _readme(run, ledger.head()).encode(),
        LEDGER_NAME: copy,
        "rows.csv": table.getvalue().encode(),
        "report.html": render_report(report_data(ledger, folder)).encode(),
        "methods.md": methods_page(ledger).encode(),
    }
    if (folder / CONFIG_NAME).is_file():
        parts[CONFIG_NAME] = _settings_of(folder)
    return parts


def _settings_of(folder: Path) -> bytes:
    """The folder's settings as they are; where they name a server, without it, because the crate brings the ledger along."""
    held = load_config(folder, {}, {})
    if not held.ledger:
        return (folder / CONFIG_NAME).read_bytes()
    return config_text(replace(held, ledger="")).encode()


def _workflow(run: RunOpened) -> str:
    """The commands that run the campaign again in an empty folder that holds its ``screen.toml``."""
    plan = f"--iterations {run.iterations} --seed {run.seed} --proposer {shlex.quote(run.proposer)}"
    return (
        "#!/bin/sh\n"
        f"# hyposcreen {run.version}; cache '{run.cache.get('name')}' sha256 {run.cache.get('digest')}\n"
        f"set -e\nscreen run {plan}\nscreen replay --all\nscreen ledger verify\n"
    )


def _readme(run: RunOpened, head: Head) -> str:
    files = "\n".join(f"- `{name}`: {said}" for name, (said, _) in _FILES.items() if name != "README.md")
    return (
        f"# Hypothesis screen of {run.cache.get('name', 'a cache')}\n\nMade by hyposcreen {run.version}.\n\n{files}\n"
        f"- `{_WORKFLOW}`: the commands that make and check it again\n\n"
        f"    screen ledger verify --head {head.seq}:{head.hash}\n"
    )


def _copy(ledger: Ledger, path: Path) -> None:
    """The ledger at one moment as a file, whole even while a campaign writes it."""
    if not isinstance(ledger.path, Path):
        ledger.copy_to(path)
        return
    reading = sqlite3.connect(f"{ledger.path.absolute().as_uri()}?mode=ro", uri=True)
    with closing(reading) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)


def _graph(ledger: Ledger, run: RunOpened, parts: Mapping[str, bytes]) -> list[dict[str, Any]]:
    inputs = [_input(name, value) for name, value in _settings(run).items()]
    sources = [_cache(run), *(_annotation(one) for one in run.annotations)]
    results = [name for name in parts if name not in {_WORKFLOW, CONFIG_NAME, "README.md"}]
    read = [one["@id"] for one in (*inputs, *sources)] + [name for name in parts if name == CONFIG_NAME]
    return [
        {
            "@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
            "conformsTo": [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": _PROFILES[2][0]}],
        },
        _root(ledger, run, list(parts)),
        *({"@id": a, "@type": "CreativeWork", "name": name, "version": version} for a, name, version in _PROFILES),
        _workflow_entity(run, [one["name"] for one in inputs], results),
        {"@id": "#sh", "@type": "ComputerLanguage", "name": "POSIX shell",
         "url": "https://pubs.opengroup.org/onlinepubs/9699919799/"},
        {"@id": "#hyposcreen", "@type": "SoftwareApplication", "name": "hyposcreen", "softwareVersion": run.version,
         "license": "https://spdx.org/licenses/Apache-2.0"},
        _action(ledger, read, results),
        *inputs,
        *(_parameter(f"#parameter-{one['name']}", one["name"], "Text") for one in inputs),
        *(_parameter(f"#output-{name}", name, "File") for name in results),
        *sources,
        *(_file(name, len(content), name in results) for name, content in parts.items() if name != _WORKFLOW),
    ]  # fmt: skip


def _root(ledger: Ledger, run: RunOpened, names: Sequence[str]) -> dict[str, Any]:
    head = ledger.head()
    return {
        "@id": "./", "@type": "Dataset", "name": f"Hypothesis screen of {run.cache.get('name', 'a cache')}",
        "description": f"A hyposcreen run: ledger, rows and report at head {head.seq}:{head.hash}.",
        "datePublished": _times(ledger)[1], "license": "not stated; the owner of the run decides",
        "conformsTo": [{"@id": address} for address, _, _ in _PROFILES], "hasPart": [{"@id": name} for name in names],
        "mainEntity": {"@id": _WORKFLOW}, "mentions": {"@id": "#run"}, "identifier": f"sha256:{head.hash}",
    }  # fmt: skip


def _workflow_entity(run: RunOpened, inputs: Sequence[str], results: Sequence[str]) -> dict[str, Any]:
    return {
        "@id": _WORKFLOW, "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "Screen, replay, verify", "version": run.version, "encodingFormat": "application/x-sh",
        "programmingLanguage": {"@id": "#sh"}, "softwareRequirements": {"@id": "#hyposcreen"},
        "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
        "input": [{"@id": f"#parameter-{name}"} for name in inputs],
        "output": [{"@id": f"#output-{name}"} for name in results],
    }  # fmt: skip


def _action(ledger: Ledger, read: Sequence[str], results: Sequence[str]) -> dict[str, Any]:
    begun, ended = _times(ledger)
    closed = bool(ledger.records(RunClosed))
    return {
        "@id": "#run", "@type": "CreateAction", "name": "The run", "instrument": {"@id": _WORKFLOW},
        "startTime": begun, "endTime": ended,
        "actionStatus": f"http://schema.org/{'CompletedActionStatus' if closed else 'ActiveActionStatus'}",
        "object": [{"@id": id_} for id_ in read], "result": [{"@id": name} for name in results],
        "description": f"content head {ledger.head().content_hash}",
    }  # fmt: skip


def _parameter(id_: str, name: str, kind: str) -> dict[str, Any]:
    profile = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
    return {
        "@id": id_,
        "@type": "FormalParameter",
        "name": name,
        "additionalType": kind,
        "conformsTo": {"@id": profile},
    }


def _settings(run: RunOpened) -> dict[str, str]:
    names = ("seed", "iterations", "per_iteration", "proposer", "alpha", "permutations_explore", "permutations_look")
    return {name: str(getattr(run, name)) for name in names}


def _input(name: str, value: str) -> dict[str, Any]:
    return {
        "@id": f"#{name}", "@type": "PropertyValue", "name": name, "value": value,
        "exampleOfWork": {"@id": f"#parameter-{name}"},
    }  # fmt: skip


def _cache(run: RunOpened) -> dict[str, Any]:
    return {
        "@id": "#cache", "@type": "CreativeWork", "name": f"embedding cache {run.cache.get('name', '')}",
        "identifier": f"sha256:{run.cache.get('digest', '')}",
    }  # fmt: skip


def _annotation(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@id": f"#annotation-{one.get('name')}", "@type": "CreativeWork", "name": one.get("name"),
        "identifier": f"sha256:{one.get('digest')}", "version": one.get("version"), "license": one.get("licence"),
        "description": one.get("source"),
    }  # fmt: skip


def _file(name: str, size: int, result: bool) -> dict[str, Any]:
    said, kind = _FILES[name]
    made: dict[str, Any] = {"exampleOfWork": {"@id": f"#output-{name}"}} if result else {}
    made |= {"about": {"@id": "./"}} if name == "README.md" else {}
    return {"@id": name, "@type": "File", "name": said, "encodingFormat": kind, "contentSize": str(size), **made}


def _times(ledger: Ledger) -> tuple[str, str]:
    """When the run was opened, and when its last entry of content was written (UTC, ISO 8601)."""
    begun = ended = ""
    for entry in ledger.entries(kinds={RunOpened.KIND, RunClosed.KIND, "iteration_closed"}):
        at = str(json.loads(entry.context)["at"])
        begun, ended = begun or at, at
    return begun, ended
