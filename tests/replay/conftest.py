"""Rows are replayed in this process, with a ledger that does not wait for the disk."""

import pytest


@pytest.fixture(autouse=True)
def quick_ledgers(no_fsync_in_this_process: None) -> None:
    """For every test of this folder."""
