"""Templates for language models (none yet: the offline proposer needs no prompt)."""
