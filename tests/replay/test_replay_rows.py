"""Replay: the same bits or what differs, and never on other inputs."""

import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent import session
from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.replay.rows import differences
from hyposcreen.agent.sandbox import worker
from hyposcreen.cli import main
from hyposcreen.embeddings_cache.store import STORE, open_cache, write_cache
from hyposcreen.tests_library.catalogue import CATALOGUE


def head(folder: Path) -> Any:
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        return ledger.head()


def call(*arguments: Any) -> int:
    try:
        main([str(a) for a in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def in_process(small: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replays of this test run without worker processes."""
    sandbox = small.InProcess()
    monkeypatch.setattr(session, "open_executor", lambda *_: small.in_process(sandbox))
    return sandbox


def again(folder: Path, ids: Any = None) -> list[Any]:
    return list(session.replay_rows(folder, ids, None, 1, Progress(quiet=True)))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_whole_run_replays_bit_for_bit(threads: int, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = head(copied)
    assert call("replay", "--all", "-C", copied, "--threads", threads, "--quiet") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "12 of 12 rows bit-identical"
    assert all("identical" in line and "explore" in line and "verdict" in line for line in out[:-1])
    assert any("explore, U" in line for line in out[:-1])
    after = head(copied)
    assert after.content_hash == before.content_hash
    assert after.seq == before.seq + 12, "each replay is an entry"
    assert verify(copied / "runs.db", f"{before.seq}:{before.hash}").ok


def test_single_rows_replay_what_is_their_own(copied: Path, in_process: Any, finished: Any) -> None:
    (promoted,) = finished.ledger.records(rec.Promoted)
    id_ = promoted.hypotheses[0]
    (one,) = again(copied, [id_])
    row = finished.ledger.row(id_)
    assert (one.id, one.outcome, one.k, one.m) == (id_, "identical", row.k, row.m)
    assert one.statistic_hex == row.statistic_hex
    seen = ("U", "H") if CATALOGUE[row.test].universe else ("H",)
    assert one.checked == ("explore", *seen)
    assert [(r.id, r.outcome) for r in Ledger.open_readonly(copied / "runs.db").records(rec.Replayed)] == [
        (id_, "identical")
    ]


def patched(monkeypatch: pytest.MonkeyPatch, test: str, change: Any) -> None:
    """Another statistic under the same name, as after an upgrade with a bug in it."""
    kind = CATALOGUE[test]
    other = replace(kind, prepare=lambda geometry, entity: change(kind.prepare(geometry, entity)))
    monkeypatch.setattr(worker, "CATALOGUE", {**CATALOGUE, test: other})


def shifted(prepared: Any) -> Any:
    """The genes of the neighbouring rows: the indexing bug of the published run."""
    return replace(prepared, sums=lambda arrangements: np.roll(prepared.sums(arrangements), 1, axis=0))


def test_another_statistic_diverges_and_its_fields_are_named(
    copied: Path, in_process: Any, finished: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(r for r in finished.ledger.rows() if r.m and CATALOGUE[r.test].universe)
    others = [r.id for r in finished.ledger.rows() if r.test != row.test]
    patched(monkeypatch, row.test, shifted)
    before = head(copied)
    assert call("replay", row.id, others[0], "-C", copied, "--quiet") == Exit.REPLAY_DIVERGED == 3
    said = capsys.readouterr()
    assert re.search(rf"{row.id}  (statistic|decision)_changed", said.out)
    assert f"{others[0]}  identical" in said.out
    assert "explore: statistic_hex was" in said.out
    assert f'"{row.statistic_hex}", is "' in said.out
    assert "1 rows diverged" in said.err and row.id in said.err
    assert head(copied).content_hash == before.content_hash
    assert verify(copied / "runs.db").ok
    (kept, _) = Ledger.open_readonly(copied / "runs.db").records(rec.Replayed)
    assert kept.outcome in {"statistic_changed", "decision_changed"} and "statistic_hex" in kept.detail


def test_one_bit_is_a_difference(finished: Any) -> None:
    (result, *_) = finished.ledger.records(rec.Tested)
    assert differences(result, result) == []
    nudged = replace(result, statistic=float(np.nextafter(result.statistic, 9)))
    assert len(differences(result, nudged)) == 1
    assert differences(result, nudged)[0].startswith("statistic was ")
    assert differences(None, result) == ["the ledger holds no such result"]


def test_a_value_edited_in_the_cache_is_exit_5_and_names_the_file(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = head(copied)
    layer = copied / STORE / "small" / "layer_01.npy"
    data = bytearray(layer.read_bytes())
    data[-3] ^= 1
    layer.chmod(0o644)
    layer.write_bytes(bytes(data))
    assert call("replay", "--all", "-C", copied) == Exit.INPUTS == 5
    assert "layer_01.npy" in capsys.readouterr().err
    assert head(copied) == before


def test_another_cache_of_the_same_name_is_exit_5_and_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    old = open_cache(copied / STORE / "small")
    layers = [layer.copy() for layer in old.layers]
    layers[0][0, 0] += 1
    genes, manifest = old.genes, {"model": "test"}
    shutil.rmtree(old.path)
    write_cache(old.path, layers=layers, genes=genes, manifest=manifest)
    before = head(copied)
    assert call("replay", "H0001", "-C", copied) == Exit.INPUTS
    said = capsys.readouterr().err
    assert "another cache" in said and old.digest[:12] in said and "restore the cache" in said
    assert head(copied) == before


def test_a_changed_annotation_is_exit_5_and_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / "labels" / "t_cells.gmt"
    name, title, *genes = path.read_text(encoding="utf-8").rstrip("\n").split("\t")
    path.write_text("\t".join([name, title, *genes[1:]]) + "\n", encoding="utf-8")
    before = head(copied)
    assert call("replay", "--all", "-C", copied) == Exit.INPUTS
    said = capsys.readouterr().err
    assert "another annotations" in said and "(t_cells)" in said
    assert call("run", "-C", copied) == Exit.INPUTS
    assert "(t_cells)" in capsys.readouterr().err
    assert head(copied) == before


def test_an_unknown_row_is_exit_2_and_the_range_is_named(copied: Path, in_process: Any) -> None:
    before = head(copied)
    with pytest.raises(UserError, match="no row H0099 in this ledger; it holds H0001 to H0012") as caught:
        again(copied, ["H0001", "H0099"])
    assert caught.value.code == Exit.USAGE == 2
    assert head(copied) == before


def test_an_unfinished_run_replays_what_it_has(fresh: Any, small: Any, in_process: Any) -> None:
    class StopsError(Exception):
        pass

    class Stopping(small.OfflineProposer):  # type: ignore[misc, name-defined]
        def propose(self, digest: Any, count: int) -> Any:
            if digest.iteration == 3:
                raise StopsError
            return super().propose(digest, count)

    folder = fresh("unfinished")
    with contextlib.suppress(UserError):
        small.run_loop(folder, Stopping(5))
    replayed = again(folder)
    assert [(r.outcome, r.checked) for r in replayed] == [("identical", ("explore",))] * 6
