"""A language model as proposer: what it is told, how it is asked, what it may answer, what it has cost."""
