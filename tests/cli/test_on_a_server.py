"""Every command that reads or remarks, over a ledger in PostgreSQL; and a password that gets nowhere."""

import json
import zipfile
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from hyposcreen.agent.config import load_config
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.exports import FORMATS
from hyposcreen.agent.ledger.addresses import holds_secret, parsed, shown
from hyposcreen.agent.ledger.errors import LedgerError
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.report.serve import make_server
from hyposcreen.agent.report.source import report_data

SECRET = "hunter2-hunter2"
NEEDS = {"parquet": "pyarrow", "h5ad": "anndata"}


@pytest.fixture(scope="module")
def place(new_schema: Callable[[], str]) -> str:
    return new_schema()


@pytest.fixture(scope="module")
def folder(small: Any, place: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose run is on the server, made by the command's own code."""
    made = Path(small.make_project_folder(tmp_path_factory.mktemp("server") / "p", ledger=place))
    small.run_campaign_in_process(made)
    assert not (made / "runs.db").exists()
    return made


def test_the_run_is_the_one_a_file_holds(finished: Any, folder: Path, place: str) -> None:
    assert Ledger.open_readonly(place).head().content_hash == finished.ledger.head().content_hash


def test_review_and_import_append_and_the_page_says_so(call: Any, folder: Path, place: str, tmp_path: Path) -> None:
    said = call("review", "H0001", "--note", "read on a server", "--author", "Ada", "-C", folder)
    assert (said.code, "H0001: note recorded" in said.out) == (0, True), said
    assert "read on a server" in (folder / "report.html").read_text(encoding="utf-8"), "the page is written again"
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("what,p\nfirst,0.01\nsecond,0\n", encoding="utf-8")
    said = call("ledger", "import", theirs, "--columns", "claim=what,p=p", "--draws", "99", "-C", folder)
    assert (said.code, "2 external rows" in said.out) == (0, True), said
    assert call("ledger", "external", "-C", folder, "--json").json[0]["tests"] == 2
    assert call("ledger", "verify", "-C", folder).code == 0
    assert [review["author"] for row in Ledger.open_readonly(place).rows() for review in row.reviews] == ["Ada"]


def test_replay_report_and_lists(call: Any, folder: Path, tmp_path: Path) -> None:
    assert call("replay", "H0001", "-C", folder, "--quiet").code == 0
    assert call("report", "-o", tmp_path / "page.html", "-C", folder).code == 0
    head = call("ledger", "head", "-C", folder, "--json").json
    assert head["hash"] in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (
        len(call("ledger", "list", "-C", folder, "--json").json) == call("status", "-C", folder, "--json").json["rows"]
    )
    assert call("ledger", "show", "H0001", "-C", folder).code == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_every_export(call: Any, folder: Path, place: str, tmp_path: Path, format_: str) -> None:
    if format_ in NEEDS:
        pytest.importorskip(NEEDS[format_], reason=f"{NEEDS[format_]} is not installed")
    path = tmp_path / f"run{FORMATS[format_].ending}"
    said = call("ledger", "export", "-o", path, "--format", format_, "-C", folder)
    assert said.code == 0, said.err
    assert path.stat().st_size > 0
    if format_ in {"csv", "json", "jsonl", "methods"}:
        assert Ledger.open_readonly(place).head().hash in path.read_text(encoding="utf-8")


def test_the_crate_brings_the_ledger_as_a_file_and_names_no_server(
    call: Any, folder: Path, place: str, tmp_path: Path
) -> None:
    assert call("ledger", "export", "-o", tmp_path / "run.zip", "-C", folder).code == 0
    with zipfile.ZipFile(tmp_path / "run.zip") as crate:
        crate.extractall(tmp_path / "crate")
    head = Ledger.open_readonly(place).head()
    assert verify(tmp_path / "crate" / "runs.db", f"{head.seq}:{head.hash}").ok
    assert load_config(tmp_path / "crate", {}, {}).ledger == ""
    assert call("ledger", "head", "-C", tmp_path / "crate", "--json").json["hash"] == head.hash
    for path in (tmp_path / "crate").iterdir():
        assert b"127.0.0.1" not in path.read_bytes(), path


def test_a_bundle_brings_the_row_to_another_folder(call: Any, folder: Path, tmp_path: Path) -> None:
    assert call("ledger", "export", "--bundle", "H0001", "-o", tmp_path / "b", "-C", folder).code == 0
    assert load_config(tmp_path / "b", {}, {}).ledger == ""
    (tmp_path / "b" / "embeddings_cache").symlink_to(folder / "embeddings_cache")
    said = call("replay", "H0001", "-C", tmp_path / "b", "--quiet")
    assert (said.code, "1 of 1 rows bit-identical" in said.out) == (0, True), said


def test_the_live_page_follows_a_server(folder: Path, place: str) -> None:
    served = make_server(folder, "127.0.0.1", 0)
    thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        head = Ledger.open_readonly(place).head()
        assert json.loads(_get(served.server_port, "/head.json"))["hash"] == head.hash
        assert head.hash.encode() in _get(served.server_port, "/")
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


def test_a_report_without_a_folder_looks_for_no_audit(
    folder: Path, place: str, monkeypatch: Any, tmp_path: Path
) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.jsonl").write_text("not of this ledger\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert report_data(Ledger.open_readonly(place)).audit == ()


SECRETS = (
    "postgresql://tester:{}@127.0.0.1/x",
    "postgresql://h/x?user=tester&password={}",
    "postgresql://h/x?sslpassword={}",
)


@pytest.mark.parametrize("address", SECRETS)
@pytest.mark.parametrize("through", ["flag", "toml", "environment", "toml under a flag"])
def test_an_address_with_a_password_is_refused_and_not_repeated(
    call: Any, fresh: Callable[..., Path], monkeypatch: Any, address: str, through: str
) -> None:
    """Wherever it comes from, whatever the command: one sentence without it, and no file that holds it."""
    folder = fresh("p")
    before = {path.name for path in folder.iterdir()}
    said = address.format(SECRET)
    flags = ["--ledger", said] if through == "flag" else []
    if through.startswith("toml"):
        (folder / "screen.toml").write_text(f'ledger = "{said}"\n', encoding="utf-8")
        flags = ["--ledger", "postgresql://h/x"] if through == "toml under a flag" else []
    elif through == "environment":
        monkeypatch.setenv("SCREEN_LEDGER", said)
    for command in (["run", *flags], *([["config", "show"], ["status"], ["report"], ["ledger", "head"]] * (not flags))):
        ended = call(*command, "-C", folder)
        assert ended.code in {2, 5}, ended
        assert "holds a password" in ended.err
        assert SECRET not in ended.out + ended.err
    assert {path.name for path in folder.iterdir()} == before
    assert through.startswith("toml") or SECRET not in (folder / "screen.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("address", ["postgresql:{}@h", "postgresql://h:x/db?password={}", "mysql://u:{}@h/db"])
def test_what_is_no_address_is_not_repeated_either(tmp_path: Path, address: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(tmp_path, {"ledger": address.format(SECRET)}, {})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(LedgerError) as refused:
        Ledger.open_readonly("postgresql+psycopg://h:x/db?password=" + SECRET)
    assert SECRET not in str(refused.value)


def test_a_password_given_to_the_library_is_used_and_never_shown(
    place: str, folder: Path, finished: Any, monkeypatch: Any, call: Any, tmp_path: Path
) -> None:
    """A notebook may hold one, and ``PGPASSWORD`` may: no path, error, page or export repeats it."""
    held = place.replace("tester@", f"tester:{SECRET}@") + f"&sslpassword={SECRET}"
    ledger = Ledger.open_readonly(held)
    assert SECRET not in str(ledger.path)
    assert "tester:***@" in str(ledger.path)
    assert "sslpassword=%2A%2A%2A" in str(ledger.path), "hidden, as an address writes stars"
    with pytest.raises(LedgerError) as caught:
        Ledger.open_readonly(held.replace("/postgres?", "/nowhere?"))
    assert SECRET not in str(caught.value)
    with pytest.raises(LedgerError) as caught:
        ledger.row("H9999")
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    said = call("review", "H0002", "--note", "with a password around", "--author", "Ada", "-C", folder)
    said2 = call("replay", "H0002", "-C", folder)
    for name, made in FORMATS.items():
        if name not in NEEDS:
            call("ledger", "export", "-o", tmp_path / f"run{made.ending}", "--format", name, "-C", folder)
    assert len(list(tmp_path.iterdir())) == len(FORMATS) - len(NEEDS)
    with zipfile.ZipFile(tmp_path / "run.zip") as crate:
        crate.extractall(tmp_path / "crate")
    assert SECRET not in said.out + said.err + said2.out + said2.err
    for path in [*folder.rglob("*"), *tmp_path.rglob("*")]:
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@given(
    user=st.text(st.characters(exclude_characters=":/@?#", codec="ascii", exclude_categories=("C",)), min_size=1),
    password=st.text(st.characters(codec="ascii", exclude_categories=("C",), exclude_characters="@"), min_size=1),
)
def test_what_the_connection_would_send_is_known_as_a_secret(user: str, password: str) -> None:
    address = f"postgresql://{user}:{password}@h/db"
    assert holds_secret(parsed(address)) == (make_url(address).password is not None)
    assert holds_secret(parsed(address))
    assert shown(parsed(address)).partition("://")[2].partition("@")[0].endswith(":***")


def _get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body
