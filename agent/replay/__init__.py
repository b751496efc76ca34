"""Replay: a row of the ledger executed again, what a difference comes from, and a row packed to be replayed elsewhere."""
