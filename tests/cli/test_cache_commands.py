"""``screen cache …`` as its user meets it, and a run on a cache that came from elsewhere."""

import http.server
import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.embeddings_cache import fetch as fetch_module
from hyposcreen.embeddings_cache.fetch import Fetchable
from hyposcreen.embeddings_cache.store import STORE, open_cache

Call = Callable[..., Any]


@pytest.fixture
def model(fresh: Any, tmp_path: Path) -> Path:
    """A project, and the arrays and genes of its small cache as another program would save them."""
    folder = fresh("project", only=("t_cells",), iterations=1)
    cache = open_cache(folder / STORE / "small")
    np.savez(tmp_path / "model.npz", **{f"h{i}": layer for i, layer in enumerate(cache.layers)})
    (tmp_path / "genes.txt").write_text("".join(f"{symbol}\n" for symbol in cache.genes.symbol))
    (tmp_path / "table.tsv").write_text(cache.genes.to_tsv())
    return Path(folder)


def test_a_cache_of_another_model_is_imported_and_screened(call: Call, model: Path, tmp_path: Path) -> None:
    done = call(
        "cache", "import", tmp_path / "model.npz", "--genes", tmp_path / "genes.txt", "--name", "other", "--table",
        tmp_path / "table.tsv", "--model", "Geneformer", "-C", model,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "3 layers of 320 genes" in done.out and "320 of 320 genes can be tested." in done.out
    original = call("cache", "show", "small", "-C", model, "--json").json
    other = call("cache", "show", "other", "-C", model, "--json").json
    assert other["digest"] == original["digest"] and other["provenance"]["model"] == "Geneformer"
    assert other["provenance"]["not_matched"] == []
    settings = (model / "screen.toml").read_text()
    (model / "screen.toml").write_text(settings.replace('cache = "small"', 'cache = "other"'))
    ran = call("run", "-C", model, "--json", "--quiet").json
    assert ran["rows"] == 3 and ran["complete"]
    assert call("replay", "--all", "-C", model, "--quiet").code == 0
    rows = call("ledger", "list", "-C", model, "--json").json
    assert {row["cache_digest"] for row in rows} == {other["digest"]}


def test_a_cache_without_expression_says_what_is_not_matched_and_runs(call: Call, model: Path, tmp_path: Path) -> None:
    done = call(
        "cache", "import", tmp_path / "model.npz", "--genes", tmp_path / "genes.txt", "--name", "bare", "-C", model,
        "--layer", "h2", "--layer", "h0", "--json",
    )  # fmt: skip
    assert done.err.count("\n") == 1 and "note: expression and detection of the genes are not known" in done.err
    assert (done.json["layers"], done.json["provenance"]["not_matched"]) == (2, ["expression", "detection"])
    assert done.json["provenance"]["imported"]["arrays"] == ["h2", "h0"]
    assert "not known" in call("cache", "check", "bare", "-C", model).out
    ran = call("run", "-C", model, "--cache", "bare", "--json")
    assert ran.json["rows"] == 3
    assert "note: expression and detection of the genes are not known" in ran.err
    assert call("status", "-C", model, "--json").json["cache"]["not_matched"] == ["expression", "detection"]
    assert "Not matched by any null" in (model / "report.html").read_text(encoding="utf-8")


def test_a_list_that_does_not_fit_is_one_sentence(call: Call, model: Path, tmp_path: Path) -> None:
    names = (tmp_path / "genes.txt").read_text().splitlines(keepends=True)
    (tmp_path / "genes.txt").write_text("".join([*names[:7], "\n", *names[7:]]))
    done = call(
        "cache", "import", tmp_path / "model.npz", "--genes", tmp_path / "genes.txt", "--name", "other", "-C", model
    )
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("screen: ") and done.err.count("\n") == 1 and "genes.txt line 8 is blank" in done.err
    assert not (model / STORE / "other").exists()


def test_list_names_a_broken_cache_and_goes_on(call: Call, model: Path) -> None:
    (model / STORE / "small" / "layer_01.npy").write_bytes(b"")
    rows = {row["name"]: row for row in call("cache", "list", "-C", model, "--json").json}
    assert "layer_01.npy" in rows["small"]["broken"] and rows["demo"]["genes"] == 765
    assert "layer_01.npy is truncated" in call("cache", "list", "-C", model).out
    broken = call("cache", "check", "small", "-C", model)
    assert broken.code == 5 and "layer_01.npy" in broken.err


def test_check_speaks_plainly(call: Call, model: Path) -> None:
    clean = call("cache", "check", "demo", "-C", model, "--json").json
    assert (clean["ok"], clean["warnings"], clean["masked"]) == (True, [], 2)
    control = call("cache", "check", "demo-random-init", "-C", model)
    assert control.code == 0 and "Look again: neither expression nor the family of genes" in control.out


def test_export(call: Call, model: Path, tmp_path: Path) -> None:
    for ending in (".npz", ".tsv"):
        out = tmp_path / f"out{ending}"
        assert call("cache", "export", "small", "-C", model, "-o", out).out == f"wrote {out}\n"
        assert out.stat().st_size > 1000
    refused = call("cache", "export", "small", "-C", model, "-o", tmp_path / "out.csv")
    assert refused.code == 5 and ".npz, .h5ad, .tsv" in refused.err


def test_fetch_from_a_mirror(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site" / "lab" / "model" / "resolve" / "abc"
    site.mkdir(parents=True)
    (site / "args.json").write_text(json.dumps({"a": 1}))
    release = Fetchable("lab/model", "abc", {"args.json": (8, fetch_module._sha256(site / "args.json"))})
    monkeypatch.setitem(fetch_module.FETCHABLE, "tiny", release)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        done = call("cache", "fetch", "tiny", "-C", tmp_path)
        assert (
            done.code == 0 and done.out == f"{tmp_path / 'checkpoints' / 'tiny'} holds tiny, every file as released\n"
        )
        assert (tmp_path / "checkpoints" / "tiny" / "args.json").read_text() == '{"a": 1}'
        assert "args.json: 0.0 of 0.0 MB" in done.err
        elsewhere = ("--to", tmp_path / "here", "--endpoint", f"http://127.0.0.1:{server.server_port}", "--quiet")
        again = call("cache", "fetch", "tiny", *elsewhere)
        assert (again.code, again.err) == (0, "")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    unknown = call("cache", "fetch", "scgpt-mouse")
    assert unknown.code == 5 and "scgpt-human" in unknown.err
