"""A PostgreSQL server of the tests' own: made by ``initdb`` as an ordinary user, on loopback, thrown away afterwards."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
_LOWLY = ("postgres", "nobody")
"""Accounts to run the server as, where the tests run as root: PostgreSQL refuses root."""


class NoServerError(Exception):
    """Why there is no server here; a test is skipped with this sentence."""


def binary(name: str) -> str:
    """``initdb`` and its like, from PATH or the folders of the usual packages, the newest first."""
    found = [str(p / name) for pattern in _FOLDERS for p in sorted(Path("/").glob(pattern[1:]), reverse=True)]
    for candidate in (shutil.which(name), *found):
        if candidate and os.access(candidate, os.X_OK):
            return os.path.realpath(candidate)
    raise NoServerError(f"{name} of PostgreSQL is not on PATH nor in {', '.join(_FOLDERS)}")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a running server, without a database; :class:`NoServerError` says why there is none."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise NoServerError("psycopg is not installed (pip install 'hyposcreen[postgres]')") from None
    initdb, postgres_ctl = binary("initdb"), binary("pg_ctl")
    home = Path(tempfile.mkdtemp(prefix="hyposcreen-pg-"))
    account = _account()
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)
    data, port = home / "data", _free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{home}' -c max_connections=100 -c fsync=off"
    try:
        _as(account, initdb, "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C")
        _as(account, postgres_ctl, "-D", str(data), "-w", "-t", "60", "-l", str(home / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}"
        finally:
            _as(account, postgres_ctl, "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def schema_on(address: str, name: str) -> str:
    """The address of a new, empty schema of the server's first database."""
    import psycopg

    with psycopg.connect(address.replace("+psycopg", "") + "/postgres", autocommit=True) as session:
        session.execute(f"CREATE SCHEMA {name}")
    return f"{address}/postgres?options=-csearch_path%3D{name}"


def _account() -> pwd.struct_passwd | None:
    """Who runs the server: this user, or as root one that is not."""
    if os.geteuid() != 0:
        return None
    for name in _LOWLY:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoServerError(f"PostgreSQL refuses to run as root, and there is no account {' or '.join(_LOWLY)}")


def _as(account: pwd.struct_passwd | None, *command: str) -> None:
    who = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
    done = subprocess.run(
        command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=120, **who,
    )  # fmt: skip
    if done.returncode != 0:
        raise NoServerError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stdout.strip()[-300:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
