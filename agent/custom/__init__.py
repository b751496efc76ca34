"""Statistics that a model writes: rehearsed on made-up data, committed, run blinded, confirmed by Route H alone."""
