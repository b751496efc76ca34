"""Where jobs run: the protocol, one file an executor, and their registration in :mod:`.choose`."""
