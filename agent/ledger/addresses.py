"""Addresses of ledgers on a server: what may be kept of one, and what may be shown. Pure functions.

The parser is the one the connection uses, so nothing it would send as a password is taken for something else here.
"""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from .errors import EXIT_INPUTS, LedgerError

SHAPE = "postgresql+psycopg://USER@HOST/DATABASE"
DRIVERS = frozenset({"postgresql", "postgresql+psycopg"})
_SECRET = ("password", "secret")
"""Parts of the names of parameters that are secrets: ``password``, ``sslpassword``, ``oauth_client_secret``."""


def parsed(address: str) -> URL:
    """``address`` in parts. Raises :class:`LedgerError`, which never repeats it, for what is none of PostgreSQL."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise LedgerError(f"the ledger's address is none that can be read; write {SHAPE}", EXIT_INPUTS) from None
    if url.drivername not in DRIVERS:
        raise LedgerError(
            f"the ledger's address begins with {url.drivername}, which is no driver of ours; write {SHAPE}", EXIT_INPUTS
        )
    return url


def holds_secret(url: URL) -> bool:
    """Whether a password stands in it, before the host or among the parameters."""
    return url.password is not None or any(map(_is_secret, url.query))


def shown(url: URL) -> str:
    """For people and for logs: every secret as ``***``."""
    hidden = {name: "***" for name in url.query if _is_secret(name)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRET)
