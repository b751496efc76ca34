"""One row on another machine, as far as one machine can show it: a fresh clone, its wheel, an environment of its own, a bundle.

``python benchmarks/bundle_elsewhere.py [--run FOLDER] [--keep FOLDER]``. Clones the commit that is checked out, builds its wheel,
installs the wheel, every dependency pinned by ``constraints.txt``, into an empty environment, and removes the clone. A bundle of
one row of a run (of ``FOLDER``, or of a small one made by the Python that runs this, with this checkout's code) and a copy of its
cache then replay there with ``--strict``: as they are, and with one thing changed at a time. Prints one line a change: what was
changed, what the replay calls it, its exit code. Ends with 1 if any is not called what it is. Needs a package index; nothing else
is shared with the environment the row comes from but the interpreter's binary.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TEST = "effective_dimension"
"""The kind whose row is taken along: its numbers pass through one line that is easily changed and rightly noticed."""
CODE = ("tests_library/statistics/geometry.py", "np.rint(ratio", "np.floor(ratio")
"""File, what one line of it says, what it says afterwards: another rounding, as an honest edit might have it."""
LIBRARY = ("scipy", "1.17.0")
"""Another version of a library that computes, which installs beside the other pins."""


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was."""

    name: str
    make: Callable[["Elsewhere", Path], None]
    """Called with the other machine and the bundle's folder."""
    code: int
    """Exit code that is right."""
    words: tuple[str, ...]
    """What the answer must say."""


class Elsewhere:
    """The other machine: an environment of its own, a home of its own, and nothing of this one's settings."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.python = place / "env" / "bin" / "python"

    def install(self) -> None:
        clone, wheels = self.place / "clone", self.place / "wheels"
        _run("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), clone)
        venv.create(self.place / "env", with_pip=True)
        _run(self.python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, clone)
        (wheel,) = wheels.glob("hyposcreen-*.whl")
        _run(self.python, "-m", "pip", "install", "--quiet", "-c", clone / "constraints.txt", wheel)
        shutil.rmtree(clone)
        self.package = Path(self._says("import hyposcreen; print(hyposcreen.__path__[0])"))
        assert self.package.is_relative_to(self.place / "env"), self.package

    def _says(self, code: str) -> str:
        return _run(self.python, "-c", code, env=self._environment(), cwd=self.place).strip()

    def replay(self, bundle: Path, row: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), "-m", "hyposcreen", "replay", row, "--strict", "--quiet", "--jobs", "1", "--json"]
        return subprocess.run(
            command, cwd=bundle, env=self._environment(bundle), capture_output=True, text=True, check=False
        )

    def _environment(self, bundle: Path | None = None) -> dict[str, str]:
        found = {"HOME": str(self.place), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        return found if bundle is None else found | {"SCREEN_CACHE": str(bundle.parent / "cache")}


def _run(*command: Any, **options: Any) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _nothing(_there: Elsewhere, _bundle: Path) -> None:
    """As it came."""


def _no_cache(_there: Elsewhere, bundle: Path) -> None:
    shutil.rmtree(bundle.parent / "cache")


def _value(_there: Elsewhere, bundle: Path) -> None:
    """The smallest change a float32 can have, in one value of one layer."""
    layer = np.load(bundle.parent / "cache" / "layer_02.npy", mmap_mode="r+")
    layer[100, 5] = np.nextafter(layer[100, 5], np.float32(np.inf))
    layer.flush()


def _gene(_there: Elsewhere, bundle: Path) -> None:
    table = bundle.parent / "cache" / "genes.tsv"
    lines = table.read_text(encoding="utf-8").split("\n")
    symbol, rest = lines[100].split("\t", 1)
    lines[100] = f"{symbol}X\t{rest}"
    table.write_text("\n".join(lines), encoding="utf-8")


def _seed(_there: Elsewhere, bundle: Path) -> None:
    settings = bundle / "screen.toml"
    said = settings.read_text(encoding="utf-8")
    seed = next(line for line in said.splitlines() if line.startswith("seed = "))
    settings.write_text(said.replace(seed, f"seed = {int(seed.split(' = ')[1]) + 1}"), encoding="utf-8")


def _record(_there: Elsewhere, bundle: Path) -> None:
    """As one would who wants a smaller p: triggers dropped, one table edited."""
    with closing(sqlite3.connect(bundle / "runs.db")) as ledger:
        for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            ledger.execute(f"DROP TRIGGER {name}")
        ledger.execute("UPDATE result SET p_scan = 0.001")
        ledger.commit()


def _comment(there: Elsewhere, _bundle: Path) -> None:
    path = there.package / CODE[0]
    path.write_text(path.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")


def _code(there: Elsewhere, _bundle: Path) -> None:
    path, (_, old, new) = there.package / CODE[0], CODE
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path} has changed; say in CODE what to change instead"
    path.write_text(text.replace(old, new), encoding="utf-8")


def _library(there: Elsewhere, _bundle: Path) -> None:
    name, version = LIBRARY
    _run(there.python, "-m", "pip", "install", "--quiet", "--no-deps", f"{name}=={version}")


CHANGES = (
    Change("nothing", _nothing, 0, ('"outcome": "identical"', '"causes": []')),
    Change("the cache is not there", _no_cache, 5, ("inputs_missing", "cache")),
    Change("one value of the embedding, by one unit in the last place", _value, 5, ("inputs_changed", "layer_02.npy")),
    Change("one gene's name", _gene, 5, ("inputs_changed", "genes.tsv (")),
    Change("the seed", _seed, 5, ("inputs_changed", "seed 0 → 1")),
    Change("a p in the record", _record, 4, ("the bundle's record was changed", "trigger")),
    Change("a comment in the test's module", _comment, 3, ("code_changed", '"numbers": "identical"')),
    Change("one line of the test's code", _code, 3, ("code_changed", '"numbers": "statistic_changed"')),
    Change(f"{LIBRARY[0]} {LIBRARY[1]}", _library, 3, ("environment_changed", f"{LIBRARY[0]} ")),
)
"""One at a time, each on a fresh copy of bundle and cache; the last ones change the environment, which is put right between."""


def made_run(folder: Path) -> Path:
    """A small run of the demo, by this Python and this checkout."""
    command = ["run", "--iterations", "8", "--seed", "0", "--quiet", "--project", folder]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCREEN_")}
    _run(sys.executable, "-m", "hyposcreen", *command, env=environment, cwd=folder.parent)
    return folder


def exported(folder: Path, output: Path) -> str:
    """Write the bundle of the first row of :data:`TEST`; returns its id."""
    rows = json.loads(_run(sys.executable, "-m", "hyposcreen", "ledger", "list", "--json", "--project", folder))
    row = next(str(r["id"]) for r in rows if r["test"] == TEST)
    _run(sys.executable, "-m", "hyposcreen", "ledger", "export", "--bundle", row, "-o", output, "--project", folder)
    return row


def answer(ended: subprocess.CompletedProcess[str], place: Path) -> str:
    """What the replay calls it, in one phrase for the table, without the temporary folder's name."""
    return _phrase(ended).replace(str(place), "…")


def _phrase(ended: subprocess.CompletedProcess[str]) -> str:
    try:
        said = json.loads(ended.stdout or "null")
    except ValueError:
        said = None
    if isinstance(said, dict):
        return f"{said['outcome'].replace('_', ' ')}: {', '.join(said['named'])}"
    if isinstance(said, list):
        (row,) = said
        causes = "; ".join(f"{c['kind'].replace('_', ' ')}: {c['detail']}" for c in row["causes"])
        return f"{causes or row['outcome']}; numbers {row['numbers'].replace('_', ' ')}"
    return ended.stderr.strip().splitlines()[-1].removeprefix("screen: ").partition(";")[0]


def tried(there: Elsewhere, original: Path, cache: Path, row: str, change: Change) -> bool:
    """One line of the table; whether the change was called what it is."""
    with tempfile.TemporaryDirectory(dir=there.place) as place:
        bundle = Path(shutil.copytree(original, Path(place) / "bundle"))
        shutil.copytree(cache, Path(place) / "cache")
        kept = (there.package / CODE[0]).read_text(encoding="utf-8")
        change.make(there, bundle)
        ended = there.replay(bundle, row)
        (there.package / CODE[0]).write_text(kept, encoding="utf-8")
    text = json.dumps(json.loads(ended.stdout), ensure_ascii=False) if ended.stdout else ""
    right = ended.returncode == change.code and all(word in text + ended.stderr for word in change.words)
    print(
        f"| {change.name} | {answer(ended, bundle.parent)} | {ended.returncode} |{'' if right else ' **not what it is**'}",
        flush=True,
    )
    if not right:
        print(f"expected exit {change.code} and {change.words}\n{ended.stdout}{ended.stderr}", file=sys.stderr)
    return right


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a run of the demo with this checkout's code")
    parser.add_argument("--keep", type=Path, help="where to work and leave everything; else a temporary folder")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        place = (options.keep or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        there = Elsewhere(place)
        there.install()
        run = options.run or made_run(place / "run")
        row = exported(run, place / "bundle")
        cache = there.package / "embeddings_cache" / "demo" / "cache"
        print(f"{row} ({TEST}) of {run}, replayed in {there.package}\n")
        print("| changed | what `screen replay --strict` says | exit |\n|---|---|---|")
        right = [tried(there, place / "bundle", cache, row, change) for change in CHANGES]
    print(f"\n{sum(right)} of {len(right)} called what they are")
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
